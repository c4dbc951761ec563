"""Who becomes one person: against a slow reference, and against the rule that nobody is in two places at once."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import SightlineError
from sightline.reid.merging import (
    APART,
    REPORTED_REFUSALS,
    THROUGH_OTHERS,
    TOGETHER,
    UNKNOWN_TIME,
    Merging,
    merge_people,
    save_merging_report,
)
from sightline.reid.sightings import Sightings
from sightline.reid.similarity import SimilarityResults

NAMES = "abcdefghij"


def seen(*frames: int, camera: str = "") -> Sightings:
    count = len(frames)
    return Sightings(np.array(frames), np.zeros((count, 4), np.float32), np.ones(count, np.float32), camera=camera)


def alike(scores: dict[str, float], people: str, *, weights: str = "trained") -> SimilarityResults:
    """`{"ab": 0.9}`: a and b have 0.9, everybody else 0."""
    matrix = np.eye(len(people), dtype=np.float32)
    for (one, other), score in scores.items():
        matrix[people.index(one), people.index(other)] = matrix[people.index(other), people.index(one)] = score
    return SimilarityResults(
        similarity_matrix=matrix,
        person_ids=list(people),
        high_similarity_pairs=[],
        similarity_threshold=0.7,
        timestamp="2026-01-15T00:00:00+00:00",
        similarity_form="averaged",
        embeddings={},
        model="osnet_x0_25",
        model_type="random" if weights == "untrained" else "onnx",
        weights=weights,
        fingerprint="cd" * 32,
        timing={},
    )


def merged(
    scores: dict[str, float], people: Sequence[Sightings | None], *, threshold: float = 0.6, gap: int | None = None
) -> Merging:
    found = alike(scores, NAMES[: len(people)])
    return merge_people(found, sightings=people, threshold=threshold, max_gap_frames=gap)


def groups(merging: Merging) -> list[str]:
    return ["".join(map(str, merge.persons)) for merge in merging.merges]


def reasons(merging: Merging) -> dict[str, str]:
    return {"".join(map(str, refusal.pair)): refusal.reason for refusal in merging.refused}


# Alike


def test_people_at_the_threshold_are_one_and_people_below_are_not() -> None:
    found = merged({"ab": 0.75, "cd": 0.7499}, [None] * 4, threshold=0.75)
    assert groups(found) == ["ab"] and found.refused == ()


def test_a_chain_of_lookalikes_is_one_person() -> None:
    assert groups(merged({"ac": 0.9, "cd": 0.8, "be": 0.7}, [None] * 5)) == ["acd", "be"]


def test_a_group_has_its_scores_its_name_and_its_frames() -> None:
    (merge,) = merged({"ac": 0.7, "bc": 0.9, "ab": 0.8}, [seen(1, 2), seen(5), seen(7, 8, 9)]).merges
    assert merge.persons == ("a", "b", "c")
    np.testing.assert_allclose(merge.scores, [0.9, 0.8], atol=1e-6)  # the third pair joined nothing new
    assert merge.frames == 6


def test_frames_are_not_counted_where_some_are_not_known() -> None:
    assert merged({"ab": 0.9}, [seen(1), None]).merges[0].frames is None


@pytest.mark.parametrize("people", [[], [None]])
def test_nobody_and_somebody_alone_are_not_merged(people: list[None]) -> None:
    assert merged({}, people) == Merging((), (), 0.6, None)


# Never in two places


def test_two_people_in_one_frame_are_never_merged() -> None:
    found = merged({"ab": 0.99}, [seen(1, 2, 3), seen(3, 4)])
    assert groups(found) == [] and reasons(found) == {"ab": TOGETHER}


def test_nor_are_they_through_a_third_who_looks_like_both() -> None:
    found = merged({"ac": 0.9, "bc": 0.8, "ab": 0.95}, [seen(1, 2), seen(2, 3), seen(9)])
    assert groups(found) == ["ac"]
    assert reasons(found) == {"ab": TOGETHER, "bc": THROUGH_OTHERS}


def test_nor_are_two_groups_of_which_any_two_met() -> None:
    people = [seen(1), seen(50), seen(60), seen(1, 70)]
    found = merged({"ab": 0.9, "cd": 0.9, "bc": 0.8}, people)
    assert groups(found) == ["ab", "cd"] and reasons(found) == {"bc": THROUGH_OTHERS}


def test_the_same_frame_number_of_two_cameras_is_not_the_same_frame() -> None:
    assert groups(merged({"ab": 0.9}, [seen(1, camera="yard"), seen(1, camera="hall")])) == ["ab"]


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, float], list[Sightings | None]]:
    count = draw(st.integers(2, 8))
    pairs = list(itertools.combinations(NAMES[:count], 2))
    scores = {one + other: draw(st.integers(0, 10)) / 10 + index / 1e4 for index, (one, other) in enumerate(pairs)}
    frames = st.sets(st.integers(0, 14), min_size=1, max_size=4)
    return scores, [draw(st.none() | frames.map(lambda chosen: seen(*sorted(chosen)))) for _ in range(count)]


@given(cases())
@settings(max_examples=200, deadline=None)
def test_the_groups_are_those_of_joining_pair_by_pair_with_sets(
    case: tuple[dict[str, float], list[Sightings | None]],
) -> None:
    scores, people = case
    frames = [set() if one is None else set(one.frames.tolist()) for one in people]
    held = {name: {name} for name in NAMES[: len(people)]}
    for pair, score in sorted(scores.items(), key=lambda item: -item[1]):
        one, other = held[pair[0]], held[pair[1]]
        meet = any(frames[NAMES.index(x)] & frames[NAMES.index(y)] for x in one for y in other)
        if score >= 0.5 and one is not other and not meet:
            one |= other
            for name in other:
                held[name] = one
    expected = sorted({"".join(sorted(group)) for group in held.values() if len(group) > 1})
    assert groups(merged(scores, people, threshold=0.5)) == expected


# Gaps


@pytest.mark.parametrize(
    ("other", "gap", "together"),
    [
        (seen(25, 40), 15, True),  # ends at 10, goes on at 25
        (seen(26, 40), 15, False),
        (seen(11), 0, False),
        (seen(11), 1, True),
        (seen(5, 40), 15, True),  # both around from 5 to 10, each in frames of its own
        (seen(5, 40), 4, False),
        (seen(1000), None, True),
    ],
)
def test_a_gap_or_an_overlap_may_be_so_long(other: Sightings, gap: int | None, together: bool) -> None:
    found = merged({"ab": 0.9}, [seen(0, 10), other], gap=gap)
    assert (groups(found) == ["ab"]) is together
    assert together or reasons(found) == {"ab": APART}


def test_the_gap_is_that_of_the_two_and_not_of_their_groups() -> None:
    assert groups(merged({"ab": 0.9, "bc": 0.9}, [seen(0), seen(10), seen(20)], gap=15)) == ["abc"]


@pytest.mark.parametrize("other", [None, seen(11, camera="hall")])
def test_without_a_common_clock_no_gap_is_short_enough(other: Sightings | None) -> None:
    assert reasons(merged({"ab": 0.9}, [seen(10), other], gap=15)) == {"ab": UNKNOWN_TIME}


# What must not be merged


@pytest.mark.parametrize(("weights", "words"), [("untrained", "random weights"), ("imagenet", "ImageNet weights")])
def test_weights_that_find_everybody_alike_merge_nobody(weights: str, words: str) -> None:
    found = alike({"ab": 0.99}, "ab", weights=weights)
    with pytest.raises(SightlineError, match=f"has {words}, to which all people look alike: nobody is merged"):
        merge_people(found, sightings=[None, None], threshold=0.7)


def test_every_person_needs_a_place_in_the_list_of_sightings() -> None:
    with pytest.raises(ValueError, match="1 sightings for 2 people"):
        merge_people(alike({}, "ab"), sightings=[None], threshold=0.7)


# The report


def test_the_report_has_the_keys_of_the_notes(tmp_path: Path) -> None:
    results = alike({"ac": 0.9, "ab": 0.8}, "abc")
    found = merge_people(results, sightings=[seen(1), seen(1, 2), seen(3)], threshold=0.6, max_gap_frames=15)
    told = json.loads(save_merging_report(found, results, tmp_path).read_text())
    (merge,) = told["merges"]
    assert merge == {
        "merged_persons": ["a", "c"],
        "result_person_id": "a",
        "similarity_scores": [pytest.approx(0.9)],
        "total_merged_frames": 2,
    }
    assert told["refused"] == [{"persons": ["a", "b"], "similarity": pytest.approx(0.8), "reason": TOGETHER}]
    assert (told["merge_threshold"], told["max_gap_frames"], told["fingerprint"]) == (0.6, 15, "cd" * 32)
    assert (tmp_path / "merging_report.json").exists()


def test_a_crowd_of_lookalikes_does_not_flood_the_report(tmp_path: Path) -> None:
    count = 40
    results = alike({}, "".join(chr(0x4E00 + index) for index in range(count)))
    results["similarity_matrix"][:] = 0.9
    found = merge_people(results, sightings=[seen(1)] * count, threshold=0.6)
    told = json.loads(save_merging_report(found, results, tmp_path).read_text())
    assert len(told["refused"]) == REPORTED_REFUSALS and told["refused_pairs"] == count * (count - 1) // 2
