"""The five outcomes and their rates: by hand, and on the labels the published figures were counted on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sightline.ball.metrics import Counts, Score, frames_of_rally, outcome, read_rally_frames, score
from sightline.ball.trajectory import read_trajectory
from sightline.errors import ConfigError
from sightline.types import BallPoint

LABELS = Path(__file__).resolve().parents[3] / "shared/real/ball/corrected_test_label"
HD = (720, 1280)  # two and a half times what the network sees, on both axes
needs_labels = pytest.mark.skipif(not LABELS.is_dir(), reason="the labels of the test set are not here")


def at(x: float, y: float, frame: int = 0) -> BallPoint:
    return BallPoint(frame, True, x, y)


NONE = BallPoint(0, False)


class TestOutcomes:
    @pytest.mark.parametrize(
        ("label", "found", "expected"),
        [
            (at(600, 300), at(600, 300), "tp"),
            (at(600, 300), at(610, 300), "tp"),  # 10 / 2.5 = 4 pixels: the tolerance is inclusive
            (at(600, 300), at(610.1, 300), "fp1"),
            (at(600, 300), at(606, 308), "tp"),  # 6, 8, 10
            (at(600, 300), at(608, 308), "fp1"),
            (NONE, at(600, 300), "fp2"),
            (at(600, 300), NONE, "fn"),
            (at(600, 300), None, "fn"),
            (NONE, NONE, "tn"),
            (NONE, None, "tn"),
            (at(0, 0), NONE, "fn"),  # visibility decides, not the place
            (at(5, 0), at(0, 0), "tp"),
        ],
    )
    def test_each_pair_is_one_of_five_things(self, label: BallPoint, found: BallPoint | None, expected: str) -> None:
        assert outcome(label, found, size_hw=HD) == expected

    def test_each_axis_has_its_own_scale(self) -> None:
        size = (288, 1024)  # half as many columns in the network's picture, as many rows
        assert outcome(at(100, 50), at(108, 50), size_hw=size) == "tp"
        assert outcome(at(100, 50), at(109, 50), size_hw=size) == "fp1"
        assert outcome(at(100, 50), at(100, 54), size_hw=size) == "tp"
        assert outcome(at(100, 50), at(100, 55), size_hw=size) == "fp1"

    def test_the_tolerance_can_be_another(self) -> None:
        assert outcome(at(0, 0), at(10, 0), size_hw=(288, 512), tolerance=10) == "tp"
        assert outcome(at(0, 0), at(1, 0), size_hw=(288, 512), tolerance=0) == "fp1"


class TestRates:
    def test_they_are_the_papers(self) -> None:
        counts = Counts(tp=60, tn=20, fp1=5, fp2=3, fn=12)
        assert counts.frames == 100
        assert counts.accuracy == pytest.approx(80 / 100)
        assert counts.precision == pytest.approx(60 / 68)
        assert counts.recall == pytest.approx(60 / 72)  # a ball found elsewhere is not a missed one
        assert counts.f1 == pytest.approx(2 * 60 / (2 * 60 + 8 + 12))
        assert counts.miss_rate == pytest.approx(12 / 72)

    def test_a_published_row_follows_from_its_own_counts(self) -> None:
        """Of 10,836 frames with 9,436 balls, precision 97.79 and recall 99.33 leave accuracy and F1 as printed."""
        fn, tp = 62, 9169  # recall 99.33: FN = TP * (1 / .9933 - 1); TP + FP1 + FN = 9,436
        fp1 = 9436 - tp - fn
        fp2 = round(tp / 0.9779) - tp - fp1
        counts = Counts(tp=tp, tn=1400 - fp2, fp1=fp1, fp2=fp2, fn=fn)
        assert (round(100 * counts.precision, 2), round(100 * counts.recall, 2)) == (97.79, 99.33)
        assert 100 * counts.f1 == pytest.approx(98.56, abs=0.01)
        assert 100 * counts.accuracy == pytest.approx(97.51, abs=0.05)

    def test_a_rate_of_nothing_is_zero(self) -> None:
        empty = Counts()
        assert [empty.accuracy, empty.precision, empty.recall, empty.f1, empty.miss_rate] == [0, 0, 0, 0, 0]
        assert Counts(tn=5).accuracy == 1 and Counts(tn=5).f1 == 0

    def test_counts_add_up(self) -> None:
        assert Counts(1, 2, 3, 4, 5) + Counts(tp=10) == Counts(11, 2, 3, 4, 5)


class TestScoring:
    def test_frames_are_matched_by_number_in_any_order(self) -> None:
        labels = [at(50, 50, 0), BallPoint(1, False), at(50, 50, 2), at(50, 50, 3)]
        found = [at(50, 50, 3), at(200, 50, 2), at(9, 9, 1), BallPoint(0, False)]
        assert score(labels, found, size_hw=HD) == Score(Counts(tp=1, fp1=1, fp2=1, fn=1))

    def test_a_frame_without_an_answer_is_a_miss_and_is_said(self) -> None:
        labels = [at(50, 50, 0), BallPoint(1, False), at(50, 50, 2)]
        assert score(labels, [at(50, 50, 0), at(1, 1, 9)], size_hw=HD) == Score(Counts(tp=1, tn=1, fn=1), 2, 1)

    def test_only_the_frames_that_count_are_counted(self) -> None:
        labels = [at(50, 50, frame) for frame in range(10)]
        got = score(labels, labels, size_hw=HD, frames=range(2, 5))
        assert got == Score(Counts(tp=3))

    def test_scores_of_several_rallies_add_up(self) -> None:
        assert Score(Counts(tp=1), 2, 3) + Score(Counts(fn=1), 10, 20) == Score(Counts(tp=1, fn=1), 12, 23)


class TestTheFramesThatCount:
    def test_the_end_no_longer_counts_and_a_label_file_knows_its_rally(self, tmp_path: Path) -> None:
        content = {"map": ["3_1_05_02"], "start": {"3_1_05_02": 4}, "end": {"3_1_05_02": 9}}
        (tmp_path / "drop_frame.json").write_text(json.dumps(content))
        spans = read_rally_frames(tmp_path / "drop_frame.json")
        assert frames_of_rally(spans, Path("data/match3/corrected_csv/1_05_02_ball.csv")) == range(4, 9)
        with pytest.raises(ConfigError, match="is rally 2_1_05_02, for which no frames are given: it has 1 rallies"):
            frames_of_rally(spans, Path("match2/1_05_02_ball.csv"))
        with pytest.raises(ConfigError, match="is rally None_a"):
            frames_of_rally(spans, Path("a.csv"))

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "3", "{}", '{"start": {"a": 1}, "end": {}}', '{"start": [1], "end": [2]}', "[" * 100_000,
         '{"start": {"a": "1"}, "end": {"a": 2}}', '{"start": {"a": 1.5}, "end": {"a": 2}}'],
    )  # fmt: skip
    def test_any_other_json_is_one_line(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(ConfigError, match=r"is no drop_frame\.json; expected"):
            read_rally_frames(tmp_path / "a.json")

    def test_a_missing_one_too(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read: No such file"):
            read_rally_frames(tmp_path / "a.json")


@needs_labels
class TestPublishedCounts:
    def files(self) -> list[Path]:
        return sorted(LABELS.rglob("*_ball.csv"))

    def test_the_test_set_has_the_frames_it_is_said_to_have(self) -> None:
        points = [point for path in self.files() for point in read_trajectory(path)]
        assert len(self.files()) == 29
        assert (len(points), sum(point.visible for point in points)) == (12_656, 10_685)

    def test_scored_against_itself_every_frame_that_counts_is_right(self) -> None:
        spans = read_rally_frames(LABELS / "drop_frame.json")
        total = Score(Counts())
        for path in self.files():
            labels = read_trajectory(path)
            total += score(labels, labels, size_hw=HD, frames=frames_of_rally(spans, path))
        assert total == Score(Counts(tp=9_436, tn=10_836 - 9_436))

    def test_against_a_slow_count_when_everything_is_four_network_pixels_off(self) -> None:
        """Shifted by 10 source pixels all are still found, by 11 none."""
        path = self.files()[0]
        labels = read_trajectory(path)
        lines = [line.split(",") for line in path.read_text().splitlines()[1:]]
        visible = sum(1 for line in lines if line[1] == "1")
        for shift, name in ((10, "tp"), (11, "fp1")):
            moved = [BallPoint(p.frame, p.visible, p.x + shift, p.y) for p in labels]
            counts = score(labels, moved, size_hw=HD).counts
            assert getattr(counts, name) == visible and counts.tn == len(lines) - visible

    def test_every_rally_of_the_list_is_there(self) -> None:
        spans = read_rally_frames(LABELS / "drop_frame.json")
        rallies = {
            f"{match[1]}_{path.stem.removesuffix('_ball')}"
            for path in self.files()
            if (match := re.search(r"match(\d)", str(path)))
        }
        assert rallies == set(spans)
