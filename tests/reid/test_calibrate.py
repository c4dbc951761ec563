from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from painted_people import mean_colour, mean_colour_model, paint
from sightline.card import Threshold
from sightline.errors import SightlineError
from sightline.reid.calibrate import (
    PairScores,
    averaged_entries,
    calibrate,
    labelled_files,
    labelled_subjects,
    scores_between,
    scores_of_pairs,
)
from sightline.reid.embedder import Embedder
from sightline.reid.labelled import Labelled
from sightline.reid.score_plots import draw_scores
from sightline.reid.verify import Subject
from sightline.runtime.open import open_session
from sightline.types import Array


@pytest.fixture
def embedder(tmp_path: Path) -> Iterator[Embedder]:
    with open_session(mean_colour_model(tmp_path / "colour.onnx")) as session:
        yield Embedder(session)


def scores(genuine: Array, impostor: Array) -> PairScores:
    return PairScores(np.sort(genuine.astype(np.float32)), np.sort(impostor.astype(np.float32)), "single", "made up")


def vectors(*, people: int, cameras: int | None, shots: int, seed: int = 0) -> Labelled:
    """Points around a centre for each person, in the order of nothing in particular."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 6))
    ids = np.repeat(np.arange(people), shots * (cameras or 1))
    rows = centres[ids] + rng.normal(0, 0.4, (len(ids), 6))
    order = rng.permutation(len(ids))
    taken = None if cameras is None else np.tile(np.repeat(np.arange(cameras), shots), people)[order]
    return Labelled(rows[order].astype(np.float32), ids[order], taken)


class TestThreshold:
    @given(seed=st.integers(0, 1000), far=st.sampled_from([0.1, 0.03, 0.01]), ties=st.booleans())
    @settings(max_examples=60, deadline=None)
    def test_it_is_the_lowest_that_lets_no_more_impostors_through(self, seed: int, far: float, ties: bool) -> None:
        rng = np.random.default_rng(seed)
        genuine, impostor = rng.normal(0.7, 0.1, 50), rng.normal(0.4, 0.1, 1000)
        if ties:
            genuine, impostor = genuine.round(2), impostor.round(2)
        made = scores(genuine, impostor)
        (found,) = calibrate(made, [far])
        value = np.float32(found.threshold.value)
        assert np.count_nonzero(made.impostor >= value) <= far * 1000
        lower = [score for score in {*made.impostor.tolist(), *made.genuine.tolist()} if score < value]
        assert np.count_nonzero(made.impostor >= np.float32(max(lower))) > far * 1000
        assert found.tar == pytest.approx(np.count_nonzero(made.genuine >= value) / 50)

    def test_it_says_what_it_was_measured_on(self) -> None:
        made = scores(np.linspace(0.5, 1, 40), np.linspace(0, 0.6, 1000))
        (found,) = calibrate(made, [0.01])
        got = found.threshold
        assert (got.far, got.aggregation, got.pairs, got.source) == (0.01, "single", 1000, "made up")
        assert (found.genuine_pairs, found.reliable) == (40, True)

    def test_several_rates_have_a_threshold_each(self) -> None:
        found = calibrate(scores(np.linspace(0.5, 1, 40), np.linspace(0, 0.6, 10_000)), [0.1, 0.01, 0.001])
        values = [item.threshold.value for item in found]
        assert values == sorted(values) and len(set(values)) == 3

    def test_fewer_impostors_than_ten_over_the_rate_are_refused(self) -> None:
        made = scores(np.linspace(0.5, 1, 40), np.linspace(0, 0.6, 999))
        with pytest.raises(
            SightlineError, match=r"needs 1,000 impostor pairs of single crops; there are 999"
        ) as caught:
            calibrate(made, [0.01])
        assert "enough for 0.01" in str(caught.value)

    def test_of_a_handful_no_rate_can_be_read(self) -> None:
        with pytest.raises(SightlineError, match="there are 5, enough for no rate at all"):
            calibrate(scores(np.ones(3), np.zeros(5)), [0.01])

    def test_accepted_all_the_same_they_are_marked(self) -> None:
        (found,) = calibrate(scores(np.ones(3), np.linspace(0, 0.5, 5)), [0.01], accept_few=True)
        assert not found.reliable and found.threshold.pairs == 5
        assert found.threshold.value > 0.5  # nobody of the five passes

    @pytest.mark.parametrize(("genuine", "impostor", "missing"), [(0, 5, "same person"), (5, 0, "different people")])
    def test_pairs_of_one_kind_alone_are_refused(self, genuine: int, impostor: int, missing: str) -> None:
        with pytest.raises(SightlineError, match=f"show the {missing}"):
            calibrate(scores(np.ones(genuine), np.zeros(impostor)), [0.1], accept_few=True)


class TestPairs:
    def test_they_are_those_of_a_slow_loop(self) -> None:
        side = vectors(people=5, cameras=2, shots=3)
        unit = side.vectors / np.linalg.norm(side.vectors, axis=1, keepdims=True)
        assert side.cameras is not None
        genuine, impostor = [], []
        for i, j in combinations(range(len(side)), 2):
            if side.ids[i] != side.ids[j]:
                impostor.append(unit[i] @ unit[j])
            elif side.cameras[i] != side.cameras[j]:
                genuine.append(unit[i] @ unit[j])
        found = scores_between(side, aggregation="single", source="x")
        assert np.allclose(found.genuine, np.sort(genuine), atol=1e-6)
        assert np.allclose(found.impostor, np.sort(impostor), atol=1e-6)

    def test_where_everybody_was_seen_by_one_camera_pairs_within_it_count(self) -> None:
        side = vectors(people=4, cameras=1, shots=3)
        assert len(scores_between(side, aggregation="single", source="x").genuine) == 4 * 3

    def test_of_too_many_vectors_pairs_are_drawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sightline.reid.calibrate.ALL_VECTORS", 20)
        monkeypatch.setattr("sightline.reid.calibrate.SOME_PAIRS", 50)
        side = vectors(people=10, cameras=2, shots=3)
        first, again = (scores_between(side, aggregation="single", source="x", seed=4) for _ in range(2))
        assert len(first.impostor) == 50 and np.array_equal(first.impostor, again.impostor)


class TestAverages:
    def test_each_is_the_average_of_crops_of_one_person_by_one_camera(self) -> None:
        side = vectors(people=3, cameras=2, shots=8)
        entries = averaged_entries(side, crops=4)
        unit = side.vectors / np.linalg.norm(side.vectors, axis=1, keepdims=True)
        assert side.cameras is not None and entries.vectors.cameras is not None
        for vector, who, where in zip(
            entries.vectors.vectors, entries.vectors.ids, entries.vectors.cameras, strict=True
        ):
            group = unit[(side.ids == who) & (side.cameras == where)]
            means = [group[list(rows)].mean(axis=0) for rows in combinations(range(8), 4)]
            assert min(np.abs(vector - mean / np.linalg.norm(mean)).max() for mean in means) < 1e-5

    def test_no_crop_is_in_two_of_them(self) -> None:
        side = vectors(people=1, cameras=1, shots=12)
        entries = averaged_entries(side, crops=4)
        unit = side.vectors / np.linalg.norm(side.vectors, axis=1, keepdims=True)
        assert entries.crops.tolist() == [4, 4, 4]
        sums = []  # a disjoint split is the one whose entries, weighted by their length, add up to everything
        for vector in entries.vectors.vectors:
            rows = min(combinations(range(12), 4), key=lambda r: np.abs(unit_mean(unit[list(r)]) - vector).max())
            sums += list(rows)
        assert sorted(sums) == list(range(12))

    @pytest.mark.parametrize(
        ("shots", "expected"), [(1, []), (2, [2]), (7, [7]), (8, [8]), (17, [9, 8]), (24, [8, 8, 8])]
    )
    def test_what_does_not_fill_one_is_spread_over_the_others(self, shots: int, expected: list[int]) -> None:
        assert averaged_entries(vectors(people=1, cameras=1, shots=shots), crops=8).crops.tolist() == expected

    def test_the_same_seed_deals_the_same(self) -> None:
        side = vectors(people=3, cameras=2, shots=8)
        one, same, other = (averaged_entries(side, crops=4, seed=seed).vectors.vectors for seed in (1, 1, 2))
        assert np.array_equal(one, same) and not np.array_equal(one, other)

    def test_averages_of_strangers_score_elsewhere_than_their_crops(self) -> None:
        side = vectors(people=30, cameras=2, shots=8)
        single = scores_between(side, aggregation="single", source="x")
        averaged = scores_between(averaged_entries(side).vectors, aggregation="averaged", source="x")
        assert averaged.genuine.mean() > single.genuine.mean() + 0.05

    def test_nobody_with_two_crops_leaves_none_and_is_told(self) -> None:
        entries = averaged_entries(vectors(people=3, cameras=1, shots=1))
        assert len(entries.vectors) == 0 and str(entries) == "0 averages of 0 to 0 crops"
        with pytest.raises(SightlineError, match="take fewer crops for an average"):
            calibrate(scores_between(entries.vectors, aggregation="averaged", source="x"), [0.1])


def unit_mean(rows: Array) -> Array:
    mean = rows.mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


class TestFiles:
    def test_labelled_images_become_labelled_vectors(
        self, embedder: Embedder, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        shots = paint(tmp_path / "shots", people="ba", cameras=2)
        shots[2].path.write_bytes(b"")
        found = labelled_files(
            embedder, [s.path for s in shots], [s.person for s in shots], cameras=[s.camera for s in shots]
        )
        kept = [shot for index, shot in enumerate(shots) if index != 2]
        assert found.ids.tolist() == ["ab".index(shot.person) for shot in kept]
        assert found.cameras is not None and found.cameras.tolist() == [shot.camera for shot in kept]
        assert np.allclose(found.vectors, [mean_colour(shot.path) for shot in kept], atol=1e-5)
        assert "is empty" in caplog.text

    def test_a_list_of_pairs_is_scored_pair_by_pair(
        self, embedder: Embedder, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        a, b, c, d = (shot.path for shot in paint(tmp_path / "shots", people="ab", cameras=1))
        gone = tmp_path / "gone.png"
        found = scores_of_pairs(embedder, [(a, b, True), (a, c, False), (d, b, False), (a, gone, True)], source="x")
        assert found.genuine == pytest.approx([mean_colour(a) @ mean_colour(b)], abs=1e-5)
        expected = sorted([mean_colour(a) @ mean_colour(c), mean_colour(d) @ mean_colour(b)])
        assert found.impostor == pytest.approx(expected, abs=1e-5)
        assert "gone.png" in caplog.text

    def test_identities_of_a_folder_are_people_seen_by_one_camera(self) -> None:
        rows = np.eye(3, dtype=np.float32)
        found = labelled_subjects([Subject("a", rows[:2], "ff"), Subject("b", rows[2:], "ff")])
        assert found.ids.tolist() == [0, 0, 1] and found.cameras is None
        assert np.array_equal(found.vectors, rows)


class TestPlot:
    def test_it_shows_both_kinds_and_each_threshold_where_it_is(self, tmp_path: Path) -> None:
        made = PairScores(np.linspace(0.5, 1, 40), np.linspace(0, 0.6, 1000), "single", "a <b> & c")
        draw_scores(made, tmp_path / "s.svg", thresholds=[Threshold(0.25, 0.01, "single", 1000)])
        root = ElementTree.parse(tmp_path / "s.svg").getroot()
        name = "{http://www.w3.org/2000/svg}"
        texts = [element.text for element in root.iter(f"{name}text")]
        assert "a <b> & c" in texts and "different people (1,000 pairs)" in texts and "same person (40 pairs)" in texts
        assert len(list(root.iter(f"{name}polygon"))) == 2
        (dashed,) = [line for line in root.iter(f"{name}line") if line.get("stroke-dasharray")]
        assert float(dashed.get("x1", "")) == pytest.approx(40 + 0.25 * 700, abs=0.1)  # scores 0 to 1 over 700 pixels

    def test_each_kind_is_drawn_to_its_own_total(self, tmp_path: Path) -> None:
        made = PairScores(np.full(3, 0.9), np.full(1000, 0.1), "single", "x")
        draw_scores(made, tmp_path / "s.svg")
        root = ElementTree.parse(tmp_path / "s.svg").getroot()
        tops = [
            min(float(point.partition(",")[2]) for point in str(polygon.get("points")).split())
            for polygon in root.iter("{http://www.w3.org/2000/svg}polygon")
        ]
        assert tops == [64.0, 64.0]

    def test_scores_that_are_all_one_are_no_trouble(self, tmp_path: Path) -> None:
        draw_scores(PairScores(np.ones(3), np.ones(2), "averaged", "x"), tmp_path / "s.svg")
        assert "nan" not in (tmp_path / "s.svg").read_text()

    def test_the_same_scores_are_the_same_bytes(self, tmp_path: Path) -> None:
        for name in "ab":
            draw_scores(PairScores(np.linspace(0.5, 1, 9), np.zeros(5), "single", "x"), tmp_path / name)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_ten_over_the_rate_is_what_the_message_asks_for() -> None:
    assert math.ceil(10 / 0.001) == 10_000
    with pytest.raises(SightlineError, match="needs 10,000 "):
        calibrate(scores(np.ones(3), np.zeros(100)), [0.001])
