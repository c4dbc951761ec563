"""What an event says, held against its schema and its documentation."""

from __future__ import annotations

import hashlib
import json
import math
import re
import struct
import uuid
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_examples import MATCHED, NOBODY, START_S, VISIT_ID, example, merge, numbered, visit
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sightline.gallery.gallery import Change, Entry, Space
from sightline.gallery.open_gallery import open_gallery
from sightline.pipeline.people.events import (
    FIRST,
    Event,
    boxes_digest,
    event_schema,
    iso_time,
    merge_event,
    visit_event,
)
from sightline.pipeline.people.visits import Decision

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "events.md").read_text(encoding="utf-8")
VALIDATOR = Draft202012Validator(event_schema())


def faults(fields: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(fields)]


def names_of(schema: dict[str, Any], *, prefix: str = "") -> set[str]:
    return {f"{prefix}{name}" for name in schema["properties"]}


class TestDocumentation:
    def test_the_examples_are_what_is_made(self) -> None:
        shown = [json.loads(block) for block in re.findall(r"^```json\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)]
        assert shown == [example().fields, merge().fields]
        assert [list(one) for one in shown] == [list(example().fields), list(merge().fields)]

    def test_the_tables_have_every_field_of_the_schema_and_no_other(self) -> None:
        parts = event_schema()["$defs"]
        visit_part, merge_part = DOCUMENT.split("## Two identities were one")
        embedding = parts["visit"]["properties"]["embedding"]
        rows = [set(re.findall(r"`([@\w.]+)`", cell)) for cell in re.findall(r"^\| (`[^|]+`) \|", visit_part, re.M)]
        assert set().union(*rows) == names_of(parts["visit"]) | names_of(embedding, prefix="embedding.")
        rows = [set(re.findall(r"`([@\w.]+)`", cell)) for cell in re.findall(r"^\| (`[@\w]+`) \|", merge_part, re.M)]
        assert set().union(*rows) == names_of(parts["merge"])


class TestSchema:
    def test_it_is_a_schema(self) -> None:
        Draft202012Validator.check_schema(event_schema())

    @pytest.mark.parametrize(
        "event",
        [
            example(),
            example(with_vector=True),
            example(NOBODY, embedded=False),
            example(NOBODY),
            example(Decision("new", "person-1", "nobody is known yet", threshold=0.7)),
            example(Decision("unknown", "person-9", "between person-1 and person-2", 0.7, "person-1", 0.81)),
            example(Decision("continued", "person-2", "the rest of visit 4"), continues=4),
            merge(),
        ],
    )
    def test_every_kind_of_event_is_valid_and_has_no_field_beyond_it(self, event: Event) -> None:
        assert faults(event.fields) == []
        known = event_schema()["$defs"][event.type]
        assert set(event.fields) == set(known["properties"]) == set(known["required"])

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("version", "2.0"),
            ("version", "1"),
            ("type", "guess"),
            ("id", "12"),
            ("@timestamp", "2026-03-14T09:26:57Z"),
            ("firstSeen", 1_773_480_400),
            ("trackId", 0),
            ("boxFirst", [1, 2, 3]),
            ("boxesDigest", "sha256:0"),
            ("decision", "maybe"),
            ("identity", None),  # of one that was matched
            ("reason", ""),
            ("score", 83.12),
            ("runnerUp", {"identity": "person-5"}),
            ("ruledOut", None),
            ("embedding", {"ref": None}),
        ],
    )
    def test_a_wrong_field_is_found(self, name: str, value: object) -> None:
        assert faults(example().fields | {name: value})

    def test_a_missing_field_is_found_and_one_of_a_later_minor_version_is_not_minded(self) -> None:
        for event in (example(), merge()):
            for name in event.fields:
                fields = deepcopy(event.fields)
                del fields[name]
                assert faults(fields), name
            assert faults(event.fields | {"version": "1.7", "mood": "good"}) == []

    @given(
        number=st.integers(1, 10**6),
        camera=st.text(st.characters(codec=None), max_size=20),
        start_s=st.floats(-1e9, 4e9),
        verdict=st.sampled_from(["new", "matched", "continued", "unknown"]),
        score=st.none() | st.floats(-1, 1),
        name=st.none() | st.text(min_size=1, max_size=9),
    )
    @settings(max_examples=80, deadline=None)
    def test_whatever_was_seen_is_one_valid_line_of_ascii(
        self, *, number: int, camera: str, start_s: float, verdict: Any, score: float | None, name: str | None
    ) -> None:
        decision = Decision(verdict, name or "person-1", "because", score, name, score, name, score)
        event = visit_event(
            visit(number, camera=camera), decision, visit_id=VISIT_ID, entry_id=None, start_s=start_s, at_s=0
        )
        assert event.text.isascii() and event.text.isprintable()
        assert event.text.encode().startswith(FIRST)
        assert faults(event.fields) == []
        assert (event.camera, event.fields["trackId"]) == (camera, number)
        assert Event.parse(event.text) == event


class TestVisit:
    def test_seen_are_the_start_of_the_camera_and_the_time_of_the_source(self) -> None:
        fields = example().fields
        for name, seconds in (("firstSeen", 0.5), ("lastSeen", 0.7), ("@timestamp", 17.25)):
            moment = datetime.fromisoformat(fields[name].replace("Z", "+00:00"))
            assert moment.timestamp() == pytest.approx(START_S + seconds, abs=1e-6)

    @pytest.mark.parametrize(
        ("seconds", "expected"),
        [
            (0, "1970-01-01T00:00:00.000Z"),
            (0.0004, "1970-01-01T00:00:00.000Z"),
            (0.9996, "1970-01-01T00:00:01.000Z"),
            (1_700_000_000.123, "2023-11-14T22:13:20.123Z"),  # in binary a little less than that
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (-0.001, "1969-12-31T23:59:59.999Z"),
        ],
    )
    def test_times_are_to_the_nearest_millisecond(self, seconds: float, expected: str) -> None:
        assert iso_time(seconds) == expected

    def test_boxes_are_the_first_and_the_last_and_the_digest_is_of_all(self) -> None:
        fields = example().fields
        assert (fields["boxFirst"], fields["boxLast"]) == ([100, 50, 140, 150], [104, 50.5, 144, 150.5])
        packed = struct.pack("<3q", 5, 6, 7) + struct.pack(
            "<12f", 100, 50, 140, 150, 102, 50.25, 142, 150.25, 104, 50.5, 144, 150.5
        )
        assert fields["boxesDigest"] == f"sha256:{hashlib.sha256(packed).hexdigest()}"
        assert boxes_digest(visit().tracklet) == fields["boxesDigest"]

    def test_the_decision_is_told_in_all_its_numbers(self) -> None:
        fields = example().fields
        assert [fields[name] for name in ("decision", "identity", "nearest")] == ["matched", "person-3", "person-3"]
        assert (fields["score"], fields["threshold"]) == (0.8312, 0.7)
        assert fields["runnerUp"] == {"identity": "person-5", "score": 0.7108}
        assert fields["ruledOut"][0]["score"] == 0.9015
        assert fields["reason"] == MATCHED.reason

    def test_a_visit_nobody_could_be_recognised_in_has_nulls(self) -> None:
        fields = example(NOBODY, embedded=False).fields
        empty = ("identity", "nearest", "score", "threshold", "runnerUp", "embedding", "continues")
        assert [fields[name] for name in empty] == [None] * len(empty)
        assert fields["ruledOut"] == []

    def test_an_embedding_without_an_entry_has_no_ref(self) -> None:
        assert example(NOBODY).fields["embedding"]["ref"] is None
        assert example(NOBODY).fields["embedding"]["crops"] == 2

    def test_the_vector_is_there_on_request_and_exact(self) -> None:
        assert "vector" not in example().fields["embedding"]
        raw = np.random.default_rng(0).standard_normal(512)
        vector = np.asarray(raw / np.linalg.norm(raw), np.float32)
        event = example(with_vector=True, vector=tuple(vector.tolist()))
        assert np.array(event.fields["embedding"]["vector"], np.float32).tobytes() == vector.tobytes()
        assert event.fields["embedding"]["dimension"] == 512 and faults(event.fields) == []

    @pytest.mark.parametrize("number", [math.nan, math.inf])
    def test_what_json_has_no_word_for_is_refused(self, number: float) -> None:
        with pytest.raises(ValueError, match="JSON"):
            example(Decision("new", "person-1", "nobody", threshold=number))

    def test_an_id_that_is_no_uuid_is_refused(self) -> None:
        with pytest.raises(ValueError, match="UUID"):
            visit_event(visit(), NOBODY, visit_id="12", entry_id=None, start_s=0, at_s=0)


class TestMerge:
    def test_it_says_what_the_gallery_did(self, tmp_path: Path) -> None:
        space, unit = Space("0123456789abcdef", 4), np.array([1, 0, 0, 0], np.float32)
        with open_gallery(str(tmp_path / "gallery.db")) as gallery:
            gallery.add([Entry(f"e{at}", name, unit) for at, name in enumerate(["a", "b", "b", "c"])], space=space)
            change = gallery.merge(["b", "c"], into="a")
            fields = merge_event(change, score=0.9, threshold=0.7, run_id="r", at_s=0).fields
            assert faults(fields) == []
            assert (fields["into"], fields["former"]) == ("a", {"b": ["e1", "e2"], "c": ["e3"]})
            with pytest.raises(ValueError, match="expected a merge"):
                merge_event(gallery.undo(change), score=0.9, threshold=0.7, run_id="r", at_s=0)

    def test_told_again_it_has_the_same_id_and_another_merge_or_run_has_another(self) -> None:
        former = {"person-2": ("person-2",), "person-4": ("person-4",)}

        def id_of(into: str, former: dict[str, tuple[str, ...]], run_id: str = "r", at_s: float = 0) -> str:
            return merge_event(Change("merge", into, former), score=0.9, threshold=0.7, run_id=run_id, at_s=at_s).id

        first = id_of("person-1", former)
        assert uuid.UUID(first).version == 5
        assert id_of("person-1", dict(reversed(former.items())), at_s=99) == first
        others = [id_of("person-3", former), id_of("person-1", former, "s"), id_of("person-1", {"person-2": ("x",)})]
        assert len({first, *others}) == 4


class TestReading:
    @pytest.mark.parametrize(
        "text",
        [
            "",
            "7",
            "[]",
            "{",
            "[" * 100_000,
            json.dumps({"id": VISIT_ID}),
            json.dumps({"id": 7, "type": "visit"}),
            json.dumps({"id": "7", "type": "visit"}),
            json.dumps({"id": VISIT_ID, "type": "a/b"}),
            json.dumps({"id": VISIT_ID, "type": "visit", "sensorId": 7}),
        ],
    )
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"."):
            Event.parse(text)

    def test_a_type_of_a_later_version_is_read(self) -> None:
        text = json.dumps({"version": "1.9", "type": "alarm", "id": VISIT_ID})
        assert Event.parse(text) == Event(VISIT_ID, "alarm", None, text)

    def test_no_two_events_are_taken_for_one(self) -> None:
        assert len({numbered(number).id for number in range(100)}) == 100
