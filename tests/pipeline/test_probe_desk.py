from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from sightline.pipeline.people.visits import Visit
from sightline.pipeline.people.visits_folder import keep_visit
from sightline.pipeline.probe.desk import Desk, box_quality
from sightline.pipeline.probe.mailbox import Mailbox
from sightline.pipeline.probe.records import UNTRACKED, FrameHead, FrameRecord, RawFrame, RawPerson
from sightline.pipeline.probe.tally import Tally
from sightline.pipeline.probe.translating import Sensors, Timekeeper, Translator, signed
from sightline.reid.tracklets import Setting
from sightline.types import Array, Detections, Tracks

EPOCH_S = 1_700_000_000.0
DIM = 4
EAST, NORTH = np.array([1, 0, 0, 0], np.float32), np.array([0, 1, 0, 0], np.float32)
BOX = (100.0, 100.0, 200.0, 400.0)
FAR_BOX = (900.0, 100.0, 1000.0, 400.0)


def translator(
    *, is_live: bool = False, canvas_wh: tuple[int, int] = (1920, 1080), sensors: Sensors | None = None
) -> tuple[Translator, Tally]:
    tally = Tally()
    made = Translator(
        sensors=sensors or Sensors({0: "gate"}),
        timekeeper=Timekeeper(is_live=is_live, started_s=EPOCH_S, now=lambda: EPOCH_S + 77),
        dim=DIM,
        canvas_wh=canvas_wh,
        layer="embedding",
        tally=tally,
    )
    return made, tally


def raw(
    *people: RawPerson,
    size_wh: tuple[int, int] = (1920, 1080),
    canvas_wh: tuple[int, int] = (1920, 1080),
    ntp_ns: int = 0,
    source: int = 0,
) -> RawFrame:
    return RawFrame(FrameHead(source, 5, 2_500_000_000, ntp_ns, size_wh, canvas_wh), people)


def person(
    vector: Array | None = EAST, *, track: int = 1, ltwh: tuple[float, ...] = (0, 0, 10, 20), score: float = 0.5
) -> RawPerson:
    left, top, width, height = ltwh
    return RawPerson(track, (left, top, width, height), score, vector)


# --- from metadata to records --------------------------------------------------------------------------------------


def test_boxes_come_out_in_pixels_of_the_camera_and_not_of_the_muxer() -> None:
    record = translator()[0].record(raw(person(ltwh=(96, 54, 192, 540)), size_wh=(3840, 720)))
    # A muxer of 1920x1080 shows a camera of 3840x720: x counts twice, y two thirds.
    np.testing.assert_allclose(record.tracks.detections.boxes_xyxy, [[192, 36, 576, 396]])
    assert record.size_hw == (720, 3840)


def test_a_binding_that_tells_no_sizes_is_taken_to_show_the_muxer_s_picture() -> None:
    made, _ = translator(canvas_wh=(1280, 720))
    record = made.record(raw(person(ltwh=(10, 20, 30, 40)), size_wh=(0, 0), canvas_wh=(0, 0)))
    np.testing.assert_allclose(record.tracks.detections.boxes_xyxy, [[10, 20, 40, 60]])
    assert record.size_hw == (720, 1280)
    scaled = made.record(raw(person(ltwh=(10, 20, 30, 40)), size_wh=(640, 360), canvas_wh=(0, 0)))
    np.testing.assert_allclose(scaled.tracks.detections.boxes_xyxy, [[5, 10, 20, 30]])


def test_vectors_are_normalised_whatever_their_type_and_size() -> None:
    halves = np.array([300, 400, 0, 0], np.float16)  # their squares are beyond what a half can hold
    record = translator()[0].record(raw(person(halves), person(np.array([0, 0, 3e30, 4e30], np.float32), track=2)))
    np.testing.assert_allclose(record.vectors, [[0.6, 0.8, 0, 0], [0, 0, 0.6, 0.8]], atol=1e-6)
    assert record.vectors.dtype == np.float32


@pytest.mark.parametrize(
    ("vector", "kind"),
    [
        (np.ones(DIM + 1, np.float32), "length"),
        (np.array([1, np.nan, 0, 0], np.float32), "not finite"),
        (np.array([1, np.inf, 0, 0], np.float16), "not finite"),
        (np.zeros(DIM, np.float32), "zero"),
    ],
)
def test_a_vector_that_cannot_be_used_leaves_the_person_and_is_counted(vector: Array, kind: str) -> None:
    made, tally = translator()
    record = made.record(raw(person(vector), person(EAST, track=2)))
    assert len(record.tracks) == 2
    assert np.isnan(record.vectors[0]).all() and np.isfinite(record.vectors[1]).all()
    assert tally.counts[kind] == 1 and str(tally) == f"1 {kind}"


def test_untracked_people_are_left_out_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    made, tally = translator()
    for _ in range(3):
        record = made.record(raw(person(track=UNTRACKED), person(track=7)))
        assert record.tracks.ids.tolist() == [7]
    assert tally.counts["untracked"] == 3
    assert caplog.text.count("put nvtracker between") == 1


@pytest.mark.parametrize("ltwh", [(0, 0, 0, 20), (0, 0, 10, -1), (np.nan, 0, 10, 20), (0, 0, np.inf, 20)])
def test_boxes_without_an_area_are_left_out(ltwh: tuple[float, ...]) -> None:
    made, tally = translator()
    assert len(made.record(raw(person(ltwh=ltwh))).tracks) == 0
    assert tally.counts["box"] == 1


def test_ids_of_all_64_bits_stay_apart() -> None:
    tracks = [1, (1 << 63) - 1, 1 << 63, (1 << 64) - 2]
    record = translator()[0].record(raw(*(person(track=track) for track in tracks)))
    assert record.tracks.ids.tolist() == [1, 2**63 - 1, -(2**63), -2]
    assert [signed(track) for track in tracks] == record.tracks.ids.tolist()


def test_the_score_of_somebody_whom_only_the_tracker_saw_is_nothing() -> None:
    record = translator()[0].record(raw(person(score=-0.1), person(track=2, score=0.25)))
    np.testing.assert_allclose(record.tracks.detections.scores, [0, 0.25])


def test_a_recording_runs_by_its_own_clock_and_a_camera_by_the_world_s() -> None:
    assert translator()[0].record(raw(ntp_ns=9)).moment_s == EPOCH_S + 2.5
    live, _ = translator(is_live=True)
    assert live.record(raw(ntp_ns=int(1.6e18))).moment_s == 1.6e9
    assert live.record(raw()).moment_s == EPOCH_S + 77


def test_a_number_given_to_another_camera_goes_by_that_one_s_name() -> None:
    sensors = Sensors({0: "gate"})
    made, _ = translator(sensors=sensors)
    assert made.record(raw()).sensor == "gate"
    assert sensors.remove(0) == "gate"
    sensors.add(0, "yard")
    assert made.record(raw()).sensor == "yard"
    assert made.record(raw(source=9)).sensor == "source-9"


# --- from records to visits ----------------------------------------------------------------------------------------


def record(
    index: int,
    seen: dict[int, Array | None],
    *,
    moment_s: float | None = None,
    boxes: Sequence[tuple[float, ...]] | None = None,
    ended: Sequence[int] = (),
) -> FrameRecord:
    """Ten frames a second."""
    given = boxes or [(x, *BOX[1:2], x + 100, BOX[3]) for x in range(100, 100 + 200 * len(seen), 200)]
    found = Detections(
        np.array(given, np.float32).reshape(-1, 4), np.full(len(seen), 0.9, np.float32), np.zeros(len(seen), np.int64)
    )
    vectors = np.full((len(seen), DIM), np.nan, np.float32)
    for row, vector in enumerate(seen.values()):
        if vector is not None:
            vectors[row] = vector
    at_s = index / 10 if moment_s is None else moment_s
    tracks = Tracks(np.array(list(seen), np.int64), found)
    return FrameRecord("gate", index, EPOCH_S + at_s, (1080, 1920), tracks, vectors, frozenset(ended))


def desk(*, absent_s: float = 1.0) -> Desk:
    return Desk("gate", fingerprint="ab12", epoch_s=EPOCH_S, absent_s=absent_s)


def take_all(at: Desk, records: Sequence[FrameRecord]) -> list[Visit]:
    return [visit for one in records for visit in at.take(one)]


def test_a_track_becomes_one_visit_with_the_mean_of_its_vectors() -> None:
    at = desk()
    assert take_all(at, [record(0, {5: EAST}), record(10, {5: NORTH})]) == []
    (visit,) = at.end()
    track = visit.tracklet
    assert (visit.number, visit.camera, track.track_id, visit.count) == (1, "gate", 5, 2)
    assert (visit.first_s, visit.last_s) == (0.0, 1.0)
    assert track.frames.tolist() == [0, 10]
    assert track.embedding is not None and track.embedding.fingerprint == "ab12"
    np.testing.assert_allclose(track.embedding.vectors, [[2**-0.5, 2**-0.5, 0, 0]], atol=1e-6)
    assert track.crops == () and visit.best_crop is None


def test_a_track_that_the_tracker_gave_up_ends_at_once() -> None:
    at = desk(absent_s=60)
    assert take_all(at, [record(0, {5: EAST, 6: NORTH})]) == []
    (visit,) = at.take(record(1, {6: NORTH}, ended=[5, 4711]))
    assert visit.tracklet.track_id == 5


def test_a_track_ends_when_it_was_absent_for_long_enough() -> None:
    at = desk(absent_s=1.0)
    assert take_all(at, [record(0, {5: EAST}), *(record(index, {}) for index in range(1, 11))]) == []
    (visit,) = at.take(record(11, {}))
    assert visit.last_s == 0.0


def test_a_track_that_was_hidden_for_a_moment_goes_on() -> None:
    at = desk(absent_s=1.0)
    frames = [record(index, {5: EAST} if index not in range(3, 12) else {}) for index in range(20)]
    assert take_all(at, frames) == []
    assert len(at.end()) == 1


def test_somebody_who_is_in_the_frame_has_not_ended_whatever_is_said() -> None:
    at = desk()
    assert take_all(at, [record(0, {5: EAST}), record(1, {5: EAST}, ended=[5])]) == []


def test_the_end_of_the_stream_ends_everybody_and_leaves_nothing() -> None:
    at = desk()
    take_all(at, [record(index, {5: EAST, 6: NORTH, 7: None}) for index in range(3)])
    visits = at.end()
    assert [visit.tracklet.track_id for visit in visits] == [5, 6, 7]
    assert [visit.number for visit in visits] == [1, 2, 3]
    assert visits[2].tracklet.embedding is None
    assert at.end() == [] and len(at.book) == 0


def test_a_stream_that_begins_anew_goes_on_with_nobody() -> None:
    at = desk()
    take_all(at, [record(index, {5: EAST}) for index in range(50)])
    (first,) = at.take(record(0, {5: EAST}))
    assert first.tracklet.frames.tolist() == list(range(50))
    take_all(at, [record(index, {5: EAST}) for index in range(1, 4)])
    (second,) = at.end()
    assert second.first_s == pytest.approx(4.9 + 1.0)  # one second after the last before
    assert second.tracklet.frames.tolist() == [50, 51, 52, 53]
    assert np.diff(second.tracklet.times_s) == pytest.approx([0.1, 0.1, 0.1], abs=1e-6)


def test_a_clock_that_jumps_back_alone_shifts_no_frame_numbers() -> None:
    at = desk()
    take_all(at, [record(8, {5: EAST}, moment_s=20.0), record(9, {5: EAST}, moment_s=20.1)])
    (first,) = at.take(record(10, {5: EAST}, moment_s=3.0))
    assert first.last_s == pytest.approx(20.1)
    (second,) = at.end()
    assert second.tracklet.frames.tolist() == [10] and second.first_s == pytest.approx(21.1)


def test_a_clock_that_is_set_right_by_a_little_ends_nobody() -> None:
    at = desk()
    moments = [0.0, 0.1, 0.1, 0.05, 0.3]  # two frames at once, and one before the last
    assert take_all(at, [record(index, {5: EAST}, moment_s=moment) for index, moment in enumerate(moments)]) == []
    (visit,) = at.end()
    assert visit.tracklet.times_s == pytest.approx([0.0, 0.1, 0.1, 0.1, 0.3], abs=1e-6)


def test_a_live_stream_that_comes_back_later_keeps_its_time() -> None:
    at = desk()
    take_all(at, [record(index, {5: EAST}) for index in range(50)])
    (first,) = at.take(record(0, {5: EAST}, moment_s=60.0))
    assert first.last_s == pytest.approx(4.9)
    (second,) = at.end()
    assert second.tracklet.frames.tolist() == [50] and second.first_s == pytest.approx(60.0)


def test_nobody_is_kept_from_every_frame() -> None:
    """Every object of every frame is embedded; of 200 a second, two a second are enough of somebody known."""
    at = desk()
    take_all(at, [record(index, {5: EAST}, moment_s=index / 200) for index in range(2000)])
    (visit,) = at.end()
    assert len(visit.tracklet.frames) == 2000
    assert 15 <= visit.count <= 25  # four in the first 0.4 s, then one each half second of ten


def test_people_half_covered_by_another_lend_no_vector() -> None:
    at = desk()
    crowded = [BOX, (BOX[0] + 10, BOX[1], BOX[2] + 10, BOX[3])]
    take_all(at, [record(0, {5: EAST, 6: NORTH}, boxes=crowded)])
    assert [visit.tracklet.embedding for visit in at.end()] == [None, None]


def test_unclear_shots_are_averaged_only_where_there_is_nothing_better() -> None:
    at = desk()
    cut = (0.0, 100.0, 60.0, 400.0)  # by the left border
    take_all(at, [record(0, {5: EAST}, boxes=[cut]), record(10, {5: NORTH}, boxes=[FAR_BOX])])
    (visit,) = at.end()
    assert visit.count == 1 and visit.tracklet.embedding is not None
    np.testing.assert_allclose(visit.tracklet.embedding.vectors, [NORTH], atol=1e-6)


def test_the_quality_of_a_box_is_the_product_of_its_four_parts() -> None:
    # 128x64 is 8192 pixels: 8192 / (8192 + 2048) = 0.8; it is upright (2.0 lies between 1.5 and 4).
    assert box_quality((128, 64), Setting()) == pytest.approx(0.8)
    assert box_quality((128, 64), Setting(crowding=0.25, cut=True)) == pytest.approx(0.8 * 0.75 * 0.5)
    assert box_quality((64, 128), Setting()) == pytest.approx(0.8 * 0.5 / 1.5)


def test_visits_and_frames_count_on_from_those_an_earlier_run_left(tmp_path: Path) -> None:
    before = desk()
    take_all(before, [record(index, {5: EAST, 6: NORTH}) for index in range(30)])
    for visit in before.end():
        keep_visit(tmp_path, visit)
    after = desk()
    after.go_on_after(tmp_path)
    take_all(after, [record(0, {5: EAST}, moment_s=1000.0)])
    (visit,) = after.end()
    assert visit.number == 3
    assert visit.tracklet.frames.tolist() == [30] and visit.first_s == 1000.0


def test_a_very_long_track_is_cut_into_visits_that_continue_each_other() -> None:
    at = desk()
    visits = take_all(at, [record(index, {5: EAST}, moment_s=index * 1.0) for index in range(0, 1300)])
    visits += at.end()
    assert [visit.continues for visit in visits] == [None, 1, 2]
    assert sum(len(visit.tracklet.frames) for visit in visits) == 1300


# --- the mailbox ---------------------------------------------------------------------------------------------------


def test_a_full_mailbox_refuses_and_counts_what_comes_and_keeps_what_waits() -> None:
    box = Mailbox[int](3)
    assert [box.offer(number) for number in range(5)] == [True, True, True, False, False]
    assert box.dropped == 2
    assert [box.take() for _ in range(3)] == [0, 1, 2]
    assert box.offer(9) and box.take() == 9


def test_what_must_arrive_has_room_in_a_full_mailbox_and_keeps_its_place() -> None:
    box = Mailbox[str](1)
    assert box.offer("frame")
    box.insist("end")
    assert not box.offer("late")
    assert [box.take(), box.take()] == ["frame", "end"] and len(box) == 0


def test_nothing_is_said_of_a_tally_without_faults(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tally = Tally()
    tally.person(has_vector=True, wanted="layer embedding")
    assert str(tally) == "" and caplog.text == ""
