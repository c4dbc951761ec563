from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save
from tiny_detectors import (
    CELLS,
    CELLS_TO_64,
    SIZE_HW,
    Table,
    decoded_rows,
    detector_file,
    random_rows,
    yunet_tables,
)

from sightline.errors import ConfigError, ModelFormatError
from sightline.tracking.detector import Choice, ModelDetector, open_detector
from sightline.tracking.families import FAMILIES
from sightline.tracking.metadata import Statement, read_statement

ALL = Choice(keep=("all",))


def zeros(*shape: int) -> Table:
    return np.zeros(shape, np.float32)


def nanodet_rows(count: int) -> Table:
    rng = np.random.default_rng(2)
    return np.hstack([rng.uniform(0, 0.1, (count, 80)), rng.normal(0, 3, (count, 32))]).astype(np.float32)


ANSWERS: dict[str, dict[str, Table]] = {
    "yolox": {"output": random_rows(CELLS, classes=80)},
    "rf-detr": {"dets": zeros(300, 4), "labels": zeros(300, 91)},
    "yunet": yunet_tables(),
    "rfb": {"scores": zeros(4420, 2), "boxes": zeros(4420, 4)},
    "end-to-end": {"output0": zeros(300, 6)},
    "yolov8": {"output0": zeros(84, CELLS)},
    "yolov5": {"output0": zeros(3 * CELLS, 85)},
    "nanodet-plus": {"output": nanodet_rows(CELLS_TO_64)},
    "nanodet": {"output": nanodet_rows(CELLS)},
}
D_FINE: dict[str, Table] = {
    "labels": np.zeros(300, np.int64),  # type: ignore[dict-item]
    "boxes": zeros(300, 4),
    "scores": zeros(300),
}


def family_of(path: Path, **options: str) -> str:
    with open_detector(path, choice=ALL, **options) as detector:
        assert isinstance(detector, ModelDetector)
        return next(name for name, family in FAMILIES.items() if family is detector.family)


def refusal(path: Path, **options: str) -> str:
    with pytest.raises(ModelFormatError) as caught:
        open_detector(path, choice=ALL, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


class TestFromTheGraph:
    @pytest.mark.parametrize("name", ANSWERS)
    def test_each_family_is_known_by_its_answer(self, name: str, tmp_path: Path) -> None:
        assert family_of(detector_file(tmp_path / "model.onnx", ANSWERS[name])) == name

    @pytest.mark.parametrize("name", ANSWERS)
    def test_shapes_the_graph_leaves_open_are_seen_from_one_picture(self, name: str, tmp_path: Path) -> None:
        assert family_of(detector_file(tmp_path / "model.onnx", ANSWERS[name], open_shapes=True)) == name

    @pytest.mark.parametrize("name", ANSWERS)
    def test_a_fixed_batch_changes_nothing(self, name: str, tmp_path: Path) -> None:
        assert family_of(detector_file(tmp_path / "model.onnx", ANSWERS[name], batch=2)) == name

    def test_d_fine_and_rt_detr_ask_for_the_size(self, tmp_path: Path) -> None:
        assert family_of(detector_file(tmp_path / "model.onnx", D_FINE, wants_size=True)) == "d-fine"

    def test_six_numbers_a_cell_are_one_class_and_not_a_finished_answer(self, tmp_path: Path) -> None:
        path = detector_file(tmp_path / "model.onnx", {"output": random_rows(CELLS, classes=1)})
        assert family_of(path) == "yolox"
        path = detector_file(tmp_path / "model.onnx", {"output": zeros(3 * CELLS, 6)})
        assert family_of(path) == "yolov5"

    @pytest.mark.parametrize("extra", [2, 384])
    def test_yolov8_with_a_fourth_stride_is_still_one(self, extra: int, tmp_path: Path) -> None:
        path = detector_file(tmp_path / "model.onnx", {"output0": zeros(5, CELLS + extra)})
        assert family_of(path) == "yolov8"

    def test_a_model_without_a_size_is_shown_the_one_asked_for(self, tmp_path: Path) -> None:
        path = detector_file(tmp_path / "model.onnx", ANSWERS["yolox"], size_hw=("h", "w"))
        with open_detector(path, choice=Choice(size_hw=SIZE_HW)) as detector:
            assert isinstance(detector, ModelDetector)
            assert detector.family is FAMILIES["yolox"]

    def test_a_size_against_the_graph_is_an_error(self, tmp_path: Path) -> None:
        path = detector_file(tmp_path / "model.onnx", ANSWERS["yolox"])
        with pytest.raises(ConfigError, match="takes pictures of 64x96; got 32x32"):
            open_detector(path, choice=Choice(size_hw=(32, 32)))


class TestAmbiguity:
    def test_decoded_boxes_of_one_grid_may_be_two_things(self, tmp_path: Path) -> None:
        message = refusal(detector_file(tmp_path / "model.onnx", {"output": decoded_rows(classes=80)}))
        assert "yolox-decoded" in message
        assert "yolov5" in message
        assert "--detector-format" in message

    @pytest.mark.parametrize("name", ["yolox-decoded", "yolov5"])
    def test_which_of_them_it_is_can_be_said(self, name: str, tmp_path: Path) -> None:
        path = detector_file(tmp_path / "model.onnx", {"output": decoded_rows(classes=80)})
        assert family_of(path, format=name) == name

    def test_the_first_yolox_weights_are_only_known_by_name(self, tmp_path: Path) -> None:
        path = detector_file(tmp_path / "model.onnx", ANSWERS["yolox"])
        assert family_of(path, format="yolox-legacy") == "yolox-legacy"

    def test_the_shape_without_the_numbers_is_no_proof(self, tmp_path: Path) -> None:
        rows = ANSWERS["yolox"]["output"] * 7  # scores beyond 1
        assert "not their numbers" in refusal(detector_file(tmp_path / "model.onnx", {"output": rows}))

    def test_a_format_the_answer_does_not_have_is_refused(self, tmp_path: Path) -> None:
        path = detector_file(tmp_path / "model.onnx", ANSWERS["yolox"])
        assert "output [126, 85]; that is not yunet" in refusal(path, format="yunet")

    def test_a_format_the_numbers_speak_against_is_taken_with_a_warning(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = detector_file(tmp_path / "model.onnx", ANSWERS["yolox"])
        with caplog.at_level(logging.WARNING, logger="sightline"):
            assert family_of(path, format="yolox") == "yolox"
            assert not caplog.records
            assert family_of(path, format="yolov5") == "yolov5"
        assert "model.onnx is read as yolov5, as asked for" in caplog.text

    def test_a_format_nobody_has_is_refused_with_those_there_are(self, tmp_path: Path) -> None:
        path = detector_file(tmp_path / "model.onnx", ANSWERS["yolox"])
        with pytest.raises(ConfigError, match="no detector format 'yolo'; expected auto, yolox"):
            open_detector(path, format="yolo")


class TestNoDetector:
    @pytest.mark.parametrize(
        "tables",
        [
            {"features": zeros(512)},
            {"output": zeros(10, 7)},
            {"output": zeros(300, 84)},  # which boxes, and which scores?
            {"output0": zeros(116, CELLS), "output1": zeros(32, 16, 24)},  # with masks
            {"scores": zeros(50, 3), "boxes": zeros(50, 4)},
            {"labels": zeros(300), "boxes": zeros(300, 4), "scores": zeros(300)},  # without the size input
        ],
    )
    def test_another_answer_is_refused_with_what_it_was(self, tables: dict[str, Table], tmp_path: Path) -> None:
        message = refusal(detector_file(tmp_path / "other.onnx", tables))
        assert message.startswith("other.onnx answers ")
        assert "no detector known here: expected yolox" in message

    def test_a_model_that_takes_no_picture_is_refused(self, tmp_path: Path) -> None:
        spec = helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["n", 7])
        out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 7])
        graph = helper.make_graph([helper.make_node("Relu", ["tokens"], ["out"])], "g", [spec], [out])
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
        assert "takes one picture" in refusal(tmp_path / "m.onnx")

    @pytest.mark.parametrize("task", ["segment", "pose", "obb", "classify"])
    def test_a_file_that_says_it_does_something_else_is_believed(self, task: str, tmp_path: Path) -> None:
        path = detector_file(tmp_path / "m.onnx", ANSWERS["yolov8"], metadata={"task": task})
        assert f"its task is '{task}'; expected a detector" in refusal(path)


ULTRALYTICS = {
    "names": "{0: 'helmet', 1: 'head', 2: 'person'}",
    "task": "detect",
    "imgsz": "[64, 96]",
    "stride": "32",
    "license": "AGPL-3.0 License (https://ultralytics.com/license)",
}


class TestMetadata:
    def test_its_names_size_and_licence_are_taken_from_the_file(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        tables = {"output0": zeros(7, CELLS)}
        path = detector_file(tmp_path / "m.onnx", tables, size_hw=("h", "w"), metadata=ULTRALYTICS)
        with caplog.at_level(logging.WARNING, logger="sightline"), open_detector(path) as detector:
            detector.detect([np.zeros((*SIZE_HW, 3), np.uint8)] * 3)
            assert detector.classes == ("helmet", "head", "person")
        assert [record.getMessage() for record in caplog.records] == [
            "m.onnx states its licence: AGPL-3.0 License (https://ultralytics.com/license)"
        ]

    def test_a_file_that_states_nothing_is_not_spoken_of(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, logger="sightline"):
            family_of(detector_file(tmp_path / "m.onnx", ANSWERS["yolox"]))
        assert not caplog.records

    def test_what_it_says_is_read(self) -> None:
        assert read_statement(ULTRALYTICS) == Statement(
            "detect", ("helmet", "head", "person"), (64, 96), ULTRALYTICS["license"]
        )
        assert read_statement({"names": "['a', 'b']"}).names == ("a", "b")

    @pytest.mark.parametrize(
        "names",
        [
            "",
            "{",
            "{0: 'a', 2: 'b'}",
            "[1, 2]",
            "__import__('os').system('x')",
            "(" * 5000,
            "[" * 90_000,
            "'a'",
            "{[]: 1}",
        ],
    )
    def test_names_that_are_none_count_as_not_said(self, names: str) -> None:
        assert read_statement({"names": names}).names == ()

    @pytest.mark.parametrize("size", ["640", "[0, 5]", "[True, 5]", "[1, 2, 3]", "['a', 2]"])
    def test_a_size_that_is_none_counts_as_not_said(self, size: str) -> None:
        assert read_statement({"imgsz": size}).size_hw is None
