"""All rules, in the order of their names."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from sightline.deploy.doctor import (
    collect,
    engine_rules,
    environment_rules,
    gallery_rules,
    key_file,
    labels,
    model,
    model_rules,
    path_rules,
    pipeline_rules,
    pixel_rules,
    probe_rules,
    reid_rules,
    syntax_rules,
    tracker_rules,
    trtexec_rules,
    yaml_tree,
)
from sightline.deploy.doctor.rules import Rule
from sightline.errors import ConfigError

_MODULES = (
    collect, engine_rules, environment_rules, gallery_rules, key_file, labels, model, model_rules, path_rules,
    pipeline_rules, pixel_rules, probe_rules, reid_rules, syntax_rules, tracker_rules, trtexec_rules, yaml_tree,
)  # fmt: skip
RULES: Mapping[str, Rule] = MappingProxyType(
    {rule.id: rule for rule in sorted((rule for module in _MODULES for rule in module.RULES), key=lambda rule: rule.id)}
)
FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "CFG": "How a configuration is written",
        "DS": "What nvinfer is told",
        "ENG": "Engines and precision",
        "ENV": "What is installed",
        "GAL": "Galleries",
        "LBL": "Label files",
        "ONNX": "Model files",
        "PIPE": "The order of elements, and what leaves the pipeline",
        "PIX": "What the network is fed",
        "PRB": "The model at work (`--probe`, `--images`)",
        "TRK": "nvtracker's own re-identification",
        "TRT": "trtexec commands",
    }
)


def rule_named(name: str) -> Rule:
    """Raises `ConfigError` listing the families for a name that no rule has."""
    rule = RULES.get(name.upper())
    if rule is None:
        raise ConfigError(f"no rule {name!r}; expected one such as CFG001, of {', '.join(FAMILIES)}")
    return rule


def family_of(rule: Rule) -> str:
    return rule.id.rstrip("0123456789")
