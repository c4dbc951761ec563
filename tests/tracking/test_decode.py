from __future__ import annotations

import math

import numpy as np
import pytest
from tiny_detectors import CELLS, CELLS_TO_64, SIZE_HW, random_rows

from sightline.tracking.class_names import COCO, COCO_91, class_names
from sightline.tracking.decode_boxes import (
    decode_d_fine,
    decode_end_to_end,
    decode_rf_detr,
    decode_rfb,
    decode_yolov5,
    decode_yolov8,
)
from sightline.tracking.decode_cells import cell_count, decode_nanodet, decode_nanodet_plus, decode_yolox
from sightline.types import Detections

Box = tuple[float, ...]


def places(size_hw: tuple[int, int], strides: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Column, row and stride of each cell."""
    return [
        (x, y, stride)
        for stride in strides
        for y in range(math.ceil(size_hw[0] / stride))
        for x in range(math.ceil(size_hw[1] / stride))
    ]


def assert_found(found: Detections, expected: list[tuple[Box, float, int]]) -> None:
    assert np.allclose(found.boxes_xyxy, np.array([box for box, _, _ in expected]).reshape(-1, 4), rtol=1e-4, atol=1e-3)
    assert np.allclose(found.scores, [score for _, score, _ in expected], atol=1e-6)
    assert found.classes.tolist() == [number for _, _, number in expected]


def test_yolox_is_what_a_loop_over_its_cells_gives() -> None:
    rows = random_rows(CELLS, classes=3)
    expected = []
    for (x, y, stride), row in zip(places(SIZE_HW, (8, 16, 32)), rows.astype(float), strict=True):
        dx, dy, log_width, log_height, thing, *classes = row.tolist()
        cx, cy, width, height = (dx + x) * stride, (dy + y) * stride, math.exp(log_width), math.exp(log_height)
        score, half_w, half_h = thing * max(classes), width * stride / 2, height * stride / 2
        if score >= 0.3:
            box = (cx - half_w, cy - half_h, cx + half_w, cy + half_h)
            expected.append((box, score, classes.index(max(classes))))
    assert len(expected) > 10
    assert_found(decode_yolox({"output": rows}, SIZE_HW, 0.3), expected)


@pytest.mark.parametrize(
    ("decode", "strides", "corner"), [(decode_nanodet_plus, (8, 16, 32, 64), 0.0), (decode_nanodet, (8, 16, 32), 0.5)]
)
def test_nanodet_is_the_mean_of_its_distributions(decode: type, strides: tuple[int, ...], corner: float) -> None:
    rng = np.random.default_rng(1)
    where = places(SIZE_HW, strides)
    rows = np.hstack([rng.uniform(0, 1, (len(where), 2)), rng.normal(0, 3, (len(where), 32))]).astype(np.float32)
    expected = []
    for (x, y, stride), row in zip(where, rows.astype(float).tolist(), strict=True):
        away = []
        for side in range(4):
            chances = [math.exp(value) for value in row[2 + 8 * side : 10 + 8 * side]]
            away.append(stride * sum(number * chance for number, chance in enumerate(chances)) / sum(chances))
        cx, cy = (x + corner) * stride, (y + corner) * stride
        if max(row[:2]) >= 0.7:
            box = (cx - away[0], cy - away[1], cx + away[2], cy + away[3])
            expected.append((box, max(row[:2]), row.index(max(row[:2]))))
    assert len(expected) > 10
    assert_found(decode({"output": rows}, SIZE_HW, 0.7), expected)


def test_a_size_no_stride_divides_has_a_cell_for_the_rest() -> None:
    assert cell_count((416, 416), (8, 16, 32)) == 3549
    assert cell_count((320, 320), (8, 16, 32, 64)) == 2125
    assert cell_count((64, 96), (8, 16, 32, 64)) == CELLS_TO_64
    assert cell_count((33, 32), (32,)) == 2


def test_yolov8_has_a_column_for_each_box() -> None:
    columns = np.zeros((4 + 3, CELLS), np.float32)
    columns[:, 5] = (40, 30, 20, 10, 0.1, 0.2, 0.9)
    columns[:, 100] = (10, 10, 4, 8, 0.3, 0.1, 0.1)
    found = decode_yolov8({"output0": columns}, SIZE_HW, 0.25)
    assert_found(found, [((30, 25, 50, 35), 0.9, 2), ((8, 6, 12, 14), 0.3, 0)])


def test_yolov5_multiplies_the_object_and_its_class() -> None:
    rows = np.zeros((3 * CELLS, 5 + 2), np.float32)
    rows[7] = (40, 30, 20, 10, 0.5, 0.2, 0.8)
    rows[9] = (40, 30, 20, 10, 0.2, 1.0, 0.8)
    assert_found(decode_yolov5({"output": rows}, SIZE_HW, 0.3), [((30, 25, 50, 35), 0.4, 1)])


def test_end_to_end_rows_are_boxes_already_and_zeros_are_nobody() -> None:
    rows = np.zeros((300, 6), np.float32)
    rows[0] = (3, 4, 50, 60, 0.8, 16)
    rows[1] = (3, 4, 50, 60, 0.8, np.nan)
    assert_found(decode_end_to_end({"output0": rows}, SIZE_HW, 0.25), [((3, 4, 50, 60), 0.8, 16)])


def test_d_fine_gives_labels_boxes_and_scores() -> None:
    outputs = {
        "labels": np.array([0, 56], np.int64),
        "boxes": np.array([[1, 2, 30, 40], [0, 0, 5, 5]], np.float32),
        "scores": np.array([0.7, 0.05], np.float32),
    }
    assert_found(decode_d_fine(outputs, SIZE_HW, 0.1), [((1, 2, 30, 40), 0.7, 0)])


def test_rf_detr_gives_shares_and_logits() -> None:
    labels = np.full((300, 91), -9.0, np.float32)
    labels[4, 1] = math.log(3)  # a chance of 3 in 4
    dets = np.zeros((300, 4), np.float32)
    dets[4] = (0.5, 0.25, 0.5, 0.25)
    found = decode_rf_detr({"dets": dets, "labels": labels}, (200, 400), 0.5)
    assert_found(found, [((100, 25, 300, 75), 0.75, 1)])


@pytest.mark.filterwarnings("ignore:overflow")
def test_logits_beyond_the_reach_of_exp_are_scores_still() -> None:
    labels = np.array([[-5e4, 5e4], [-5e4, -5e4]], np.float32)
    found = decode_rf_detr({"dets": np.full((2, 4), 0.5, np.float32), "labels": labels}, (8, 8), 0.5)
    assert found.scores.tolist() == [1.0]


def test_rfb_gives_corners_as_shares() -> None:
    outputs = {
        "scores": np.array([[0.1, 0.9], [0.8, 0.2]], np.float32),
        "boxes": np.array([[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1]], np.float32),
    }
    assert_found(decode_rfb(outputs, (100, 200), 0.6), [((20, 20, 100, 60), 0.9, 0)])


@pytest.mark.filterwarnings("ignore:overflow")
def test_sizes_beyond_the_reach_of_exp_are_infinite_and_left_to_be_dropped() -> None:
    rows = random_rows(CELLS, classes=1)
    rows[3] = (0, 0, 1000, 1000, 1, 1)
    rows[4] = np.nan
    found = decode_yolox({"output": rows}, SIZE_HW, 0.99)
    assert np.isinf(found.boxes_xyxy[:, 2]).any()


class TestNames:
    def test_people_are_first_in_80_classes_and_second_in_91(self) -> None:
        assert class_names(80).index("person") == 0
        assert class_names(91).index("person") == 1

    def test_coco_91_ends_with_the_numbers_it_is_known_for(self) -> None:
        known = {3: "car", 13: "stop sign", 27: "backpack", 44: "bottle", 67: "dining table", 90: "toothbrush"}
        assert {number: COCO_91[number] for number in known} == known
        assert [name for name in COCO_91 if name] == list(COCO)

    def test_classes_nobody_named_are_called_by_their_number(self) -> None:
        assert class_names(3) == ("0", "1", "2")
