from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from metadata_standins import (
    CAR,
    GIE,
    LAYER,
    PERSON,
    DevicePool,
    Node,
    Picture,
    Pool,
    Somebody,
    Tensors,
    make_pyds,
    maker_batch,
    pyds_batch,
    with_vector,
)
from sightline.errors import BackendError
from sightline.pipeline.probe.pyds_metadata import PydsReader, listed
from sightline.pipeline.probe.records import FrameHead, RawFrame, Wanted
from sightline.pipeline.probe.servicemaker_metadata import ServiceMakerReader
from sightline.pipeline.probe.tally import Tally
from sightline.types import Array

DIM = 6
VECTOR = np.arange(1, DIM + 1, dtype=np.float32)
OTHER = np.full(DIM, -3, np.float32)

Read = Callable[..., list[RawFrame]]


def wanted(*, by_tracker: bool = False) -> Wanted:
    return Wanted(GIE, LAYER, frozenset({PERSON}), by_tracker)


def read_by_pyds(
    pictures: Sequence[Picture], tally: Tally | None = None, *, by_tracker: bool = False
) -> list[RawFrame]:
    pool = Pool()
    reader = PydsReader(make_pyds(), wanted(by_tracker=by_tracker), tally or Tally())
    frames = list(reader.frames(pyds_batch(pictures, pool)))
    pool.use_again()  # the callback has returned
    return frames


def read_by_servicemaker(
    pictures: Sequence[Picture], tally: Tally | None = None, *, by_tracker: bool = False, **how: Any
) -> list[RawFrame]:
    pool = DevicePool()
    reader = ServiceMakerReader(wanted(by_tracker=by_tracker), tally or Tally())
    frames = list(reader.frames(maker_batch(pictures, pool, **how)))
    pool.use_again()
    return frames


@pytest.fixture(params=[read_by_pyds, read_by_servicemaker], ids=["pyds", "pyservicemaker"])
def read(request: pytest.FixtureRequest) -> Read:
    found: Read = request.param
    return found


def vectors_of(frames: Sequence[RawFrame]) -> list[Array | None]:
    return [person.vector for frame in frames for person in frame.people]


# --- what is read --------------------------------------------------------------------------------------------------


def test_a_frame_is_read_with_everything_it_says(read: Read) -> None:
    picture = Picture(
        7, [with_vector(31, VECTOR, ltwh=(1, 2, 30, 40), score=0.75)], source=3, pts_ns=5, ntp_ns=9, size_wh=(640, 480)
    )
    (frame,) = read([picture])
    assert frame.head == FrameHead(3, 7, 5, 9, (640, 480), (1920, 1080))
    (person,) = frame.people
    assert (person.track, person.box_ltwh, person.score) == (31, (1, 2, 30, 40), 0.75)
    assert person.vector is not None
    np.testing.assert_array_equal(person.vector, VECTOR)


def test_all_frames_of_a_batch_and_all_people_of_a_frame_are_read(read: Read) -> None:
    pictures = [Picture(1, [with_vector(track, VECTOR) for track in range(4)], source=source) for source in range(3)]
    frames = read(pictures)
    assert [frame.head.source for frame in frames] == [0, 1, 2]
    assert [[person.track for person in frame.people] for frame in frames] == [[0, 1, 2, 3]] * 3


def test_a_frame_and_a_batch_without_anybody_are_no_trouble(read: Read) -> None:
    assert read([]) == []
    assert [frame.people for frame in read([Picture(1), Picture(1, source=1)])] == [(), ()]


def test_cars_are_passed_over_and_those_behind_them_are_not(read: Read) -> None:
    people = [Somebody(1, class_id=CAR), with_vector(2, VECTOR), Somebody(3, class_id=CAR), with_vector(4, VECTOR)]
    (frame,) = read([Picture(1, people)])
    assert [person.track for person in frame.people] == [2, 4]


def test_somebody_too_small_to_be_embedded_has_no_vector(read: Read) -> None:
    assert vectors_of(read([Picture(1, [Somebody(1), with_vector(2, VECTOR)])]))[0] is None


# --- the traps -----------------------------------------------------------------------------------------------------


def test_what_was_read_does_not_change_when_buffers_are_used_again(read: Read) -> None:
    (vector,) = vectors_of(read([Picture(1, [with_vector(1, VECTOR)])]))
    assert vector is not None
    np.testing.assert_array_equal(vector, VECTOR)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_half_outputs_are_read_as_halves(read: Read, dtype: type[np.generic]) -> None:
    (vector,) = vectors_of(read([Picture(1, [with_vector(1, VECTOR.astype(dtype))])]))
    assert vector is not None and vector.dtype == dtype
    np.testing.assert_array_equal(vector.astype(np.float32), VECTOR)


@pytest.mark.parametrize("dtype", [np.int8, np.int32])
def test_outputs_that_are_no_floats_are_refused_in_words(
    read: Read, dtype: type[np.generic], caplog: pytest.LogCaptureFixture
) -> None:
    tally = Tally()
    assert vectors_of(read([Picture(1, [with_vector(1, VECTOR.astype(dtype))])], tally)) == [None]
    assert tally.counts["type"] == 1
    assert np.dtype(dtype).name in caplog.text and "float outputs" in caplog.text


def test_the_length_is_the_layer_s_own(read: Read) -> None:
    (vector,) = vectors_of(read([Picture(1, [with_vector(1, np.ones(3, np.float32))])]))
    assert vector is not None and vector.size == 3


def test_the_tensors_of_another_network_are_not_taken_for_ours(read: Read) -> None:
    others = [Tensors({LAYER: OTHER}, gie=2), Tensors({LAYER: VECTOR}), Tensors({LAYER: OTHER}, gie=9)]
    (vector,) = vectors_of(read([Picture(1, [Somebody(1, tensors=others)])]))
    assert vector is not None
    np.testing.assert_array_equal(vector, VECTOR)
    assert vectors_of(read([Picture(1, [Somebody(1, tensors=others[:1])])])) == [None]


def test_the_layer_is_found_by_its_name_wherever_it_stands(read: Read) -> None:
    tensors = Tensors({"first": OTHER, LAYER: VECTOR, "last": OTHER})
    (vector,) = vectors_of(read([Picture(1, [Somebody(1, tensors=[tensors])])]))
    assert vector is not None
    np.testing.assert_array_equal(vector, VECTOR)


def test_a_network_without_that_layer_is_told_once(read: Read, caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally()
    person = Somebody(1, tensors=[Tensors({"fc_pred": OTHER})])
    assert vectors_of(read([Picture(1, [person, person, person])], tally)) == [None] * 3
    assert tally.counts["other layer"] == 3
    assert caplog.text.count("fc_pred") == 1 and "sightline doctor" in caplog.text


def test_a_list_moves_on_however_its_items_are_passed_over() -> None:
    seen = []
    for number in listed(Node(list(range(50))), lambda data: data):
        if number % 2:
            continue
        seen.append(number)
    assert seen == list(range(0, 50, 2))


def test_a_cast_that_says_stop_ends_the_list_and_not_the_program() -> None:
    def cast(data: int) -> int:
        if data == 2:
            raise StopIteration
        return data

    assert list(listed(Node([0, 1, 2, 3]), cast)) == [0, 1]
    assert list(listed(None, cast)) == []


def test_a_layer_without_host_memory_is_told(caplog: pytest.LogCaptureFixture) -> None:
    pool, tally = Pool(), Tally()
    batch = pyds_batch([Picture(1, [with_vector(1, VECTOR)])], pool)
    batch.frame_meta_list.data.obj_meta_list.data.obj_user_meta_list.next.data.user_meta_data.infos[0].buffer = None
    (frame,) = PydsReader(make_pyds(), wanted(), tally).frames(batch)
    assert frame.people[0].vector is None
    assert "disable-output-host-copy" in caplog.text


def test_older_bindings_call_the_size_dims() -> None:
    pool = Pool()
    batch = pyds_batch([Picture(1, [with_vector(1, VECTOR)])], pool)
    info = batch.frame_meta_list.data.obj_meta_list.data.obj_user_meta_list.next.data.user_meta_data.infos[0]
    info.dims = info.inferDims
    del info.inferDims
    (frame,) = PydsReader(make_pyds(), wanted(), Tally()).frames(batch)
    assert frame.people[0].vector is not None
    np.testing.assert_array_equal(frame.people[0].vector, VECTOR)


def test_where_the_binding_does_not_tell_the_network_the_layer_s_name_decides() -> None:
    tensors = [Tensors({"class": OTHER}, gie=2), Tensors({LAYER: VECTOR})]
    (vector,) = vectors_of(read_by_servicemaker([Picture(1, [Somebody(1, tensors=tensors)])], tells_gie=False))
    assert vector is not None
    np.testing.assert_array_equal(vector, VECTOR)


# --- nvtracker's own vectors and endings ---------------------------------------------------------------------------


def test_the_tracker_s_own_vectors_are_read_and_copied(read: Read) -> None:
    source = VECTOR.copy()
    people = [Somebody(1, reid=source, tensors=[Tensors({LAYER: OTHER})]), Somebody(2)]
    found, none = vectors_of(read([Picture(1, people)], by_tracker=True))
    source[:] = 0
    assert none is None and found is not None
    np.testing.assert_array_equal(found, VECTOR)


def test_bindings_that_cannot_read_the_tracker_s_vectors_say_so() -> None:
    with pytest.raises(BackendError, match=r"NvDsObjReid .*use the re-identification network as SGIE"):
        PydsReader(make_pyds(reads_reid=False), wanted(by_tracker=True), Tally())
    with pytest.raises(BackendError, match=r"obj_reid_items; use the re-identification network as SGIE"):
        read_by_servicemaker([Picture(1, [Somebody(1)])], by_tracker=True, reads_reid=False)


def test_pyds_tells_which_tracks_of_which_camera_have_ended() -> None:
    pictures = [Picture(1, source=0, ended=[4, 5]), Picture(1, source=1), Picture(1, source=2, ended=[6])]
    assert [set(frame.ended) for frame in read_by_pyds(pictures)] == [{4, 5}, set(), {6}]


def test_a_pyds_that_knows_no_ended_tracks_is_read_all_the_same() -> None:
    pyds = make_pyds()
    del pyds.NvDsMetaType.NVDS_TRACKER_TERMINATED_LIST_META
    (frame,) = PydsReader(pyds, wanted(), Tally()).frames(pyds_batch([Picture(1, ended=[4])], Pool()))
    assert frame.ended == frozenset()


def test_that_nobody_at_all_has_a_vector_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    tally = Tally()
    for _ in range(1000):
        tally.person(has_vector=False, wanted="layer embedding")
    assert caplog.text.count("output-tensor-meta=1") == 1
    caplog.clear()
    fine = Tally()
    fine.person(has_vector=True, wanted="layer embedding")
    for _ in range(1000):
        fine.person(has_vector=False, wanted="layer embedding")
    assert caplog.text == ""
