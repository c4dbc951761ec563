"""A choice made on the page: a list of steps, and what they lead to.

The page (`templates/choice.js`) and this module replay the same steps by the same rules and write the same
`selection.json`, character for character:

    format      1
    sightline   the version that wrote the page
    page        the hash of the page the choice was made on
    selected    the person each selected card is named by, in the order they were chosen
    names       [{"person": …, "name": …}] in the order of the page
    merges      the people of every merged card, in the order of the page
    history     every step that led here, what was undone left out: {"action", "persons"}, and "name" for a rename

A card is one person or several merged ones; it is named by the first of them in the order of the page. Lists stand
where objects would be handier, because JavaScript would put keys that look like numbers first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sightline.errors import SightlineError
from sightline.files import replacing
from sightline.viewer.tracks import PageTracks

FORMAT = 1
FILE_NAME = "selection.json"
ACTIONS = ("select", "deselect", "merge", "split", "rename")

Card = tuple[str, ...]  # the people on one card, in the order of the page


@dataclass(frozen=True)
class Step:
    """One thing done on the page."""

    action: str  # one of ACTIONS
    persons: tuple[str, ...]
    name: str = ""  # of a rename; empty takes the name away

    def to_json(self) -> dict[str, Any]:
        named = {"name": self.name} if self.action == "rename" else {}
        return {"action": self.action, "persons": list(self.persons), **named}


@dataclass
class Choice:
    """Where the steps lead, from all people on cards of their own and nobody selected."""

    person_ids: Sequence[str]  # in the order of the page
    steps: list[Step] = field(default_factory=list)
    selected: list[Card] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._place = {person: place for place, person in enumerate(self.person_ids)}
        self._card_of: dict[str, Card] = {person: (person,) for person in self.person_ids}
        past, self.steps = self.steps, []
        for step in past:
            self.do(step)

    def do(self, step: Step) -> None:
        """Take one step more. Raises `SightlineError` for somebody who is not on the page."""
        cards = list(dict.fromkeys(self.card_of(person) for person in step.persons))
        match step.action:
            case "select":
                self.selected += [card for card in cards if card not in self.selected]
            case "deselect":
                self.selected = [card for card in self.selected if card not in cards]
            case "merge":
                self._merge(cards)
            case "split":
                self._split(cards)
            case "rename":
                self._rename(cards, step.name)
        self.steps.append(step)

    def select(self, person: str) -> None:
        """What a click on the person's card does where it is not selected yet; else nothing."""
        card = self.card_of(person)
        if card not in self.selected:
            self.do(Step("select", card[:1]))

    def card_of(self, person: str) -> Card:
        """Everybody on the card of that person."""
        if person not in self._card_of:
            raise SightlineError(_unknown(person, self.person_ids))
        return self._card_of[person]

    def _merge(self, cards: Sequence[Card]) -> None:
        merged = tuple(sorted((person for card in cards for person in card), key=self._place.__getitem__))
        self._card_of.update(dict.fromkeys(merged, merged))
        self.selected = list(dict.fromkeys(merged if card in cards else card for card in self.selected))

    def _split(self, cards: Sequence[Card]) -> None:
        self._card_of.update({person: (person,) for card in cards for person in card})
        self.selected = [
            part for card in self.selected for part in ([(person,) for person in card] if card in cards else [card])
        ]

    def _rename(self, cards: Sequence[Card], name: str) -> None:
        for card in cards:
            for person in card:
                self.names.pop(person, None)
            if name:
                self.names[card[0]] = name

    def to_json(self, *, page: str, sightline: str) -> dict[str, Any]:
        """The content of `selection.json`."""
        merges = dict.fromkeys(self._card_of[person] for person in self.person_ids)
        return {
            "format": FORMAT,
            "sightline": sightline,
            "page": page,
            "selected": [card[0] for card in self.selected],
            "names": [{"person": who, "name": self.names[who]} for who in self.person_ids if who in self.names],
            "merges": [list(card) for card in merges if len(card) > 1],
            "history": [step.to_json() for step in self.steps],
        }


def write_selection(path: Path, choice: Choice, *, people: PageTracks) -> None:
    """As the page's own `JSON.stringify` writes it. Half a surrogate pair is escaped, as it does."""
    content = choice.to_json(page=people.page, sightline=people.sightline)
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="backslashreplace"))


def read_selection(path: Path, *, people: PageTracks) -> Choice:
    """The choice in a file of the page or of `sightline select`. Raises `SightlineError` where it is none for these
    people, or says something else than its own history leads to.
    """
    content = _read_object(path)
    if content.get("format") != FORMAT:
        raise SightlineError(f"{path} has format {_short(content.get('format'))}; this sightline reads {FORMAT}")
    if content.get("page") != people.page:
        raise SightlineError(f"{path} was chosen on another page; export it from this one, or give that page")
    try:
        choice = Choice(list(people.tracks), [_step(item) for item in content["history"]])
    except (KeyError, TypeError) as exc:
        raise SightlineError(f"{path} has a history that is none: {exc}; export it from the page again") from exc
    if choice.to_json(page=people.page, sightline=people.sightline) != {**content, "sightline": people.sightline}:
        raise SightlineError(f"{path} was changed: its history leads to another choice; export it from the page again")
    return choice


def _read_object(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise SightlineError(f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise SightlineError(f"{path} is no selection exported from a page: {exc}") from exc
    if not isinstance(content, dict):
        raise SightlineError(f"{path} is no selection exported from a page: it holds no object")
    return content


def _step(item: Mapping[str, Any]) -> Step:
    """Raises `TypeError` where the item is not one."""
    action, persons, name = item["action"], item["persons"], item.get("name", "")
    texts = isinstance(persons, list) and all(isinstance(text, str) for text in [*persons, name])
    if action not in ACTIONS or not texts or not persons:
        raise TypeError(f"a step is {_short(item)}")
    return Step(action, tuple(persons), name)


def persons_named(text: str, known: Iterable[str]) -> list[str]:
    """The ids in a list with commas. A text that is an id as a whole is that one, whatever it holds."""
    known = set(known)
    parts = [text] if text in known else [part if part in known else part.strip() for part in text.split(",")]
    return [part for part in parts if part]


def _unknown(person: str, known: Sequence[str]) -> str:
    """One line with the nearest id there is. Compares beginnings only: ids may be kilobytes long."""
    if not known:
        return f"no person {_short(person)}: there is nobody on the page"
    beginnings = {name[:80]: name for name in reversed(known)}
    (nearest,) = get_close_matches(person[:80], beginnings, n=1, cutoff=0.0)
    return f"no person {_short(person)} on the page; the nearest of its {len(known)} is {_short(beginnings[nearest])}"


def _short(value: object) -> str:
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
