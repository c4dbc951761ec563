"""Scores of tracks, against slow loops written from the papers, published figures, and the official evaluation."""

from __future__ import annotations

import sys
from itertools import permutations
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mot_clips import rows, tracked, walkers

from sightline.errors import BackendError
from sightline.tracking.evaluation import Evaluation, evaluate
from sightline.tracking.mot_files import MotRows, mot_rows, read_mot

REAL = Path(__file__).resolve().parents[3] / "shared/real/mot/py-motmetrics"
seeds = st.integers(0, 2**32 - 1)
NOTHING = rows()


def clip(seed: int, *, frames: int = 8, people: int = 4) -> tuple[MotRows, MotRows]:
    rng = np.random.default_rng(seed)
    truth = walkers(rng, frames=frames, people=people)
    return truth, tracked(rng, truth)


def renamed(clip: MotRows, names: dict[int, int]) -> MotRows:
    return mot_rows(clip.frames, np.array([names.get(one, one) for one in clip.ids.tolist()]), clip.boxes_xyxy)


# Slow loops, written from the papers


def slow_iou(one: Any, other: Any) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    tall = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0 or tall <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(wide * tall / (areas[0] + areas[1] - wide * tall))


def by_frame(clip: MotRows) -> dict[int, dict[int, Any]]:
    found: dict[int, dict[int, Any]] = {}
    for frame, who, box in zip(clip.frames.tolist(), clip.ids.tolist(), clip.boxes_xyxy.tolist(), strict=True):
        found.setdefault(frame, {})[who] = box
    return found


def pairings(ours: list[int], theirs: list[int]) -> Any:
    """Every one-to-one pairing that leaves nobody of the shorter side alone."""
    if len(ours) <= len(theirs):
        return ([*zip(ours, order, strict=True)] for order in permutations(theirs, len(ours)))
    return ([*zip(order, theirs, strict=True)] for order in permutations(ours, len(theirs)))


def best_pairing(ours: list[int], theirs: list[int], worth: Any) -> list[tuple[int, int]]:
    best = max(pairings(ours, theirs), key=lambda pairs: sum(worth(*pair) for pair in pairs))
    return [pair for pair in best if worth(*pair) > 0]


def slow_clear(truth: MotRows, found: MotRows) -> dict[str, float]:
    there, seen = by_frame(truth), by_frame(found)
    counts = dict.fromkeys(("TP", "FP", "FN", "IDSW", "Frag"), 0)
    last: dict[int, int] = {}
    before: dict[int, int] = {}
    followed = dict.fromkeys(truth.ids.tolist(), 0)
    ever: set[int] = set()
    for frame in sorted(there.keys() | seen.keys()):
        ours, theirs = there.get(frame, {}), seen.get(frame, {})
        if not (ours and theirs):  # passed over, as by the official evaluation
            counts["FN"] += len(ours)
            counts["FP"] += len(theirs)
            continue
        pairs = {
            who: id
            for who, id in before.items()
            if who in ours and id in theirs and slow_iou(ours[who], theirs[id]) >= 0.5
        }
        free = [[one for one in ours if one not in pairs], [one for one in theirs if one not in pairs.values()]]

        def worth(who: int, id: int, ours: Any = ours, theirs: Any = theirs) -> float:
            overlap = slow_iou(ours[who], theirs[id])
            return overlap if overlap >= 0.5 else 0.0

        pairs |= dict(best_pairing(*free, worth))
        for who, id in pairs.items():
            counts["IDSW"] += last.get(who, id) != id
            counts["Frag"] += who in ever and who not in before
            followed[who] += 1
        last |= pairs
        ever |= pairs.keys()
        before = pairs
        counts["TP"] += len(pairs)
        counts["FN"] += len(ours) - len(pairs)
        counts["FP"] += len(theirs) - len(pairs)
    shares = [followed[who] / np.sum(truth.ids == who) for who in followed]
    mostly, lost = sum(share > 0.8 for share in shares), sum(share < 0.2 for share in shares)
    return {**counts, "MT": mostly, "ML": lost, "PT": len(shares) - mostly - lost}


def slow_idtp(truth: MotRows, found: MotRows) -> int:
    """The most boxes that any naming of the true tracks by found ones gets right."""
    there, seen = by_frame(truth), by_frame(found)
    shared: dict[tuple[int, int], int] = {}
    for frame in there.keys() & seen.keys():
        for who, box in there[frame].items():
            for id, other in seen[frame].items():
                shared[who, id] = shared.get((who, id), 0) + (slow_iou(box, other) >= 0.5)
    answers = {frozenset(): 0}
    for who in sorted(set(truth.ids.tolist())):  # by which of the found tracks are taken
        further = dict(answers)
        for taken, total in answers.items():
            for id in set(found.ids.tolist()) - taken:
                key = taken | {id}
                further[key] = max(further.get(key, 0), total + shared.get((who, id), 0))
        answers = further
    return max(answers.values())


def slow_hota(truth: MotRows, found: MotRows) -> dict[str, float]:
    there, seen = by_frame(truth), by_frame(found)
    size = {("t", who): int(np.sum(truth.ids == who)) for who in truth.ids.tolist()}
    size |= {("f", id): int(np.sum(found.ids == id)) for id in found.ids.tolist()}
    soft: dict[tuple[int, int], float] = {}
    for frame in there.keys() & seen.keys():
        ours, theirs = there[frame], seen[frame]
        for who, box in ours.items():
            for id, other in theirs.items():
                overlap = slow_iou(box, other)
                all_of = sum(slow_iou(box, one) for one in theirs.values()) + sum(
                    slow_iou(one, other) for one in ours.values()
                )
                soft[who, id] = soft.get((who, id), 0.0) + (overlap / (all_of - overlap) if overlap else 0.0)
    matches = []
    for frame in there.keys() & seen.keys():
        ours, theirs = there[frame], seen[frame]

        def worth(who: int, id: int, ours: Any = ours, theirs: Any = theirs) -> float:
            alike = soft[who, id] / (size["t", who] + size["f", id] - soft[who, id])
            return alike * slow_iou(ours[who], theirs[id])

        matches += [(who, id, slow_iou(ours[who], theirs[id])) for who, id in best_pairing([*ours], [*theirs], worth)]
    scores = [_slow_alpha(matches, size, len(truth), len(found), step * 0.05) for step in range(1, 20)]
    return dict(zip(("HOTA", "DetA", "AssA", "LocA"), np.mean(scores, axis=0).tolist(), strict=True))


def _slow_alpha(matches: Any, size: Any, truths: int, founds: int, alpha: float) -> tuple[float, float, float, float]:
    good = [match for match in matches if match[2] >= alpha - 1e-15]
    if not good:
        return 0.0, 0.0, 0.0, 1.0
    det = len(good) / (truths + founds - len(good))
    ass = 0.0
    for who, id, _ in good:
        tpa = sum(other[:2] == (who, id) for other in good)
        ass += tpa / (size["t", who] + size["f", id] - tpa)
    ass /= len(good)
    return float(np.sqrt(det * ass)), det, ass, float(np.mean([overlap for *_, overlap in good]))


class TestAgainstSlowLoops:
    @given(seeds)
    @settings(max_examples=40, deadline=None)
    def test_clear(self, seed: int) -> None:
        truth, found = clip(seed)
        got, expected = evaluate(truth, found), slow_clear(truth, found)
        figures = {**got.figures(), "TP": got.clear.tp}
        assert {name: figures[name] for name in expected} == expected
        wrong = expected["FP"] + expected["FN"] + expected["IDSW"]
        assert got.clear.mota == pytest.approx(1 - wrong / len(truth))

    @given(seeds)
    @settings(max_examples=30, deadline=None)
    def test_identity(self, seed: int) -> None:
        truth, found = clip(seed, people=3)
        named = slow_idtp(truth, found)
        got = evaluate(truth, found).identity
        assert (got.tp, got.fp, got.fn) == (named, len(found) - named, len(truth) - named)
        assert got.f1 == pytest.approx(2 * named / (len(truth) + len(found)))

    @given(seeds)
    @settings(max_examples=30, deadline=None)
    def test_hota(self, seed: int) -> None:
        truth, found = clip(seed)
        figures, expected = evaluate(truth, found).figures(), slow_hota(truth, found)
        assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-12)


class TestByHand:
    def test_one_switch_and_one_miss(self) -> None:
        """Five boxes; the third is missed, and from the fourth on another id follows."""
        truth = rows(*((frame, 1, 0, 0, 10, 10) for frame in range(1, 6)))
        found = rows(*((frame, 7 if frame < 3 else 8, 0, 0, 10, 10) for frame in (1, 2, 4, 5)), (3, 9, 50, 0, 60, 10))
        figures = evaluate(truth, found).figures()
        assert (figures["FN"], figures["FP"], figures["IDSW"], figures["Frag"]) == (1, 1, 1, 1)
        assert figures["MOTA"] == pytest.approx(1 - 3 / 5) and figures["MOTP"] == 1.0
        assert (figures["MT"], figures["PT"], figures["ML"]) == (0, 1, 0)  # 80 % is not more than 80 %
        assert figures["IDF1"] == pytest.approx(2 * 2 / 10)
        assert figures["DetA"] == pytest.approx(4 / 6)
        assert figures["AssA"] == pytest.approx(2 / 5)  # two ids, each sharing 2 of 5 boxes
        assert figures["HOTA"] == pytest.approx((4 / 6 * 2 / 5) ** 0.5)

    def test_whoever_were_together_stay_together_though_another_box_fits_better(self) -> None:
        truth = rows((1, 1, 0, 0, 10, 10), (2, 1, 0, 0, 10, 10))
        found = rows((1, 5, 0, 0, 10, 10), (2, 5, 0, 0, 10, 6), (2, 6, 0, 0, 10, 10))
        assert evaluate(truth, found).clear.switches == 0

    def test_a_box_is_found_from_the_very_threshold_on(self) -> None:
        truth, found = rows((1, 1, 0, 0, 10, 10)), rows((1, 1, 0, 0, 10, 5))
        assert evaluate(truth, found).clear.tp == 1
        assert evaluate(truth, found, enough=0.51).clear.tp == 0
        assert evaluate(truth, found).hota.det_a == pytest.approx(10 / 19)  # at .05 to .50 of .05 to .95

    def test_boxes_marked_as_not_scored_are_not(self) -> None:
        truth = rows((1, 1, 0, 0, 10, 10), (2, 1, 0, 0, 10, 10), confidences=[1, 0])
        assert evaluate(truth, rows((1, 4, 0, 0, 10, 10))).clear.fn == 0

    @pytest.mark.parametrize(
        ("kind", "misses", "false"), [(1, 0, 0), (2, 0, 0), (7, 0, 0), (8, 0, 0), (12, 0, 0), (3, 0, 1)]
    )
    def test_whoever_follows_a_distractor_is_not_punished_but_who_follows_a_car_is(
        self, kind: int, misses: int, false: int
    ) -> None:
        truth = rows((1, 1, 0, 0, 10, 10), (1, 2, 50, 0, 60, 10), classes=[1, kind])
        found = rows((1, 4, 0, 0, 10, 10), (1, 5, 50, 0, 60, 10))
        got = evaluate(truth, found).clear
        assert (got.fn, got.fp) == (misses, false)

    def test_boxes_without_area_meet_nothing(self) -> None:
        flat = rows((1, 1, 5, 5, 5, 9))
        assert evaluate(flat, flat).clear.tp == 0


class TestProperties:
    @given(seeds)
    @settings(max_examples=25, deadline=None)
    def test_perfect_tracks_score_one(self, seed: int) -> None:
        truth, _ = clip(seed)
        figures = evaluate(truth, truth).figures()
        assert [figures[name] for name in ("HOTA", "DetA", "AssA", "LocA", "IDF1", "MOTA", "MOTP")] == pytest.approx(
            [1] * 7
        )
        assert figures["IDSW"] == figures["FP"] == figures["FN"] == 0

    @given(seeds)
    @settings(max_examples=25, deadline=None)
    def test_other_names_for_the_same_tracks_change_nothing(self, seed: int) -> None:
        truth, found = clip(seed)
        names = sorted(set(found.ids.tolist()))
        shuffled = np.random.default_rng(seed).permutation(names).tolist()
        again = renamed(found, dict(zip(names, shuffled, strict=True)))
        assert evaluate(truth, again).figures() == pytest.approx(evaluate(truth, found).figures())

    @given(seeds, st.integers(2, 6))
    @settings(max_examples=25, deadline=None)
    def test_two_tracks_that_swap_ids_once_cost_two_switches(self, seed: int, frame: int) -> None:
        rng = np.random.default_rng(seed)
        truth = mot_rows(*apart(rng, frames=7, people=3))
        ids = truth.ids.copy()
        later = truth.frames >= frame
        ids[later & (truth.ids == 0)], ids[later & (truth.ids == 1)] = 1, 0
        got = evaluate(truth, mot_rows(truth.frames, ids, truth.boxes_xyxy))
        assert (got.clear.switches, got.clear.fp, got.clear.fn) == (2, 0, 0)
        assert got.hota.det_a == pytest.approx(1) and got.hota.ass_a < 1 and got.identity.f1 < 1

    def test_the_order_of_rows_does_not_matter(self) -> None:
        truth, found = clip(5)
        order = np.random.default_rng(0).permutation(len(found))
        again = mot_rows(found.frames[order], found.ids[order], found.boxes_xyxy[order])
        assert evaluate(truth, again).figures() == evaluate(truth, found).figures()

    def test_nothing_found_is_all_missed(self) -> None:
        truth, _ = clip(1)
        figures = evaluate(truth, NOTHING).figures()
        assert (figures["FN"], figures["FP"], figures["ML"]) == (len(truth), 0, figures["tracks"])
        assert [figures[name] for name in ("HOTA", "IDF1", "MOTA")] == [0, 0, 0]

    def test_nothing_there_is_all_made_up(self) -> None:
        _, found = clip(1)
        figures = evaluate(NOTHING, found).figures()
        assert (figures["FN"], figures["FP"], figures["HOTA"]) == (0, len(found), 0)

    def test_nothing_against_nothing_is_nothing(self) -> None:
        figures = evaluate(NOTHING, NOTHING).figures()
        assert figures.pop("LocA") == 1.0 and set(figures.values()) == {0}

    def test_the_sum_of_two_clips_is_one_clip_with_both(self) -> None:
        (truth, found), (other_truth, other_found) = clip(3), clip(4)
        joined = [
            mot_rows(
                np.concatenate([one.frames, other.frames + 100]),
                np.concatenate([one.ids, other.ids + 1000]),
                np.vstack([one.boxes_xyxy, other.boxes_xyxy]),
            )
            for one, other in ((truth, other_truth), (found, other_found))
        ]
        total = evaluate(truth, found) + evaluate(other_truth, other_found)
        assert total.figures() == pytest.approx(evaluate(*joined).figures())
        assert (Evaluation() + total).figures() == total.figures()


def apart(rng: np.random.Generator, *, frames: int, people: int) -> tuple[Any, Any, Any]:
    """Frames, ids and boxes of people who never meet."""
    left = np.tile(np.arange(people) * 100.0, frames) + rng.uniform(0, 20, frames * people)
    boxes = np.stack([left, np.zeros_like(left), left + 30, np.full_like(left, 60)], axis=1)
    return np.repeat(np.arange(1, frames + 1), people), np.tile(np.arange(people), frames), boxes


# Per cent, but for counts; from the public samples of py-motmetrics, scored by the official evaluation.
GOLDENS = MappingProxyType(
    {
        "TUD-Campus": (
            {"MOTA": 52.646, "HOTA": 39.140, "IDF1": 55.766, "AssA": 36.912, "DetA": 41.805, "LocA": 77.005}
            | {"IDP": 72.973, "IDR": 45.125},
            {"IDSW": 7, "FP": 13, "FN": 150, "MT": 1, "PT": 6, "ML": 1, "Frag": 7}
            | {"frames": 71, "tracks": 8, "boxes": 359, "found_boxes": 222},
        ),
        "TUD-Stadtmitte": (
            {"MOTA": 56.401, "HOTA": 39.785, "IDF1": 64.462, "AssA": 40.884, "DetA": 39.227, "LocA": 73.752}
            | {"IDP": 81.976, "IDR": 53.114},
            {"IDSW": 7, "FP": 45, "FN": 452, "MT": 5, "PT": 4, "ML": 1, "Frag": 6}
            | {"frames": 179, "tracks": 10, "boxes": 1156, "found_boxes": 749},
        ),
        "combined": (
            {"MOTA": 55.512, "HOTA": 39.996, "IDF1": 62.430, "AssA": 41.245, "DetA": 39.768, "LocA": 73.248}
            | {"IDP": 79.918, "IDR": 51.221},
            {"IDSW": 14, "FP": 58, "FN": 602, "MT": 6, "PT": 10, "ML": 2, "Frag": 13}
            | {"frames": 250, "tracks": 18, "boxes": 1515, "found_boxes": 971},
        ),
    }
)


@pytest.mark.skipif(not REAL.is_dir(), reason="the TUD samples are not here")
@pytest.mark.parametrize("name", GOLDENS)
def test_the_published_figures_of_the_tud_samples(name: str) -> None:
    clips = ("TUD-Campus", "TUD-Stadtmitte") if name == "combined" else (name,)
    scores = (evaluate(read_mot(REAL / one / "gt.txt"), read_mot(REAL / one / "test.txt")) for one in clips)
    figures = sum(scores, Evaluation()).figures()
    rates, counts = GOLDENS[name]
    assert {key: round(100 * figures[key], 3) for key in rates} == rates
    assert {key: figures[key] for key in counts} == counts


class TestAgainstTheOfficialEvaluation:
    @pytest.mark.parametrize("seed", range(12))
    def test_every_figure(self, seed: int) -> None:
        metrics = pytest.importorskip("trackeval.metrics", reason="trackeval is not installed (it needs --no-deps)")
        truth, found = clip(seed, frames=30, people=9)
        emptied = np.isin(found.frames, (4, 5, 20))  # frames without any box are where implementations part
        found = found.take(~emptied)
        data = as_official(truth, found)
        expected = {
            **metrics.CLEAR({"PRINT_CONFIG": False}).eval_sequence(data),
            **metrics.Identity({"PRINT_CONFIG": False}).eval_sequence(data),
        }
        alphas = metrics.HOTA().eval_sequence(data)
        expected |= {name: np.mean(alphas[name]) for name in ("HOTA", "DetA", "AssA", "LocA")}
        expected |= {"FP": expected["CLR_FP"], "FN": expected["CLR_FN"]}
        figures = evaluate(truth, found).figures()
        shared = figures.keys() & expected.keys()
        assert len(shared) == 16
        assert {name: figures[name] for name in shared} == pytest.approx({name: expected[name] for name in shared})


def as_official(truth: MotRows, found: MotRows) -> dict[str, Any]:
    there, seen = by_frame(truth), by_frame(found)
    frames = range(1, 1 + int(max(truth.frames.max(), found.frames.max())))
    names = [sorted(set(clip.ids.tolist())) for clip in (truth, found)]
    return {
        "num_timesteps": len(frames),
        "num_gt_dets": len(truth),
        "num_tracker_dets": len(found),
        "num_gt_ids": len(names[0]),
        "num_tracker_ids": len(names[1]),
        "gt_ids": [np.array([names[0].index(who) for who in there.get(frame, {})], int) for frame in frames],
        "tracker_ids": [np.array([names[1].index(who) for who in seen.get(frame, {})], int) for frame in frames],
        "similarity_scores": [
            np.array([[slow_iou(a, b) for b in seen.get(f, {}).values()] for a in there.get(f, {}).values()]).reshape(
                len(there.get(f, {})), len(seen.get(f, {}))
            )
            for f in frames
        ],
    }


def test_without_scipy_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(BackendError, match=r"sightline\[tracking\]") as caught:
        evaluate(*clip(0))
    assert "\n" not in str(caught.value)
