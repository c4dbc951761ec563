"""Our tracker on the boxes of the MOTChallenge's samples, their ids taken away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sightline.tracking.evaluation import Evaluation, evaluate
from sightline.tracking.mot_files import MotRows, mot_rows, read_mot
from sightline.tracking.tracker import AppearanceTracker
from sightline.types import Detections


def tracked(boxes: MotRows, frames: int) -> MotRows:
    tracker, found = AppearanceTracker(), []
    for frame in range(1, frames + 1):
        here = boxes.boxes_xyxy[boxes.frames == frame].astype(np.float32)
        count = len(here)
        seen = Detections(here, np.full(count, 0.9, np.float32), np.zeros(count, np.int64))
        answer = tracker.update(seen, frame=frame, time_s=frame / 25)
        found += [(frame, track, *box) for track, box in zip(answer.ids, answer.detections.boxes_xyxy, strict=True)]
    table = np.array(found, float)
    return mot_rows(table[:, 0].astype(int), table[:, 1].astype(int), table[:, 2:])


@pytest.mark.parametrize("clip", ["TUD-Campus", "TUD-Stadtmitte"])
def test_we_switch_no_more_ids_than_the_tracker_these_boxes_come_from(shared: Path, clip: str) -> None:
    folder = shared / "real/mot/py-motmetrics" / clip
    truth, theirs = read_mot(folder / "gt.txt"), read_mot(folder / "test.txt")
    ours: Evaluation = evaluate(truth, tracked(theirs, int(truth.frames.max())))
    assert ours.clear.switches <= evaluate(truth, theirs).clear.switches
    assert ours.clear.mota >= evaluate(truth, theirs).clear.mota - 0.01
