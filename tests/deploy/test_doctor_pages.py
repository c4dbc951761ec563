"""Every rule has its page, and every page its rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sightline.deploy.doctor.catalogue import FAMILIES, RULES, family_of, rule_named
from sightline.deploy.doctor.examination import examine_targets
from sightline.deploy.doctor.pages import index, page, write_pages
from sightline.deploy.doctor.rules import Rule
from sightline.errors import ConfigError

DOCS = Path(__file__).resolve().parents[2] / "docs"
REWRITE = (
    "python -c 'from pathlib import Path; from sightline.deploy.doctor.pages import *; write_pages(Path(\"docs\"))'"
)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_the_page_of_a_rule_says_what_the_rule_says(rule: Rule) -> None:
    path = DOCS / "doctor" / f"{rule.id}.md"
    assert path.exists() and path.read_text("utf-8") == page(rule), f"write the pages again: {REWRITE}"
    for part in (rule.title, rule.why, rule.fix, rule.severity.capitalize()):
        assert part in path.read_text("utf-8")


def test_every_page_is_of_a_rule() -> None:
    assert {path.stem for path in (DOCS / "doctor").iterdir()} == set(RULES)


def test_the_index_leads_to_every_page_under_its_family() -> None:
    text = (DOCS / "doctor.md").read_text("utf-8")
    assert text == index(), f"write the pages again: {REWRITE}"
    assert re.findall(r"\]\(doctor/(\w+)\.md\)", text) == [
        rule.id for family in FAMILIES for rule in RULES.values() if family_of(rule) == family
    ]


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_a_rule_is_named_by_its_family_and_three_digits_and_says_enough(rule: Rule) -> None:
    assert re.fullmatch(r"[A-Z]{2,4}\d{3}", rule.id) and family_of(rule) in FAMILIES
    assert len(rule.why) > 40 and rule.fix and bool(rule.bad) >= bool(rule.good)
    assert rule.bad != rule.good or not rule.bad


SETTINGS = [rule for rule in RULES.values() if family_of(rule) in {"CFG", "DS", "ENG", "PIX"} and rule.good]
CAUGHT_ALONE = [
    "CFG001",
    "CFG003",
    "CFG004",
    "CFG005",
    "CFG006",
    "CFG007",
    "CFG008",
    "DS001",
    "DS002",
    "DS003",
    "DS005",
    "DS012",
    "DS015",
    "DS016",
    "DS017",
    "ENG003",
    "ENG005",
    "ENG006",
    "ENG007",
    "ENG008",
    "PIX001",
    "PIX002",
    "PIX003",
    "PIX004",
    "PIX005",
    "PIX007",
    "PIX009",
    "PIX010",
]


def shown_in_a_file(text: str, folder: Path, *, name: str = "reid.txt") -> set[str]:
    """What is found in an example of a page; most show only the lines that matter."""
    (folder / name).write_text(text if text.startswith("[") else f"[property]\n{text}\n")
    return {finding.rule.id for finding in examine_targets([folder / name])}


@pytest.mark.parametrize("rule", SETTINGS, ids=lambda rule: rule.id)
def test_an_example_of_how_it_should_be_is_well_written(rule: Rule, tmp_path: Path) -> None:
    found = {} if rule.id == "CFG011" else shown_in_a_file(rule.good, tmp_path)
    assert not {name for name in found if name.startswith("CFG")}


@pytest.mark.parametrize("name", CAUGHT_ALONE)
def test_an_example_of_a_mistake_is_caught_as_it_stands(name: str, tmp_path: Path) -> None:
    assert name in shown_in_a_file(RULES[name].bad, tmp_path)


def test_pages_of_rules_that_are_gone_are_removed(tmp_path: Path) -> None:
    (tmp_path / "doctor").mkdir()
    (tmp_path / "doctor/OLD001.md").touch()
    write_pages(tmp_path)
    assert {path.stem for path in (tmp_path / "doctor").iterdir()} == set(RULES)
    assert (tmp_path / "doctor.md").read_text("utf-8") == index()


def test_a_rule_that_is_none_is_told_so() -> None:
    assert rule_named("ds001") is RULES["DS001"]
    with pytest.raises(ConfigError, match=r"no rule 'DS999'; expected one such as CFG001, of CFG, DS"):
        rule_named("DS999")
