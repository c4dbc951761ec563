from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from metadata_standins import (
    PERSON,
    DevicePool,
    Picture,
    Pool,
    Somebody,
    Tensors,
    make_pyds,
    maker_batch,
    pyds_batch,
)
from sightline.errors import BackendError, ConfigError, OutputError
from sightline.gallery.gallery import Entry
from sightline.gallery.open_gallery import open_gallery
from sightline.onnx_file import read_onnx
from sightline.pipeline.people.events import event_schema
from sightline.pipeline.people.plans import CameraPlan, View
from sightline.pipeline.people.visits import Decision, Visit
from sightline.pipeline.people.visits_folder import read_visits
from sightline.pipeline.probe.collecting import Collection, Options, collecting
from sightline.pipeline.probe.collector import Collector
from sightline.pipeline.probe.deployment import Deployment
from sightline.pipeline.probe.desk import Desk
from sightline.pipeline.probe.records import FrameRecord
from sightline.pipeline.probe.tap import Tap
from sightline.types import Detections, FloatArray, Tracks

DIM, LAYER = 512, "features"
START_S = 1_700_000_000.0
NOBODY = Decision("unknown", None, "nobody asked")


@pytest.fixture
def deployment(osnet: Path) -> Deployment:
    names = ("pgie.txt", "sgie.txt", "tracker.yml", "tracker_reid.yml")
    return Deployment(osnet, 4, LAYER, DIM, (PERSON,), (1920, 1080), *map(Path, names))


def stranger(seed: int) -> FloatArray:
    """A direction of its own: of 512 dimensions two such have a cosine near 0."""
    return np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)


def somebody(track: int, vector: FloatArray, *, place: int = 0) -> Somebody:
    return Somebody(track, (100 + 300 * place, 100, 100, 300), [Tensors({LAYER: vector})])


def walks(track: int, vector: FloatArray, frames: range, *, source: int = 0, place: int = 0) -> list[Picture]:
    """Ten frames a second of one person, who moves a little in looks."""
    noise = np.random.default_rng(track)
    return [
        Picture(
            index,
            [somebody(track, vector + 0.2 * noise.standard_normal(DIM).astype(np.float32), place=place)],
            source=source,
            pts_ns=index * 100_000_000,
        )
        for index in frames
    ]


def show(collection: Collection, pictures: Sequence[Picture], *, binding: str = "pyservicemaker") -> None:
    """One batch a picture, whose memory is used again at once."""
    if binding == "pyds":
        tap = collection.tap_for_pyds(make_pyds())
        for picture in pictures:
            pool = Pool()
            tap(pyds_batch([picture], pool))
            pool.use_again()
        return
    tap = collection.tap_for_servicemaker()
    for picture in pictures:
        memory = DevicePool()
        tap(maker_batch([picture], memory))
        memory.use_again()


def options(out: Path, **changes: Any) -> Options:
    return replace(Options(out, start_s=START_S), **changes)


def events_in(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]


def entries_in(out: Path) -> list[Entry]:
    with open_gallery(str(out / "gallery.sqlite"), mode="read") as gallery:
        return list(gallery.iterate())


# --- from metadata to the sinks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("binding", ["pyds", "pyservicemaker"])
def test_whoever_comes_back_is_one_entry_a_visit_and_one_identity(
    deployment: Deployment, tmp_path: Path, binding: str
) -> None:
    anna, bert = stranger(1), stranger(2)
    pictures = [*walks(11, anna, range(0, 20)), *walks(12, bert, range(100, 120)), *walks(13, anna, range(200, 220))]
    with collecting(deployment, options(tmp_path), sensors={0: "gate"}) as collection:
        show(collection, pictures, binding=binding)
    events = events_in(tmp_path)
    assert [event["decision"] for event in events] == ["new", "new", "matched"]
    assert [event["identity"] for event in events] == ["person-1", "person-2", "person-1"]
    assert [event["sensorId"] for event in events] == ["gate"] * 3
    assert events[2]["firstSeen"] == "2023-11-14T22:13:40.000Z"  # 20 s after START_S
    validator = Draft202012Validator(event_schema())
    assert [error.message for event in events for error in validator.iter_errors(event)] == []
    entries = entries_in(tmp_path)
    assert len(entries) == 3  # one a visit, not one a person
    by_identity = {entry.identity: entry for entry in entries}
    assert float(by_identity["person-2"].vector @ (bert / np.linalg.norm(bert))) > 0.99


def test_a_run_leaves_what_sightline_people_leaves(deployment: Deployment, tmp_path: Path) -> None:
    with collecting(deployment, options(tmp_path), sensors={0: "gate", 1: "yard"}) as collection:
        show(collection, walks(11, stranger(1), range(20)))
        show(collection, walks(21, stranger(2), range(20), source=1))
    people = json.loads((tmp_path / "people.json").read_text())
    assert [(one["identity"], one["cameras"]) for one in people["people"]] == [
        ("person-1", ["gate"]),
        ("person-2", ["yard"]),
    ]
    assert (tmp_path / "cameras" / "gate" / "tracks.csv").read_text().count("\n") == 20
    assert (tmp_path / "run.json").exists()
    visits = list(read_visits(tmp_path))
    assert [(visit.camera, len(visit.tracklet.frames)) for visit in visits] == [("gate", 20), ("yard", 20)]


def test_the_gallery_is_one_that_sightline_people_can_go_on_with(deployment: Deployment, tmp_path: Path) -> None:
    with collecting(deployment, options(tmp_path), sensors={}) as collection:
        show(collection, walks(11, stranger(1), range(20)))
    fingerprint = read_onnx(deployment.model).fingerprint
    with open_gallery(str(tmp_path / "gallery.sqlite"), mode="read") as gallery:
        assert gallery.space is not None and gallery.space.fingerprint == fingerprint
        assert (gallery.space.dim, gallery.space.aggregation) == (DIM, "averaged")


def test_two_cameras_of_one_batch_are_two_desks(deployment: Deployment, tmp_path: Path) -> None:
    """Each tracker counts for itself: the same number at two cameras is two people."""
    pairs = zip(walks(5, stranger(1), range(20)), walks(5, stranger(2), range(20), source=1), strict=True)
    with collecting(deployment, options(tmp_path), sensors={0: "gate", 1: "yard"}) as collection:
        tap = collection.tap_for_servicemaker()
        for pair in pairs:
            tap(maker_batch(pair, DevicePool()))
    assert sorted((event["sensorId"], event["identity"]) for event in events_in(tmp_path)) == [
        ("gate", "person-1"),
        ("yard", "person-2"),
    ]


def test_a_camera_that_goes_ends_its_visits_and_its_number_may_be_another_s(
    deployment: Deployment, tmp_path: Path
) -> None:
    """The one that goes comes last by name, so that its event is not the first merely because all end at the end."""
    with collecting(deployment, options(tmp_path), sensors={0: "yard"}) as collection:
        tap = collection.tap_for_servicemaker()
        for picture in walks(5, stranger(1), range(20)):
            tap(maker_batch([picture], DevicePool()))
        tap.source_gone(0)
        tap.source_added(0, "gate")
        for picture in walks(5, stranger(2), range(20)):
            tap(maker_batch([picture], DevicePool()))
        tap.source_gone(0)
        tap.source_added(7, "yard")  # back again: it counts on
        for picture in walks(5, stranger(1), range(100, 120), source=7):
            tap(maker_batch([picture], DevicePool()))
    told = [(event["sensorId"], event["trackId"], event["identity"]) for event in events_in(tmp_path)]
    assert told == [("yard", 1, "person-1"), ("gate", 1, "person-2"), ("yard", 2, "person-1")]


def test_the_summary_tells_what_was_seen_and_what_could_not_be_used(
    deployment: Deployment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    broken = np.full(DIM, np.nan, np.float32)
    with collecting(deployment, options(tmp_path), sensors={0: "gate"}) as collection:
        show(collection, [Picture(index, [somebody(1, broken)]) for index in range(3)])
    assert collection.summary() == "1 visits in 3 frames of 1 cameras; not used: 3 not finite"
    assert events_in(tmp_path)[0]["decision"] == "unknown"


def on_day(day: int, pictures: Sequence[Picture]) -> list[Picture]:
    """As a live camera sends them."""
    at_ns = int((START_S + 86_400 * day) * 1e9)
    return [replace(one, ntp_ns=at_ns + one.pts) for one in pictures]


# --- going on ------------------------------------------------------------------------------------------------------


def test_cameras_are_gone_on_with_and_count_on(deployment: Deployment, tmp_path: Path) -> None:
    for day in range(2):
        with collecting(deployment, options(tmp_path, is_live=True), sensors={0: "gate"}) as collection:
            show(collection, on_day(day, walks(11, stranger(1), range(20))))
    events = events_in(tmp_path)
    assert [(event["trackId"], event["identity"]) for event in events] == [(1, "person-1"), (2, "person-1")]
    assert [event["firstSeen"][:10] for event in events] == ["2023-11-14", "2023-11-15"]


def test_a_visit_whose_keeping_was_killed_is_told_of_at_the_next_start(deployment: Deployment, tmp_path: Path) -> None:
    live = options(tmp_path, is_live=True)
    with collecting(deployment, live, sensors={0: "gate"}) as collection:
        show(collection, on_day(0, walks(11, stranger(1), range(20))))
    lines = (tmp_path / "events.jsonl").read_text()
    (tmp_path / "events.jsonl").write_text("")  # as if killed after the folder and the entry, before the event
    with collecting(deployment, live, sensors={0: "gate"}) as collection:
        show(collection, on_day(1, walks(12, stranger(2), range(20))))
    events = events_in(tmp_path)
    assert [event["identity"] for event in events] == ["person-1", "person-2"]
    assert events[0]["id"] == json.loads(lines)["id"]
    assert len(entries_in(tmp_path)) == 2


def test_a_recording_is_not_counted_twice(deployment: Deployment, tmp_path: Path) -> None:
    with collecting(deployment, options(tmp_path), sensors={0: "gate"}) as collection:
        show(collection, walks(11, stranger(1), range(20)))
    with (
        pytest.raises(ConfigError, match="holds the visits of a recording already"),
        collecting(deployment, options(tmp_path), sensors={0: "gate"}),
    ):
        pass
    with collecting(deployment, options(tmp_path, restart=True), sensors={0: "gate"}) as collection:
        show(collection, walks(11, stranger(1), range(20)))
    assert len(events_in(tmp_path)) == 1


def test_ctrl_c_keeps_everybody_in_view(deployment: Deployment, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), collecting(deployment, options(tmp_path), sensors={0: "gate"}) as collection:
        show(collection, walks(11, stranger(1), range(20)))
        raise KeyboardInterrupt
    assert len(events_in(tmp_path)) == 1 and len(entries_in(tmp_path)) == 1


# --- what may be wrong ---------------------------------------------------------------------------------------------


def test_a_deployment_of_another_model_is_refused(deployment: Deployment, tmp_path: Path) -> None:
    for other in (replace(deployment, dim=256), replace(deployment, layer="embedding")):
        with (
            pytest.raises(ConfigError, match=r"puts out 'features' of 512 numbers; .*sightline deepstream init"),
            collecting(other, options(tmp_path), sensors={}),
        ):
            pass


def test_metadata_of_an_unknown_binding_is_one_line_and_ends_the_work(deployment: Deployment, tmp_path: Path) -> None:
    class Strange:
        frame_items = (SimpleNamespace(source_id=0),)  # nothing else

    with (
        pytest.raises(BackendError, match=r"metadata cannot be read \(AttributeError.*not known here"),
        collecting(deployment, options(tmp_path), sensors={0: "gate"}) as collection,
    ):
        show(collection, walks(11, stranger(1), range(20)))
        tap = collection.tap_for_servicemaker()
        tap(Strange())  # does not raise: an exception here would end the process
        assert collection.collector.failed
        show(collection, walks(12, stranger(2), range(20)))  # is not looked at any more
    assert [event["identity"] for event in events_in(tmp_path)] == ["person-1"]


def test_an_old_pyds_is_refused_before_anything_runs(deployment: Deployment, tmp_path: Path) -> None:
    with (
        pytest.raises(BackendError, match="NvDsObjReid"),
        collecting(deployment, options(tmp_path, by_tracker=True), sensors={}) as collection,
    ):
        collection.tap_for_pyds(make_pyds(reads_reid=False))


def test_the_tracker_s_own_vectors_are_kept_the_same_way(deployment: Deployment, tmp_path: Path) -> None:
    anna = stranger(1)
    with collecting(deployment, options(tmp_path, by_tracker=True), sensors={0: "gate"}) as collection:
        people = [[Somebody(11, (100, 100, 100, 300), reid=anna)] for _ in range(20)]
        show(collection, [Picture(index, seen) for index, seen in enumerate(people)])
    (entry,) = entries_in(tmp_path)
    np.testing.assert_allclose(entry.vector, anna / np.linalg.norm(anna), atol=1e-6)


# --- the collector alone -------------------------------------------------------------------------------------------


def record(index: int, *tracks: int) -> FrameRecord:
    count = len(tracks)
    boxes = np.tile(np.array([[100, 100, 200, 400]], np.float32), (count, 1))
    found = Detections(boxes, np.ones(count, np.float32), np.zeros(count, np.int64))
    return FrameRecord(
        "gate",
        index,
        float(index),
        (1080, 1920),
        Tracks(np.array(tracks, np.int64), found),
        np.full((count, 4), np.nan),
    )


def collector(keep: Any, **how: Any) -> Collector:
    return Collector(
        keep,
        desk_of=lambda sensor: Desk(sensor, fingerprint="ab12", epoch_s=0.0),
        plan_of=lambda sensor: CameraPlan(sensor, "deepstream", 0.0),
        **how,
    )


def test_a_slow_disk_makes_nobody_wait_and_what_is_lost_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    may_go_on, kept = threading.Event(), list[Visit]()

    def keep(visit: Visit, view: View) -> Decision:
        may_go_on.wait(30)
        kept.append(visit)
        return NOBODY

    with collector(keep, waiting=10) as at:
        at.put(record(0, 1))
        at.put(record(100, 2))  # the first has ended: it is being kept
        while len(at._mail):
            time.sleep(0.001)
        taken = [at.put(record(101 + index, 2)) for index in range(25)]
        assert taken == [True] * 10 + [False] * 15 and at.dropped == 15
        may_go_on.set()
    assert [len(visit.tracklet.frames) for visit in kept] == [1, 11]
    assert caplog.text.count("frames come faster") == 1


def test_a_full_disk_ends_the_work_in_its_own_words() -> None:
    def keep(visit: Visit, view: View) -> Decision:
        raise OutputError("cannot write out: the disk is full")

    at = collector(keep)
    at.put(record(0, 1))
    at.put(record(100, 2))
    while not at.failed:
        time.sleep(0.001)
    assert not at.put(record(101, 2))
    with pytest.raises(OutputError, match="the disk is full"):
        at.close()


def test_visits_are_kept_with_their_camera_s_plan_and_size() -> None:
    kept: list[tuple[Visit, View]] = []

    def keep(visit: Visit, view: View) -> Decision:
        kept.append((visit, view))
        return NOBODY

    with collector(keep) as at:
        at.put(record(0, 7))
    ((visit, view),) = kept
    assert (visit.camera, visit.tracklet.track_id) == ("gate", 7)
    assert (view.plan.name, view.size_hw, view.scene) == ("gate", (1080, 1920), None)
    assert at.visits == 1 and at.frames == {"gate": 1}


def test_the_end_of_an_unknown_camera_is_no_trouble() -> None:
    with collector(lambda visit, view: NOBODY) as at:
        at.end("nowhere")


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    with collector(lambda visit, view: NOBODY):
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_a_tap_never_raises_whatever_a_reader_does(caplog: pytest.LogCaptureFixture) -> None:
    class Reader:
        def __init__(self, failure: Exception) -> None:
            self._failure = failure

        def frames(self, batch_meta: Any) -> Iterator[Any]:
            raise self._failure
            yield

    for failure in (TypeError("x"), BufferError("y"), KeyError("z"), ValueError("w"), BackendError("known")):
        at = collector(lambda visit, view: NOBODY)
        tap = Tap(Reader(failure), SimpleNamespace(), at)  # type: ignore[arg-type]  # it gets no further
        tap(None)
        with pytest.raises(BackendError):
            at.close()


# --- deployment.json -----------------------------------------------------------------------------------------------

GOOD = {
    "model": "models/m.onnx",
    "gie_id": 4,
    "layer": "embedding",
    "dim": 512,
    "person_classes": [0, 2],
    "canvas_wh": [1280, 720],
    "pgie_config": "pgie.txt",
    "sgie_config": "sgie.txt",
    "tracker_config": "tracker.yml",
    "tracker_reid_config": "/elsewhere/tracker.yml",
}


def written(folder: Path, content: Mapping[str, Any] | str) -> Path:
    path = folder / "deployment.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_deployment_is_read_with_its_paths_seen_from_its_folder(tmp_path: Path) -> None:
    found = Deployment.read(written(tmp_path, GOOD | {"created_by": "somebody", "more": 1}))
    assert found.model == tmp_path / "models/m.onnx"
    assert found.tracker_reid_config == Path("/elsewhere/tracker.yml")
    assert (found.person_classes, found.canvas_wh) == ((0, 2), (1280, 720))
    assert found.wanted(by_tracker=True).classes == {0, 2}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is no JSON"),
        ("[]", "lacks model"),
        (GOOD | {"gie_id": "4"}, "'4' is not a whole number"),
        (GOOD | {"gie_id": True}, "True is not a whole number"),
        (GOOD | {"person_classes": []}, "not a list"),
        (GOOD | {"canvas_wh": [1280, 720, 3]}, "two"),
        ({key: value for key, value in GOOD.items() if key != "layer"}, "lacks layer"),
    ],
)
def test_a_broken_deployment_is_told_in_one_line(tmp_path: Path, content: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Deployment.read(written(tmp_path, content))
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert "sightline deepstream init" in str(caught.value)


def test_a_deployment_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json cannot be read"):
        Deployment.read(tmp_path / "nowhere.json")
