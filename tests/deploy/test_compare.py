from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from sightline.card import Threshold
from sightline.deploy.compare.agreement import Agreement, agreement
from sightline.deploy.compare.labels import UNKNOWN, Label, Labels, labelled, labels_in_names
from sightline.deploy.compare.side import Pairs, Side, embedded, paired
from sightline.deploy.compare.worst import worst_images
from sightline.errors import ModelOutputError
from sightline.reid.embedder import Embedder
from sightline.runtime.open import open_session
from sightline.types import FloatArray


def vectors(count: int, dim: int = 16, *, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)


def side(rows: FloatArray, names: Sequence[str] | None, origin: str = "a.npz", **more: object) -> Side:
    return Side(origin, "feature file", rows, None if names is None else tuple(names), **more)  # type: ignore[arg-type]


# --- who is on an image --------------------------------------------------------------------------------------------


def test_names_as_in_market_1501_tell_person_and_camera() -> None:
    paths = [Path("x/0002_c1s1_000551_01.jpg"), Path("x/1501_c6s3_090142_04.jpg")]
    labels = labels_in_names(paths)
    assert labels.of == {str(paths[0]): Label("0002", 1), str(paths[1]): Label("1501", 6)}


def test_junk_and_distractors_are_nobody() -> None:
    paths = [Path("-1_c1s1_000401_03.jpg"), Path("0000_c2s1_000401_03.jpg"), Path("0010_c2s1_000401_03.jpg")]
    assert [label.person for label in labels_in_names(paths).of.values()] == ["", "", "0010"]
    ids = labelled(vectors(3), [str(path) for path in paths], labels_in_names(paths)).ids
    assert ids.tolist() == [-1, -1, 0]


def test_a_folder_for_each_person_tells_who_but_not_by_which_camera() -> None:
    paths = [Path("people/ann/1.png"), Path("people/ann/2.png"), Path("people/bob/1.png")]
    labels = labels_in_names(paths, Path("people"))
    assert list(labels.of.values()) == [Label("ann"), Label("ann"), Label("bob")]
    assert labelled(vectors(3), [str(path) for path in paths], labels).cameras is None


@pytest.mark.parametrize(
    "names",
    [
        ["people/1.png", "people/2.png"],  # all in one folder
        ["people/ann/1.png", "people/bob/2.png"],  # nobody twice
        ["people/ann/1.png", "people/ann/2.png", "people/3.png"],  # one beside the folders
        ["people/day/ann/1.png", "people/day/ann/2.png", "people/day/bob/3.png"],  # deeper than people
        ["people/0001_c1_0.png", "people/other.png"],  # a name that says nothing
        [],
    ],
)
def test_where_one_image_says_nothing_nobody_is_believed(names: list[str]) -> None:
    assert labels_in_names([Path(name) for name in names], Path("people")) == UNKNOWN


# --- which vector belongs to which ---------------------------------------------------------------------------------


def test_rows_are_matched_by_the_whole_path_first() -> None:
    rows = vectors(3)
    a = side(rows, ["x/1.png", "y/1.png", "z/2.png"])
    b = side(rows[[2, 0, 1]], ["z/2.png", "x/1.png", "y/1.png"])
    pairs = paired(a, b)
    assert pairs.names == ("x/1.png", "y/1.png", "z/2.png")
    np.testing.assert_array_equal(pairs.a, pairs.b)


def test_dumps_are_matched_by_the_name_without_its_suffix() -> None:
    rows = vectors(3)
    images = ["crops/a.jpg", "crops/b.c.jpg", "crops\\d.jpg"]
    pairs = paired(side(rows, images), side(rows[::-1], ["d", "b.c", "a"], "dumps"), images)
    np.testing.assert_array_equal(pairs.a, pairs.b)


def test_rows_without_names_are_in_the_order_of_the_images() -> None:
    rows = vectors(3)
    images = ["1.png", "2.png", "3.png"]
    pairs = paired(side(rows[[2, 1, 0]], images[::-1]), side(rows, None, "raw"), images)
    np.testing.assert_array_equal(pairs.a, pairs.b)
    both = paired(side(rows, None), side(rows, None))
    assert both.names == ("row 0", "row 1", "row 2")


def test_an_image_that_one_side_skipped_is_left_out_of_both() -> None:
    a = side(vectors(2), ["1.png", "3.png"], skipped={"2.png": "2.png is empty"})
    b = side(vectors(3, seed=1), ["1.png", "2.png", "3.png"])
    pairs = paired(a, b, ["1.png", "2.png", "3.png"])
    assert pairs.names == ("1.png", "3.png")
    np.testing.assert_array_equal(pairs.b, b.vectors[[0, 2]])
    assert pairs.skipped == {"2.png": "2.png is empty"}


@pytest.mark.parametrize(
    ("b", "said"),
    [
        (side(vectors(2), ["1", "2"], "b"), r"b has no vector of 1 of the 3 images: 3\.png"),
        (side(vectors(4), None, "b"), "b holds 4 vectors in the order they were made, and there are 3 images"),
        (side(vectors(3), ["x/1", "y/1", "2"], "b"), "two in b are called '1'"),
        (side(vectors(3, 8), ["1", "2", "3"], "b"), "16 numbers an image and b 8"),
        (side(np.full((3, 16), np.nan, np.float32), None, "b"), r"b: the vector of 1\.png holds NaN"),
    ],
)
def test_sides_that_cannot_be_matched_are_refused(b: Side, said: str) -> None:
    images = ["1.png", "2.png", "3.png"]
    with pytest.raises(ModelOutputError, match=said):
        paired(side(vectors(3), images), b, images)


def test_two_images_of_one_name_cannot_be_told_apart_in_dumps() -> None:
    images = ["ann/1.png", "bob/1.png"]
    with pytest.raises(ModelOutputError, match="two of the images are called '1'"):
        paired(side(vectors(2), images), side(vectors(2), ["1", "2"], "dumps"), images)


def test_sides_with_nothing_in_common_are_no_comparison() -> None:
    with pytest.raises(ModelOutputError, match="no image in common"):
        paired(side(vectors(0), ()), side(vectors(0), ()))


def test_what_a_model_cannot_read_it_skips_with_the_reason(tmp_path: Path) -> None:
    from painted_people import mean_colour, mean_colour_model, paint

    painted = [item.path for item in paint(tmp_path / "people", people="ab")]
    painted[1].write_bytes(b"")
    with open_session(mean_colour_model(tmp_path / "colour.onnx"), "onnxruntime", "cpu") as session:
        found = embedded(Embedder(session), painted)
    assert found.names == tuple(str(path) for path in painted if path != painted[1])
    assert "is empty" in found.skipped[str(painted[1])]
    np.testing.assert_allclose(found.vectors[0], mean_colour(painted[0]), atol=1e-5)
    assert found.kind == "onnxruntime (cpu, float32)"


# --- how far apart -------------------------------------------------------------------------------------------------


def measured(noise: float, *, people: int = 12, shots: int = 4, **more: object) -> tuple[Pairs, Agreement]:
    """Everybody a direction, each shot near it, and the other side near that."""
    rng = np.random.default_rng(3)
    centres = np.repeat(vectors(people, seed=1), shots, axis=0)
    a = centres + rng.normal(0, 0.7, centres.shape).astype(np.float32)
    b = a + rng.normal(0, noise, a.shape).astype(np.float32)
    names = tuple(f"{row // shots + 1:04}_c{row % shots}_x.png" for row in range(len(a)))
    pairs = Pairs(a, b, names, {})
    return pairs, agreement(pairs, labels_in_names([Path(name) for name in names]), **more)  # type: ignore[arg-type]


def cosine(a: FloatArray, b: FloatArray) -> float:
    return float(np.dot(a.astype(np.float64), b) / np.linalg.norm(a.astype(np.float64)) / np.linalg.norm(b))


def test_cosines_are_those_of_each_pair_whatever_its_length() -> None:
    pairs, found = measured(0.2)
    expected = [cosine(a, b) for a, b in zip(pairs.a, pairs.b, strict=True)]
    np.testing.assert_allclose(found.cosines, expected, atol=1e-6)
    assert found.smallest == pytest.approx(min(expected), abs=1e-6)
    assert found.mean == pytest.approx(sum(expected) / len(expected), abs=1e-6)
    assert found.worst(2) == list(np.argsort(expected)[:2])
    assert found.reaches(min(expected) - 1e-5)
    assert not found.reaches(min(expected) + 1e-5)


def test_who_is_found_first_is_counted_by_hand() -> None:
    pairs, found = measured(1.5)
    assert found.rankings is not None
    people = [name[:4] for name in pairs.names]
    for ranking, rows in zip(found.rankings, (pairs.a, pairs.b), strict=True):
        hits = 0
        for query in range(len(rows)):
            others = [row for row in range(len(rows)) if row != query]
            best = max(others, key=lambda row: cosine(rows[query], rows[row]))
            hits += people[best] == people[query]
        assert ranking.rank_k(1) == pytest.approx(hits / len(rows))
    assert found.rankings[0].rank_k(1) > found.rankings[1].rank_k(1)


def test_scores_of_equal_false_accepts_are_equal_quantiles_of_the_strangers() -> None:
    pairs, found = measured(0.5, fars=(0.1, 0.01))
    people = [name[:4] for name in pairs.names]
    for shift in found.shifts:
        for threshold, tar, rows in ((shift.a, shift.tar_a, pairs.a), (shift.b, shift.tar_b, pairs.b)):
            scores = {pair: cosine(rows[pair[0]], rows[pair[1]]) for pair in combinations(range(len(rows)), 2)}
            strangers = [score for (i, j), score in scores.items() if people[i] != people[j]]
            friends = [score for (i, j), score in scores.items() if people[i] == people[j]]
            assert sum(score >= threshold for score in strangers) == int(shift.far * len(strangers))
            assert tar == pytest.approx(sum(score >= threshold for score in friends) / len(friends))
            assert shift.impostor_pairs == len(strangers)
    assert [shift.reliable for shift in found.shifts] == [True, True]


def test_a_threshold_in_use_is_told_as_a_score_of_the_other_side() -> None:
    in_use = [
        Threshold(0.3, 0.001, "single", 10),
        Threshold(0.4, 0.001, "averaged", 10),
        Threshold(1.1, 0, "single", 1),
    ]
    pairs, found = measured(0.5, thresholds=in_use)
    (moved,) = found.moved  # that of averages says nothing of crops, and nobody reaches 1.1
    people = [name[:4] for name in pairs.names]
    accepted = [
        sum(
            cosine(rows[i], rows[j]) >= threshold
            for i, j in combinations(range(len(rows)), 2)
            if people[i] != people[j]
        )
        for rows, threshold in ((pairs.a, 0.3), (pairs.b, moved.b))
    ]
    assert moved.a == 0.3
    assert accepted[0] == accepted[1] > 0


def test_without_labels_only_the_cosines_are_measured() -> None:
    rows = vectors(10)
    found = agreement(Pairs(rows, rows, tuple(map(str, range(10))), {}), UNKNOWN)
    assert (found.rankings, found.shifts, found.moved) == (None, (), ())
    assert found.smallest == pytest.approx(1)


def test_one_camera_alone_can_be_compared_by_scores_though_not_ranked() -> None:
    rows = vectors(12)
    labels = Labels({str(row): Label(str(row // 3), 1) for row in range(12)}, "here")
    found = agreement(Pairs(rows, rows, tuple(map(str, range(12))), {}), labels, fars=(0.1,))
    assert found.rankings is None
    assert found.shifts[0].a == found.shifts[0].b


def test_vectors_that_hardly_differ_from_image_to_image_are_called_out() -> None:
    same = np.ones((20, 16), np.float32) + vectors(20) * 0.01
    found = agreement(Pairs(same, same, tuple(map(str, range(20))), {}), UNKNOWN)
    pairwise = [cosine(same[i], same[j]) for i, j in combinations(range(20), 2)]
    assert found.between[0] == pytest.approx(np.mean(pairwise), abs=1e-5)
    assert not found.is_telling
    assert measured(0.1)[1].is_telling


def test_a_single_image_is_a_comparison_too() -> None:
    rows = vectors(1)
    found = agreement(Pairs(rows, -rows, ("a",), {}), UNKNOWN)
    assert found.smallest == pytest.approx(-1)
    (worst,) = worst_images(Pairs(rows, -rows, ("a",), {}), found, count=5)
    assert (worst.by_a, worst.by_b) == (None, None)


def test_beside_the_worst_images_stands_whom_each_side_takes_them_for() -> None:
    pairs, found = measured(1.0)
    for worst in worst_images(pairs, found, count=6):
        row = pairs.names.index(worst.name)
        for nearest, rows in ((worst.by_a, pairs.a), (worst.by_b, pairs.b)):
            scores = {name: cosine(rows[row], rows[other]) for other, name in enumerate(pairs.names) if other != row}
            assert nearest is not None
            assert nearest.name == max(scores, key=lambda name: scores[name])
            assert nearest.score == pytest.approx(max(scores.values()), abs=1e-5)


def test_no_image_is_taken_for_itself_however_unlike_the_others_are() -> None:
    opposed = np.array([[1.0, 0.0], [-1.0, 0.0]], np.float32)
    pairs = Pairs(opposed, opposed, ("a", "b"), {})
    nearest = [worst.by_a for worst in worst_images(pairs, agreement(pairs, UNKNOWN), count=2)]
    assert [(found.name, found.score) for found in nearest if found is not None] == [("b", -1.0), ("a", -1.0)]
