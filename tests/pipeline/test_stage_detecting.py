"""From a recording to boxes to tracklets to crops: the stages that look at pictures, and what a kill costs them."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from sightline.errors import ModelFormatError, OutputError
from sightline.pipeline.crop_folders import people_in
from sightline.pipeline.stages import detection_parts
from sightline.pipeline.stages.crops import crop_of, spread, write_crops, write_track
from sightline.pipeline.stages.detection_parts import DetectionParts
from sightline.pipeline.stages.records import read_arrays, read_object, read_record
from sightline.pipeline.stages.run import run_stages
from sightline.pipeline.stages.tracking import tracklets_of
from sightline.tracking.background import BackgroundDetector
from sightline.tracking.detector import ModelDetector
from sightline.types import Detections, Image, Tracks
from sightline.video import ImageFolder, VideoFile, VideoWriter
from stage_films import FILM, RATE, paint_film, tracklet, write_pipeline

HEIGHT, WIDTH = 64, 96
COUNT = 30  # frames of the grey film


def grey_film(path: Path, *, fps: float = 10) -> Path:
    """Frame n has the grey value 8 n."""
    with VideoWriter(path, fps=fps) as writer:
        for number in range(COUNT):
            writer.write(np.full((HEIGHT, WIDTH, 3), 8 * number, np.uint8))
    return path


def grey_detector(path: Path) -> Path:
    """An end-to-end model that sees one person, whose left edge is a tenth of the picture's red."""
    onnx = pytest.importorskip("onnx", reason="the smallest of detectors is made with onnx")
    from onnx import TensorProto, helper, numpy_helper

    steps, rest = np.zeros((3, 300 * 6), np.float32), np.zeros((1, 300 * 6), np.float32)
    steps[0, [0, 2]] = 0.1 * 255  # this family is fed 0..1
    rest[0, :6] = (0, 5, 30, 60, 0.9, 0)
    constants = {"steps": steps, "rest": rest, "shape": np.array([-1, 300, 6], np.int64)}
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "steps"], ["moved"]),
        helper.make_node("Add", ["moved", "rest"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["output0"]),
    ]
    taken = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, HEIGHT, WIDTH])
    given = helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 300, 6])
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "grey", [taken], [given], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def grey_pipeline(root: Path, **detect: object) -> Path:
    film, detector = grey_film(root / "film.mp4"), grey_detector(root / "grey.onnx")
    section = {"detector": str(detector), "keep": ["all"], "device": "cpu", **detect}
    return write_pipeline(root, film, detector, stage1_detect=section)


def boxes_of(root: Path) -> tuple[list[int], np.ndarray]:
    _, arrays = read_arrays(root / "out" / "stage1_detections.npz")
    return arrays["frames"].tolist(), arrays["boxes"]


# Detections


def test_a_model_sees_every_frame_whatever_the_batch(tmp_path: Path) -> None:
    """8 n grey levels, of which a tenth is the left edge; encoding changes a level or two of them."""
    run_stages(grey_pipeline(tmp_path, batch=7), until="stage1")
    frames, boxes = boxes_of(tmp_path)
    assert frames == list(range(COUNT))
    assert np.abs(boxes[:, 0] - 0.8 * np.arange(COUNT)).max() < 0.6
    record, arrays = read_arrays(tmp_path / "out" / "stage1_detections.npz")
    assert record["film"] == {"name": "film", "fps": 10, "height": HEIGHT, "width": WIDTH, "frames": COUNT}
    assert arrays["times_s"] == pytest.approx(np.arange(COUNT) / 10)
    assert not (tmp_path / "out" / ".stage1_parts").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from sightline.pipeline.stages import detection_parts
from sightline.pipeline.stages.run import run_stages
from sightline.tracking.background import BackgroundDetector
from sightline.tracking.detector import ModelDetector

detection_parts.EVERY = 8
real, left = ModelDetector.detect, iter(range(20))
def detect(self, images):
    if next(left, None) is None:
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    return real(self, images)
ModelDetector.detect = detect
run_stages(Path(sys.argv[1]), until="stage1")
"""


@pytest.mark.parametrize(("how", "kept"), [("SIGKILL", 16), ("SIGINT", 20)])
def test_stopped_after_20_frames_it_goes_on_with_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, how: str, kept: int
) -> None:
    """Eight frames are a file: a kill leaves two of them, Ctrl-C all that was seen."""
    config = grey_pipeline(tmp_path, batch=1)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, config, how], check=False, timeout=60, stderr=subprocess.DEVNULL
    )
    assert killed.returncode == -getattr(signal, how)
    assert not (tmp_path / "out" / "stage1_detections.npz").exists()
    seen = []
    real = ModelDetector.detect
    monkeypatch.setattr(ModelDetector, "detect", lambda self, images: seen.append(len(images)) or real(self, images))
    caplog.set_level(logging.INFO)
    run_stages(config, until="stage1")
    assert sum(seen) == COUNT - kept
    assert f"goes on at frame {kept}" in caplog.text
    gone_on = boxes_of(tmp_path)
    run_stages(config, until="stage1", start="stage1")
    whole = boxes_of(tmp_path)
    assert gone_on[0] == whole[0] and np.array_equal(gone_on[1], whole[1])
    assert sum(seen) == 2 * COUNT - kept


def test_what_is_left_of_other_settings_is_of_no_use(tmp_path: Path) -> None:
    config = grey_pipeline(tmp_path, batch=1)
    subprocess.run([sys.executable, "-c", KILLED, config, "SIGKILL"], check=False, timeout=60)
    run_stages(config, until="stage1", overrides=["stage1_detect.min_score=0.95"])
    assert boxes_of(tmp_path)[0] == [], "the one person scores 0.9"


def crossing_film(folder: Path) -> Path:
    """A white body of 40x20 pixels crosses a dark place from frame 20 on."""
    folder.mkdir()
    for number in range(40):
        image = np.full((120, 160, 3), 40, np.uint8)
        if number >= 20:
            left = 10 + 5 * (number - 20)
            image[50:90, left : left + 20] = 250
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


def test_what_moves_is_found_without_a_model(tmp_path: Path) -> None:
    film = crossing_film(tmp_path / "film")
    run_stages(write_pipeline(tmp_path, film, film, stage1_detect={"detector": "background"}), until="stage2")
    frames, boxes = boxes_of(tmp_path)
    assert min(frames) == 20 and len(set(frames)) >= 18
    assert np.abs(boxes[-1] - (105, 50, 125, 90)).max() <= 4


def test_a_detector_that_learns_as_it_goes_begins_anew_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have to learn the place again from the frame it goes on at, and miss who is there meanwhile."""
    film = crossing_film(tmp_path / "film")
    config = write_pipeline(tmp_path, film, film, stage1_detect={"detector": "background", "batch": 1})
    real, left = BackgroundDetector.detect, iter(range(24))

    def stopped(self: BackgroundDetector, images: Sequence[Image]) -> list[Detections]:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(self, images)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(BackgroundDetector, "detect", stopped)
        run_stages(config)
    run_stages(config, until="stage1")
    gone_on = boxes_of(tmp_path)
    run_stages(config, until="stage1", start="stage1")
    whole = boxes_of(tmp_path)
    assert gone_on[0] == whole[0] and np.array_equal(gone_on[1], whole[1])


def test_a_model_that_is_no_detector_is_one_line(tmp_path: Path, osnet: Path) -> None:
    config = write_pipeline(tmp_path, paint_film(tmp_path / "film"), osnet, stage1_detect={"detector": str(osnet)})
    with pytest.raises(ModelFormatError):
        run_stages(config)


# Parts


def found(count: int) -> Detections:
    return Detections(np.ones((count, 4), np.float32), np.ones(count, np.float32), np.zeros(count, np.int64))


def test_parts_come_together_in_order_and_frames_without_anybody_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection_parts, "EVERY", 2)
    parts = DetectionParts(tmp_path / "parts", fingerprint="a" * 64)
    for frame, count in ((0, 1), (1, 0), (3, 2), (4, 0), (5, 0)):  # 2 could not be decoded
        parts.add(frame, frame / 4, found(count))
    parts.keep()
    again = DetectionParts(tmp_path / "parts", fingerprint="a" * 64)
    assert again.next_frame == 6
    everything = again.all()
    assert everything["seen"].tolist() == [0, 1, 3, 4, 5]
    assert everything["frames"].tolist() == [0, 3, 3]
    assert everything["times_s"].tolist() == [0, 0.25, 0.75, 1, 1.25]
    assert everything["boxes"].shape == (3, 4)


def test_a_damaged_part_and_all_behind_it_are_detected_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection_parts, "EVERY", 2)
    parts = DetectionParts(tmp_path / "parts", fingerprint="a" * 64)
    for frame in range(6):
        parts.add(frame, frame / 4, found(1))
    (second,) = (tmp_path / "parts").rglob("000001.npz")
    second.write_bytes(b"half")
    assert DetectionParts(tmp_path / "parts", fingerprint="a" * 64).next_frame == 2


def test_nothing_detected_is_empty_arrays_of_the_right_kinds(tmp_path: Path) -> None:
    everything = DetectionParts(tmp_path / "parts", fingerprint="a" * 64).all()
    assert {name: (array.shape[0], array.dtype.kind) for name, array in everything.items()} == {
        **dict.fromkeys(("seen", "frames", "classes"), (0, "i")),
        **dict.fromkeys(("times_s", "boxes", "scores"), (0, "f")),
    }


# The recording


def test_a_recording_is_written_anew_where_another_rate_or_size_is_asked_for(tmp_path: Path) -> None:
    config = grey_pipeline(tmp_path)
    asked = ["stage0_normalise.fps=5", "stage0_normalise.resize_to=[48, 48]"]
    run_stages(config, overrides=asked, until="stage1")
    _, content = read_object(tmp_path / "out" / "stage0_video.json")
    assert content["video"] == str(tmp_path / "out" / "stage0_normalised.mp4")
    with VideoFile(Path(content["video"])) as film:
        assert (film.info.fps, film.info.size_hw) == (5, (32, 48))
    film_record = read_record(tmp_path / "out" / "stage1_detections.npz")["film"]
    assert (film_record["frames"], film_record["fps"], film_record["width"]) == (COUNT // 2, 5, 48)

    Path(content["video"]).unlink()
    again = run_stages(config, overrides=asked, until="stage0")
    assert again.stages[0].done and again.stages[0].reason.endswith("stage0_normalised.mp4 is gone")


def test_a_recording_that_needs_nothing_is_used_as_it_is(tmp_path: Path) -> None:
    run_stages(grey_pipeline(tmp_path), overrides=["stage0_normalise.fps=10"], until="stage0")
    assert read_object(tmp_path / "out" / "stage0_video.json")[1]["video"] == str(tmp_path / "film.mp4")
    assert not (tmp_path / "out" / "stage0_normalised.mp4").exists()


# Tracklets


def test_answers_of_a_tracker_become_a_tracklet_each_and_short_ones_are_left_out() -> None:
    """Frames 4, 5 and 7 were seen; 3 is in all, 8 in the first two, 1 in the last."""
    seen, times = np.array([4, 5, 7]), np.array([1.0, 1.25, 1.75])
    answers = [
        Tracks(np.array([8, 3]), Detections(np.array([[0, 0, 1, 1], [5, 5, 6, 6]], np.float32), *_scored(0.5, 0.6))),
        Tracks(np.array([3, 8]), Detections(np.array([[5, 5, 7, 7], [0, 0, 2, 2]], np.float32), *_scored(0.7, 0.4))),
        Tracks(np.array([1, 3]), Detections(np.array([[9, 9, 10, 10], [5, 5, 8, 8]], np.float32), *_scored(1, 0.8))),
    ]
    three, eight = tracklets_of(answers, seen, times, source="film", min_frames=2)
    assert (three.track_id, three.frames.tolist(), three.times_s.tolist()) == (3, [4, 5, 7], [1.0, 1.25, 1.75])
    assert three.boxes_xyxy[:, 2].tolist() == [6, 7, 8] and three.scores.tolist() == pytest.approx([0.6, 0.7, 0.8])
    assert (eight.track_id, eight.frames.tolist()) == (8, [4, 5])
    assert [one.track_id for one in tracklets_of(answers, seen, times, source="film", min_frames=1)] == [1, 3, 8]
    assert list(tracklets_of([], seen[:0], times[:0], source="film", min_frames=1)) == []


def _scored(*scores: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array(scores, np.float32), np.zeros(len(scores), np.int64)


@pytest.mark.parametrize("name", ["bytetrack", "sort"])
def test_another_tracker_is_asked_for_by_its_name(tmp_path: Path, name: str) -> None:
    pytest.importorskip("trackers", reason="the trackers library is an extra")
    film = paint_film(tmp_path / "film")
    config = write_pipeline(tmp_path, film, film, stage2_track={"tracker": name, "min_frames": 1})
    found_ = run_stages(config, until="stage2")
    assert found_.stages[-1].told.endswith(f"by {name}") and not found_.stages[-1].told.startswith("0 ")


# Crops


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(3, 5, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (9, 5, [0, 2, 4, 6, 8]), (100, 2, [0, 99]), (7, 1, [0])],
)
def test_crops_are_spread_evenly_from_the_first_frame_to_the_last(count: int, most: int, expected: list[int]) -> None:
    assert spread(count, most) == expected


@pytest.mark.parametrize(
    ("box", "expected_hw"),
    [
        ((10, 20, 30, 60), (40, 20)),
        ((10.2, 20.9, 29.1, 59.5), (40, 20)),
        ((-5, -5, 8, 9), (9, 8)),
        ((90, 58, 200, 300), (6, 6)),
        ((-30, 10, -10, 20), (10, 0)),
        ((100, 70, 110, 80), (0, 0)),
    ],
)
def test_a_crop_is_every_pixel_the_box_touches_inside_the_picture(
    box: tuple[float, ...], expected_hw: tuple[int, int]
) -> None:
    image = np.arange(HEIGHT * WIDTH * 3).reshape(HEIGHT, WIDTH, 3).astype(np.uint8)
    crop = crop_of(image, np.array(box, np.float32))
    assert crop.shape[:2] == expected_hw
    if crop.size:
        left, top = max(0, int(np.floor(box[0]))), max(0, int(np.floor(box[1])))
        assert np.array_equal(crop[0, 0], image[top, left])


def test_crops_are_of_the_frames_they_are_named_by(tmp_path: Path) -> None:
    """Grey 8 n in frame n; what a box leaves outside the picture has no crop."""
    film = grey_film(tmp_path / "film.mp4")
    one = tracklet(1, list(range(3, 30, 4)), at=(40, 30), tall=20, wide=10)
    gone = tracklet(2, range(5, 9), at=(500, 30))
    write_crops(film, [one, gone], tmp_path / "crops", per_person=4, progress=lambda done, total: None)
    for person in (one, gone):
        write_track(tmp_path / "crops" / str(person.track_id), person, FILM)
    first, second = people_in(tmp_path / "crops")
    assert [file.name for file in first.files] == ["000003.jpg", "000011.jpg", "000019.jpg", "000027.jpg"]
    for file in first.files:
        assert abs(cv2.imread(str(file)).mean() - 8 * int(file.stem)) < 4
    assert (second.person_id, second.files) == ("2", ())
    assert first.rows() == [0, 2, 4, 6], "by the number in the name, as there are fewer crops than boxes"
    assert first.sightings is not None and first.sightings.fps == RATE and first.sightings.size_hw == (400, 800)


class Damaged(ImageFolder):
    """A recording whose frame 3 cannot be decoded: whoever asks for it gets the next."""

    def start_at(self, frame: int) -> None:
        super().start_at(4 if frame == 3 else frame)


def test_a_frame_that_cannot_be_decoded_is_left_out_and_no_other_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = paint_film(tmp_path / "film")
    monkeypatch.setattr("sightline.pipeline.stages.crops.open_recording", Damaged)
    body = tracklet(1, range(2, 6), at=(16, 24), tall=32, wide=16)
    write_crops(film, [body], tmp_path / "crops", per_person=9, progress=lambda done, total: None)
    assert sorted(path.name for path in (tmp_path / "crops" / "1").iterdir()) == [
        *("000002.jpg", "000004.jpg", "000005.jpg")
    ]


def test_crops_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "crops").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_crops(
            *(tmp_path / "film.mp4", [tracklet(1, range(3))], tmp_path / "crops"),
            per_person=4,
            progress=lambda done, total: None,
        )
