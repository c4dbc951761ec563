from __future__ import annotations

import logging
import threading
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_detectors import CELLS, SIZE_HW, Table, detector_file, yunet_tables

from sightline.errors import BackendError, ConfigError, ModelNotFoundError
from sightline.sources import open_recording
from sightline.synth.cameras import camera
from sightline.synth.faces import face_identity, shoot_face
from sightline.tracking.background import BackgroundDetector
from sightline.tracking.detector import Choice, Detector, ModelDetector, open_detector
from sightline.types import Detections, Image


def grey(height: int, width: int, value: int = 0) -> Image:
    return np.full((height, width, 3), value, np.uint8)


def finished(*rows: tuple[float, ...]) -> dict[str, Table]:
    """An answer of the kind that needs no decoding: x1, y1, x2, y2, score, class."""
    table = np.zeros((300, 6), np.float32)
    table[: len(rows)] = np.reshape(rows, (-1, 6))
    return {"output0": table}


def detect(path: Path, images: list[Image], *, choice: Choice | None = None, **options: str) -> list[Detections]:
    with open_detector(path, choice=choice or Choice(), **options) as detector:
        return detector.detect(images)


class TestBoxes:
    def test_they_come_back_in_the_pixels_of_each_picture(self, tmp_path: Path) -> None:
        path = detector_file(tmp_path / "m.onnx", finished((24, 16, 72, 48, 0.9, 0)))
        small, large, tall = detect(path, [grey(64, 96), grey(640, 960), grey(128, 96)])
        assert small.boxes_xyxy.tolist() == [[24, 16, 72, 48]]
        assert large.boxes_xyxy.tolist() == [[240, 160, 720, 480]]
        # 128×96 becomes 64×48 in the middle of 64×96: 24 columns of padding on either side, one pixel for two
        assert tall.boxes_xyxy.tolist() == [[0, 32, 96, 96]]
        assert small.boxes_xyxy.dtype == small.scores.dtype == np.float32

    def test_they_end_where_the_picture_does(self, tmp_path: Path) -> None:
        path = detector_file(tmp_path / "m.onnx", finished((-50, -9, 500, 30, 0.9, 0), (120, 5, 130, 9, 0.9, 0)))
        (found,) = detect(path, [grey(64, 96)])
        assert found.boxes_xyxy.tolist() == [[0, 0, 96, 30]]

    def test_d_fine_is_told_width_before_height(self, tmp_path: Path) -> None:
        tables: dict[str, Table] = {
            "boxes": np.zeros((3, 4), np.float32),
            "labels": np.zeros(3, np.int64),  # type: ignore[dict-item]
            "scores": np.full(3, 0.9, np.float32),
        }
        by_size = np.zeros((2, 3, 4))
        by_size[0, :, 2] = by_size[1, :, 3] = 0.5  # x2 is half the first number, y2 half the second
        path = detector_file(tmp_path / "m.onnx", tables, wants_size=True, by_size=by_size)
        (found,) = detect(path, [grey(480, 640)])
        assert found.boxes_xyxy[0].tolist() == [0, 0, 320, 240]

    def test_overlapping_ones_are_dropped_where_the_graph_leaves_it_to_us(self, tmp_path: Path) -> None:
        columns = np.zeros((84, CELLS), np.float32)
        columns[:5, 0], columns[:5, 1], columns[:5, 2] = (
            (40, 30, 20, 20, 0.6),
            (41, 30, 20, 20, 0.9),
            (80, 30, 9, 9, 0.5),
        )
        columns[:4, 3], columns[4 + 2, 3] = (41, 30, 20, 20), 0.8  # a car in the same place
        path = detector_file(tmp_path / "m.onnx", {"output0": columns})
        (found,) = detect(path, [grey(64, 96)], choice=Choice(keep=("person", "car")))
        assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.5])
        (found,) = detect(path, [grey(64, 96)], choice=Choice(max_overlap=1.0))
        assert found.scores.tolist() == pytest.approx([0.9, 0.6, 0.5])

    def test_faces_have_their_five_points_in_the_picture(self, tmp_path: Path) -> None:
        tables = yunet_tables()
        tables["cls_8"][14], tables["obj_8"][14] = 0.81, 1.0  # second row, third column of 12
        tables["kps_8"][14] = [0, 0, 1, 0, 0.5, 0.5, 0, 1, 1, 1]
        path = detector_file(tmp_path / "m.onnx", tables)
        (found,) = detect(path, [grey(128, 192)])
        assert found.scores.tolist() == pytest.approx([0.9])
        assert found.boxes_xyxy.tolist() == [[2 * 12, 2 * 4, 2 * 20, 2 * 12]]
        assert found.landmarks_xy is not None
        assert found.landmarks_xy[0].tolist() == [[32, 16], [48, 16], [40, 24], [32, 32], [48, 32]]


class TestPixels:
    """The first column of the answer's scores is a channel's mean, as the graph was fed it."""

    @pytest.mark.parametrize(
        ("family", "expected"),
        [
            ("yolov8", (200 / 255, 100 / 255, 50 / 255)),  # red first, 0..1
            ("yolox", (50.0, 100.0, 200.0)),  # blue first, 0..255
            ("yolox-legacy", ((200 / 255 - 0.485) / 0.229, (100 / 255 - 0.456) / 0.224, (50 / 255 - 0.406) / 0.225)),
            ("nanodet", ((50 - 103.53) / 57.375, (100 - 116.28) / 57.12, (200 - 123.675) / 58.395)),
        ],
    )
    def test_each_family_is_fed_as_it_was_trained(
        self, family: str, expected: tuple[float, float, float], tmp_path: Path
    ) -> None:
        image = grey(*SIZE_HW)
        image[:] = (50, 100, 200)  # blue, green, red
        shape = (84, CELLS) if family == "yolov8" else (CELLS, 112 if family == "nanodet" else 85)
        seen = [mean for channel in range(3) for mean in [self.fed(family, channel, shape, image, tmp_path)]]
        assert seen == pytest.approx(expected, rel=1e-4)

    def fed(self, family: str, channel: int, shape: tuple[int, int], image: Image, folder: Path) -> float:
        weights = np.zeros((3, *shape))
        weights[channel] = 1.0
        path = detector_file(folder / f"{channel}.onnx", {"output": np.zeros(shape, np.float32)}, by_colour=weights)
        seen: list[float] = []
        with open_detector(path, format=family) as detector:
            assert isinstance(detector, ModelDetector)
            run = detector.session.engine.run

            def recorded(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
                outputs = run(feeds)
                seen.append(float(outputs["output"].mean()))
                return outputs

            detector.session.engine.run = recorded  # type: ignore[method-assign]
            detector.detect([image])
        return seen[0]


class TestBatches:
    @pytest.mark.parametrize("batch", ["batch", 1, 3])
    @pytest.mark.parametrize("count", [0, 1, 2, 7])
    def test_every_picture_gets_its_own_answer_whatever_batch_the_file_insists_on(
        self, batch: int | str, count: int, tmp_path: Path
    ) -> None:
        tables = finished((10, 10, 20, 20, 0.5, 0))
        by_colour = np.zeros((3, 300, 6))
        by_colour[:, 0, 2] = 10.0  # brighter pictures have wider boxes: 30 pixels more for white
        path = detector_file(tmp_path / "m.onnx", tables, batch=batch, by_colour=by_colour)
        found = detect(path, [grey(64, 96, 255 * index // 7) for index in range(count)])
        widths = [float(one.boxes_xyxy[0, 2]) for one in found]
        assert widths == pytest.approx([20 + 30 * (255 * index // 7) / 255 for index in range(count)], abs=1e-3)

    def test_several_threads_may_ask_at_once(self, tmp_path: Path) -> None:
        path = detector_file(tmp_path / "m.onnx", finished((10, 10, 20, 20, 0.5, 0)))
        answers: list[int] = []
        with open_detector(path) as detector:
            asked = [
                threading.Thread(target=lambda: answers.append(len(detector.detect([grey(64, 96)] * 9)))) for _ in "abc"
            ]
            for thread in asked:
                thread.start()
            for thread in asked:
                thread.join()
        assert answers == [9, 9, 9]


class TestClasses:
    ROWS = finished((1, 1, 9, 9, 0.9, 0), (20, 1, 30, 9, 0.8, 2), (40, 1, 50, 9, 0.7, 79))

    @pytest.mark.parametrize(
        ("keep", "expected"),
        [(None, [0]), (("car",), [2]), (("person", "toothbrush"), [0, 79]), (("all",), [0, 2, 79])],
    )
    def test_only_those_asked_for_are_kept(
        self, keep: tuple[str, ...] | None, expected: list[int], tmp_path: Path
    ) -> None:
        path = detector_file(tmp_path / "m.onnx", self.ROWS)
        (found,) = detect(path, [grey(64, 96)], choice=Choice(keep=keep))
        assert found.classes.tolist() == expected

    @pytest.mark.parametrize("keep", [("persn",), ("person", "persn"), ()])
    def test_a_name_the_model_does_not_know_is_an_error(self, keep: tuple[str, ...], tmp_path: Path) -> None:
        path = detector_file(tmp_path / "m.onnx", self.ROWS)
        with pytest.raises(ConfigError, match=r"'persn'; its classes are person, bicycle|no class at all"):
            open_detector(path, choice=Choice(keep=keep))

    def test_a_model_of_unnamed_classes_needs_to_be_told_who_is_a_person(self, tmp_path: Path) -> None:
        columns = np.zeros((4 + 2, CELLS), np.float32)
        columns[:, 0] = (40, 30, 20, 20, 0.1, 0.9)
        path = detector_file(tmp_path / "m.onnx", {"output0": columns})
        with pytest.raises(ConfigError, match="does not know 'person' nor 'face'; its classes are 0, 1"):
            open_detector(path)
        (found,) = detect(path, [grey(64, 96)], choice=Choice(names=("bag", "person")))
        assert found.classes.tolist() == [1]

    def test_rf_detr_has_people_in_column_1(self, tmp_path: Path) -> None:
        labels, dets = np.full((300, 91), -9, np.float32), np.full((300, 4), 0.5, np.float32)
        labels[0, 1] = labels[1, 0] = labels[2, 2] = 3
        path = detector_file(tmp_path / "m.onnx", {"dets": dets, "labels": labels})
        (found,) = detect(path, [grey(64, 96)])
        assert found.classes.tolist() == [1]

    @pytest.mark.parametrize("choice", [Choice(min_score=1.5), Choice(max_overlap=-1), Choice(min_score=float("nan"))])
    def test_a_share_that_is_none_is_refused(self, choice: Choice, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="expected 0 to 1"):
            open_detector(detector_file(tmp_path / "m.onnx", self.ROWS), choice=choice)

    def test_a_higher_score_may_be_asked_for(self, tmp_path: Path) -> None:
        path = detector_file(
            tmp_path / "m.onnx", finished((1, 1, 9, 9, 0.3, 0), (1, 1, 9, 9, 0.15, 0), (1, 1, 9, 9, 0.05, 0))
        )
        assert len(detect(path, [grey(64, 96)])[0]) == 2  # low ones too: trackers make use of them
        assert len(detect(path, [grey(64, 96)], choice=Choice(min_score=0.2))[0]) == 1


class TestBadAnswers:
    def test_numbers_that_are_none_cost_their_boxes_and_one_warning(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        rows = ((1, 1, 9, 9, 0.9, 0), (np.nan, 1, 9, 9, 0.9, 0), (1, 1, np.inf, 9, 0.9, 0), (1, 1, 9, 9, np.nan, 0))
        path = detector_file(tmp_path / "m.onnx", finished(*rows))
        with caplog.at_level(logging.WARNING, logger="sightline"):
            found = detect(path, [grey(64, 96)] * 4)
        assert [one.boxes_xyxy.tolist() for one in found] == [[[1, 1, 9, 9]]] * 4
        assert len(caplog.records) == 1
        assert "NaN" in caplog.text

    @pytest.mark.filterwarnings("error")
    def test_a_box_too_large_for_a_number_is_dropped_in_silence(self, tmp_path: Path) -> None:
        rows = np.zeros((CELLS, 85), np.float32)
        rows[5, :6], rows[9, :6] = (0, 0, 1000, 0, 1, 1), (0, 0, 0, 0, 1, 1)
        (found,) = detect(detector_file(tmp_path / "m.onnx", {"output": rows}), [grey(64, 96)])
        assert found.boxes_xyxy.tolist() == [[68, 0, 76, 4]]  # the tenth cell, 8 pixels about its corner, cut off

    def test_a_picture_of_nobody_has_an_empty_answer(self, tmp_path: Path) -> None:
        (found,) = detect(detector_file(tmp_path / "m.onnx", finished()), [grey(64, 96)])
        assert found.boxes_xyxy.shape == (0, 4)

    @pytest.mark.parametrize("size_hw", [(1, 1), (1, 3000), (4320, 7680)])
    def test_pictures_of_any_size_are_looked_at(self, size_hw: tuple[int, int], tmp_path: Path) -> None:
        path = detector_file(tmp_path / "m.onnx", finished((0, 0, 96, 64, 0.9, 0)))
        (found,) = detect(path, [grey(*size_hw)])
        assert found.boxes_xyxy.tolist() == [[0, 0, size_hw[1], size_hw[0]]]


class TestOpening:
    def test_the_background_needs_no_file(self) -> None:
        with open_detector("background") as detector:
            assert isinstance(detector, BackgroundDetector)

    def test_a_file_of_boxes_is_replayed(self, tmp_path: Path) -> None:
        (tmp_path / "det.txt").write_text("1,-1,2,3,4,5,0.5\n")
        with open_detector(tmp_path / "det.txt") as detector:
            assert detector.detect([grey(64, 96)])[0].boxes_xyxy.tolist() == [[2, 3, 6, 8]]

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ModelNotFoundError, match=r"none\.onnx"):
            open_detector(tmp_path / "none.onnx")

    def test_a_backend_nobody_has_is_refused(self, tmp_path: Path) -> None:
        path = detector_file(tmp_path / "m.onnx", finished())
        with pytest.raises(BackendError, match="no backend 'abacus'"):
            open_detector(path, backend="abacus")

    def test_a_refused_model_is_closed_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from sightline.runtime.session import Session

        closed: list[str] = []
        close = Session.close
        monkeypatch.setattr(Session, "close", lambda self: (closed.append(self.path.name), close(self))[1])
        path = detector_file(tmp_path / "m.onnx", finished())
        with pytest.raises(ConfigError):
            open_detector(path, choice=Choice(keep=("unicorn",)))
        assert closed == ["m.onnx"]

    def test_after_closing_it_says_so(self, tmp_path: Path) -> None:
        detector = open_detector(detector_file(tmp_path / "m.onnx", finished()))
        detector.close()
        with pytest.raises(ValueError, match="was closed"):
            detector.detect([grey(64, 96)])


@pytest.fixture(scope="module")
def walkers(shared: Path) -> list[Image]:
    """Real frames, one of every two seconds in which somebody comes in, stands there and turns."""
    with open_recording(shared / "real/video/one_by_one.mp4") as frames:
        return [frame.image for frame in islice(frames, 181) if frame.index % 20 == 0]


class TestRealModels:
    def test_yolox_finds_the_person_where_the_picture_has_changed(self, walkers: list[Image], shared: Path) -> None:
        choice = Choice(min_score=0.5)
        with open_detector(shared / "real/models/yolox_nano.onnx", threads=1, choice=choice) as detector:
            found = detector.detect(walkers)
        assert [len(one) for one in found] == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]  # she is there from the 80th frame
        empty = walkers[0].astype(int)
        for image, one in zip(walkers[4:], found[4:], strict=True):
            left, top, right, bottom = one.boxes_xyxy[0].round().astype(int)
            changed = np.abs(image - empty).max(axis=2) > 60
            inside = changed[top:bottom, left:right].sum()
            assert inside > 0.9 * changed.sum()

    def test_batches_and_single_pictures_agree(self, walkers: list[Image], shared: Path) -> None:
        with open_detector(shared / "real/models/yolox_nano.onnx", threads=2) as detector:
            together = detector.detect(walkers[4:7])
            alone = [detector.detect([image])[0] for image in walkers[4:7]]
        for first, second in zip(together, alone, strict=True):
            assert np.allclose(first.boxes_xyxy, second.boxes_xyxy, atol=0.1)

    def test_opencvs_own_reader_of_yunet_finds_the_same_faces(self, shared: Path) -> None:
        path = shared / "real/models/yunet_s.onnx"
        wall = grey(640, 640, 90)
        for who in range(3):
            face = shoot_face(face_identity(who), camera(1), seed=3)
            wall[60 + 180 * who :, 150 * who + 40 :][: face.shape[0], : face.shape[1]] = face
        with open_detector(path, threads=1) as detector:
            (found,) = detector.detect([wall])
        _, rows = cv2.FaceDetectorYN.create(str(path), "", (640, 640), score_threshold=0.6).detect(wall)
        assert len(rows) == len(found) == 3
        rows = rows[np.argsort(-rows[:, 14])]
        assert np.allclose(found.boxes_xyxy, np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]]), atol=0.5)
        assert found.landmarks_xy is not None
        assert np.allclose(found.landmarks_xy.reshape(3, 10), rows[:, 4:14], atol=0.5)


def test_every_kind_of_detector_is_one(tmp_path: Path) -> None:
    path = detector_file(tmp_path / "m.onnx", finished())
    detectors: list[Detector] = [open_detector(path), open_detector("background")]
    for detector in detectors:
        assert detector.name
        assert detector.classes
        assert detector.detect([]) == []
        detector.close()
        detector.close()
