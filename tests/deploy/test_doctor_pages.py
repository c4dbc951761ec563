"""Every rule has its page, and every page its rule."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sightline.deploy.doctor.catalogue import FAMILIES, RULES, family_of, rule_named
from sightline.deploy.doctor.pages import index, page, write_pages
from sightline.errors import ConfigError

DOCS = Path(__file__).resolve().parents[2] / "docs"
REWRITE = (
    "python -c 'from pathlib import Path; from sightline.deploy.doctor.pages import *; write_pages(Path(\"docs\"))'"
)


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_the_page_of_a_rule_says_what_the_rule_says(rule: object) -> None:
    known = RULES[rule.id]  # type: ignore[attr-defined]
    path = DOCS / "doctor" / f"{known.id}.md"
    assert path.exists() and path.read_text("utf-8") == page(known), f"write the pages again: {REWRITE}"
    for part in (known.title, known.why, known.fix, known.severity.capitalize()):
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
def test_a_rule_is_named_by_its_family_and_three_digits_and_says_enough(rule: object) -> None:
    known = RULES[rule.id]  # type: ignore[attr-defined]
    assert re.fullmatch(r"[A-Z]{2,4}\d{3}", known.id) and family_of(known) in FAMILIES
    assert known.title[0].islower() or known.title.startswith("INT8") or known.title[0].isupper()
    assert len(known.why) > 40 and known.fix and bool(known.bad) >= bool(known.good)
    assert known.bad != known.good or not known.bad


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
