"""Rules about how an nvinfer configuration is written, whatever it is for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from itertools import islice

from sightline.deploy.doctor.document import Group, Setting
from sightline.deploy.doctor.key_file import as_double, as_doubles, as_integer, as_integers
from sightline.deploy.doctor.nvinfer import NvinferConfig
from sightline.deploy.doctor.nvinfer_keys import NEWER, Kind, known_keys
from sightline.deploy.doctor.rules import MOST_ALIKE, Edit, Finding, Rule
from sightline.deploy.doctor.site import Site

CFG001 = Rule(
    "CFG001",
    "error",
    "the file has no property group",
    "nvinfer reads [property] (in YAML: property:) and nothing else about the network. Without it the element fails "
    "before it looks at the model.",
    "Begin the file with [property].",
    bad="[propery]\ngpu-id=0",
    good="[property]\ngpu-id=0",
)
CFG004 = Rule(
    "CFG004",
    "error",
    "a value is not the number it must be",
    "nvinfer stops at it. Behind a fraction not even a blank may follow, let alone a comment, and lists are "
    "separated by ';'. What it then prints does not name the line.",
    "Put comments on lines of their own, separate lists with ';'.",
    bad="net-scale-factor=0.0173 # 1/57.6\noffsets=123.675,116.28,103.53",
    good="# 1/57.6\nnet-scale-factor=0.0173\noffsets=123.675;116.28;103.53",
)
CFG005 = Rule(
    "CFG005",
    "warning",
    "a comment stands behind a value",
    "GLib has no comments behind values. A whole number happens to survive one, a fraction fails, and in a name "
    "or path the comment becomes part of it.",
    "Put the comment on a line of its own above.",
    bad="batch-size=16 # of the engine",
    good="# of the engine\nbatch-size=16",
)
CFG006 = Rule(
    "CFG006",
    "warning",
    "nvinfer does not know this key",
    "It prints a warning among a hundred others, ignores the line and works with the default. For network-type or "
    "output-tensor-meta that means no vectors at all.",
    "Correct the name, or remove the line.",
    bad="network_type=100",
    good="network-type=100",
)
CFG007 = Rule(
    "CFG007",
    "warning",
    "a key is written twice",
    "The last one counts and the other is dead. Whoever edits the first one next sees no effect.",
    "Keep one of them.",
    bad="batch-size=1\nbatch-size=16",
    good="batch-size=16",
)
CFG008 = Rule(
    "CFG008",
    "warning",
    "the key belongs to a newer DeepStream",
    "DeepStream 8 does not know it and goes on without it. The file was written for 9.x.",
    "Remove it, or say `--deepstream 9.0` where that is what will run.",
    bad="strongly-typed=1",
    good="network-mode=2",
)
RULES = (CFG001, CFG004, CFG005, CFG006, CFG007, CFG008)

_PARSED = {"integer": as_integer, "double": as_double, "integers": as_integers, "doubles": as_doubles}
_EXPECTED = {
    "integer": "a whole number",
    "double": "a number and nothing behind it",
    "integers": "whole numbers separated by ';'",
    "doubles": "numbers separated by ';'",
}
_JUDGED_ELSEWHERE = {"operate-on-class-ids"}  # by the rules of class ids
_COMMENT = re.compile(r"(.*?\S)\s+(#.*|//.*)")
_NEAR = 0.75  # similarity of a misspelt key; pairs of keys that exist differ more


def syntax_findings(config: NvinferConfig, site: Site) -> Iterator[Finding]:
    yield from config.problems
    if not config.group.line and not any(problem.rule.id == "CFG011" for problem in config.problems):
        yield _no_property(config)
    for group in config.document.by_name.values():
        of_settings = (found for setting in group.settings for found in _setting_findings(config, group, setting, site))
        yield from islice(of_settings, MOST_ALIKE)
        yield from islice(_duplicates(config, group), MOST_ALIKE)


def _no_property(config: NvinferConfig) -> Finding:
    names = ", ".join(f"[{name}]" for name in config.document.by_name) or "no group"
    return CFG001.found(config.document.place(1), names, "[property]")


def _setting_findings(config: NvinferConfig, group: Group, setting: Setting, site: Site) -> Iterator[Finding]:
    known = known_keys(group.name)
    place = config.document.place(setting.line)
    if setting.key in NEWER and group.name == "property":
        if site.circumstances.deepstream < (9, 0):
            yield CFG008.found(place, setting.key, "a key of DeepStream 8")
    elif known and setting.key not in known and not setting.key.startswith(("tlt-", "uff-")):
        yield _unknown(config, group, setting, known)
    elif setting.key in known:
        yield from _value_findings(config, setting, known[setting.key])


def _unknown(config: NvinferConfig, group: Group, setting: Setting, known: dict[str, Kind]) -> Finding:
    """Renamed by `--fix` only where nothing but dashes, underscores and capitals differ."""
    near = nearest(setting.key, known)
    meant = f"{near}" if near else "a key nvinfer knows"
    surely = near is not None and _plain(near) == _plain(setting.key) and group.last(near) is None
    edits: tuple[Edit, ...] = ()
    if surely and near:
        text = config.document.lines[setting.line - 1]
        edits = (Edit(setting.line, (text.replace(setting.key, near, 1),)),)
    fix = f"Write {near}, if that is what is meant." if near else CFG006.fix
    return CFG006.found(config.document.place(setting.line), setting.key, meant, fix=fix, edits=edits)


def nearest(key: str, known: dict[str, Kind] | list[str]) -> str | None:
    """The known key somebody most likely meant."""
    same = [name for name in known if _plain(name) == _plain(key)]
    close = same or difflib.get_close_matches(key[:80].lower(), list(known), n=1, cutoff=_NEAR)
    return close[0] if close else None


def _plain(key: str) -> str:
    return key.lower().replace("-", "").replace("_", "")


def _value_findings(config: NvinferConfig, setting: Setting, kind: Kind) -> Iterator[Finding]:
    place = config.document.place(setting.line)
    comment = _COMMENT.fullmatch(setting.value) if config.document.syntax == "ini" else None
    parse = _PARSED.get(kind)
    wrong = parse is not None and (parse(setting.value) is None or setting.is_list)
    if wrong and setting.key not in _JUDGED_ELSEWHERE:
        edits = _respelt(config, setting, kind)
        yield CFG004.found(place, f"{setting.key}={setting.value}", _EXPECTED[kind], edits=edits)
    elif comment is not None:
        edits = _comment_above(config, setting, comment[1], comment[2])
        yield CFG005.found(place, f"{setting.key}={setting.value}", f"{setting.key}={comment[1]}", edits=edits)


def _comment_above(config: NvinferConfig, setting: Setting, value: str, comment: str) -> tuple[Edit, ...]:
    text = config.document.lines[setting.line - 1]
    start = text[: text.index("=") + 1]
    said = comment if comment.startswith("#") else f"# {comment.removeprefix('//').strip()}"
    return (Edit(setting.line, (said, start + value)),)


def _respelt(config: NvinferConfig, setting: Setting, kind: Kind) -> tuple[Edit, ...]:
    """The same value as GLib reads it, where only its spelling is wrong."""
    comment = _COMMENT.fullmatch(setting.value)
    value = (comment[1] if comment else setting.value).strip()
    if kind in {"integers", "doubles"}:
        value = ";".join(part.strip() for part in re.split(r"[;,]", value) if part.strip())
    if not value or _PARSED[kind](value) is None:
        return ()
    if config.document.syntax == "yaml":
        return () if setting.is_list else config.set_to(setting.key, value)
    if comment:
        return _comment_above(config, setting, value, comment[2])
    text = config.document.lines[setting.line - 1]
    return (Edit(setting.line, (text[: text.index("=") + 1] + value,)),) if "=" in text else ()


def _duplicates(config: NvinferConfig, group: Group) -> Iterator[Finding]:
    """Each line that does not count. `--fix` makes it a comment."""
    for setting in group.settings:
        counts = group.last(setting.key)
        if counts is not None and counts is not setting:
            text = config.document.lines[setting.line - 1]
            value, expected = f"{setting.key}={setting.value}", f"only that of line {counts.line}"
            edits = (Edit(setting.line, (f"# {text.lstrip()}",)),)
            yield CFG007.found(config.document.place(setting.line), value, expected, edits=edits)
