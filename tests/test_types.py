from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sightline.types import Detections, Embeddings, Frame, TensorSpec, Tracklet, Tracks


def boxes(count: int) -> np.ndarray:
    return np.zeros((count, 4), np.float32)


def detections(count: int) -> Detections:
    return Detections(boxes(count), np.zeros(count, np.float32), np.zeros(count, np.int64))


def test_an_open_dimension_is_shown_as_a_question_mark() -> None:
    assert str(TensorSpec("images", (None, 3, 256, 128), "float32")) == "images float32[?, 3, 256, 128]"


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)],
    ids=["grey", "four channels", "floats"],
)
def test_a_frame_is_bgr_uint8(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"frame 12 must be BGR uint8 \(H, W, 3\)"):
        Frame(image, 12, 0.4)


def test_a_frame_cannot_be_changed() -> None:
    frame = Frame(np.zeros((4, 6, 3), np.uint8), 12, 0.4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.index = 13


def test_detections_have_a_length() -> None:
    assert [len(detections(count)) for count in (0, 1, 7)] == [0, 1, 7]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"boxes_xyxy": np.zeros((2, 5), np.float32)}, "boxes must be"),
        ({"scores": np.zeros(3, np.float32)}, "2 boxes with scores"),
        ({"classes": np.zeros(1, np.int64)}, "2 boxes with classes"),
        ({"landmarks_xy": np.zeros((1, 5, 2), np.float32)}, "2 boxes with 1 landmarks"),
    ],
)
def test_the_parts_of_detections_are_of_one_length(fields: dict[str, np.ndarray], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        dataclasses.replace(detections(2), **fields)


def test_every_box_of_a_track_has_an_id() -> None:
    assert len(Tracks(np.arange(3), detections(3))) == 3
    with pytest.raises(ValueError, match="3 boxes with ids"):
        Tracks(np.arange(2), detections(3))


def test_one_vector_alone_is_not_embeddings() -> None:
    assert len(Embeddings(np.zeros((0, 512), np.float32), "", normalised=True)) == 0
    with pytest.raises(ValueError, match=r"must be \(N, D\), got \(512,\)"):
        Embeddings(np.zeros(512, np.float32), "", normalised=True)


@pytest.mark.parametrize("field", ["times_s", "boxes_xyxy", "scores"])
def test_the_parts_of_a_tracklet_are_of_one_length(field: str) -> None:
    whole = Tracklet(4, "cam", np.arange(3), np.arange(3.0), boxes(3), np.ones(3, np.float32))
    with pytest.raises(ValueError, match="3 frames with"):
        dataclasses.replace(whole, **{field: getattr(whole, field)[:2]})


def test_a_tracklet_without_frames_is_none() -> None:
    with pytest.raises(ValueError, match="track 4 has no frames"):
        Tracklet(4, "cam", np.arange(0), np.arange(0.0), boxes(0), np.ones(0, np.float32))
