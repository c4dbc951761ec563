from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.tracking.nms import MAX_DETECTIONS, best_apart, sound
from sightline.types import Detections


def detections(boxes: list[tuple[float, ...]], scores: list[float], classes: list[int] | None = None) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.array(scores, np.float32),
        np.array(classes or [0] * count, np.int64),
    )


def random_detections(seed: int, *, count: int) -> Detections:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-60, 200, (count, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 120, (count, 2))])
    return Detections(
        boxes.astype(np.float32), rng.permutation(count).astype(np.float32) / count, rng.integers(0, 3, count)
    )


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(0.0, float(width)) * max(0.0, float(height))
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (a, b)]
    return common / (sum(areas) - common)


def kept_by_loop(found: Detections, limit: float) -> list[int]:
    boxes, kept = found.boxes_xyxy.astype(np.float64), list[int]()
    for row in sorted(range(len(found)), key=lambda index: -found.scores[index]):
        rivals = [other for other in kept if found.classes[other] == found.classes[row]]
        if all(overlap(boxes[row], boxes[other]) <= limit for other in rivals):
            kept.append(row)
    return kept


@given(seed=st.integers(0, 10_000), count=st.integers(0, 60), limit=st.sampled_from([0.2, 0.45, 0.65]))
@settings(max_examples=60, deadline=None)
def test_it_keeps_what_a_slow_loop_keeps_in_the_same_order(seed: int, count: int, limit: float) -> None:
    found = random_detections(seed, count=count)
    assert np.array_equal(best_apart(found, limit).boxes_xyxy, found.boxes_xyxy[kept_by_loop(found, limit)])


def test_boxes_of_different_classes_do_not_drop_each_other_not_even_left_of_the_picture() -> None:
    box = (-400.0, -300.0, 10.0, 10.0)
    assert len(best_apart(detections([box] * 3, [0.9, 0.8, 0.7], [0, 1, 2]), 0.5)) == 3
    assert len(best_apart(detections([box] * 3, [0.9, 0.8, 0.7], [0, 0, 2]), 0.5)) == 2


def test_equal_scores_are_settled_by_order() -> None:
    found = best_apart(detections([(0, 0, 10, 10), (0, 0, 10, 11)], [0.0, 0.0]), 0.5)
    assert found.boxes_xyxy.tolist() == [[0, 0, 10, 10]]


def test_nothing_is_dropped_where_the_graph_has_done_it() -> None:
    assert best_apart(detections([(0, 0, 9, 9)] * 3, [0.1, 0.3, 0.2]), 1.0).scores.tolist() == pytest.approx(
        [0.3, 0.2, 0.1]
    )


def test_thousands_of_boxes_become_the_best_few_hundred() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 1e5, (8000, 2))
    found = Detections(
        np.hstack([corners, corners + 3]).astype(np.float32),
        rng.uniform(0, 1, 8000).astype(np.float32),
        np.zeros(8000, int),
    )
    best = best_apart(found, 0.6)
    assert len(best) == MAX_DETECTIONS
    assert best.scores.min() >= np.sort(found.scores)[-2 * MAX_DETECTIONS]


@pytest.mark.parametrize(
    "box", [(np.nan, 0, 5, 5), (0, 0, np.inf, 5), (5, 5, 5, 9), (9, 9, 3, 20), (0, 0, 1e30, 5), (-np.inf, 0, 1, 1)]
)
def test_a_box_that_is_none_is_dropped_alone(box: tuple[float, ...]) -> None:
    found = sound(detections([(1, 1, 4, 4), box, (2, 2, 8, 8)], [0.5, 0.9, 0.4]))
    assert found.boxes_xyxy.tolist() == [[1, 1, 4, 4], [2, 2, 8, 8]]


def test_a_score_that_is_no_number_is_dropped() -> None:
    assert sound(detections([(1, 1, 4, 4), (1, 1, 4, 4)], [np.nan, 0.2])).scores.tolist() == pytest.approx([0.2])
