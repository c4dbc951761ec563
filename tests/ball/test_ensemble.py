from __future__ import annotations

import numpy as np
import pytest

from sightline.ball.ensemble import Ensemble, get_ensemble_weight
from sightline.types import FloatArray


def maps(*values: float) -> FloatArray:
    return np.array(values, np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)


def test_the_tent_of_eight_is_the_published_one() -> None:
    assert np.allclose(get_ensemble_weight(8, "weight"), np.array([1, 2, 3, 4, 4, 3, 2, 1]) / 20, atol=1e-8)


def test_the_tent_of_three_has_its_top_in_the_middle() -> None:
    assert get_ensemble_weight(3, "weight").tolist() == [0.25, 0.5, 0.25]


def test_the_average_is_flat() -> None:
    assert get_ensemble_weight(4, "average").tolist() == [0.25] * 4


def test_windows_that_do_not_overlap_are_not_weighted_at_all() -> None:
    assert get_ensemble_weight(3, "nonoverlap").tolist() == [1.0] * 3


@pytest.mark.parametrize("mode", ["weight", "average", "nonoverlap"])
@pytest.mark.parametrize("seq_len", [1, 2, 7, 16])
def test_weights_are_float32_one_a_place(mode: str, seq_len: int) -> None:
    weights = get_ensemble_weight(seq_len, mode)
    assert weights.dtype == np.float32 and weights.shape == (seq_len,)
    assert np.array_equal(weights, weights[::-1])


def test_an_unknown_mode_is_refused_with_the_promised_words() -> None:
    with pytest.raises(ValueError, match=r"^Invalid mode$"):
        get_ensemble_weight(8, "gauss")


def test_no_frames_are_no_window() -> None:
    with pytest.raises(ValueError, match="seq_len is 0"):
        get_ensemble_weight(0, "weight")


def test_frames_at_both_ends_are_averaged_over_the_windows_they_were_in() -> None:
    ensemble = Ensemble(np.array([0.25, 0.5, 0.25], np.float32), stride=1)
    first = ensemble.add(maps(1, 2, 3))
    second = ensemble.add(maps(10, 20, 30))
    rest = ensemble.drain()
    # frame 0: one window. frame 1: middle of one, front of the other. frame 2: end of one, middle of the other.
    expected = [1, (0.5 * 2 + 0.25 * 10) / 0.75, (0.25 * 3 + 0.5 * 20) / 0.75, 30]
    assert [heat[0, 0] for heat in (*first, *second, *rest)] == pytest.approx(expected)


def test_the_newest_frame_of_a_window_has_the_first_weight() -> None:
    ensemble = Ensemble(np.array([1, 3], np.float32), stride=1)
    ensemble.add(maps(0, 8))
    assert ensemble.add(maps(4, 0))[0][0, 0] == pytest.approx((1 * 8 + 3 * 4) / 4)


def test_with_a_stride_as_many_frames_are_finished_at_once() -> None:
    ensemble = Ensemble(np.ones(3, np.float32), stride=2)
    assert [heat[0, 0] for heat in ensemble.add(maps(1, 2, 3))] == [1, 2]
    assert [heat[0, 0] for heat in ensemble.add(maps(5, 6, 7))] == [4, 6]


def test_what_a_window_says_alone_comes_out_to_the_last_bit() -> None:
    ensemble = Ensemble(get_ensemble_weight(3, "nonoverlap"), stride=3)
    heats = np.random.default_rng(0).random((3, 4, 4), dtype=np.float32)
    assert np.array_equal(ensemble.add(heats), heats)


def test_the_heat_maps_taken_in_are_not_written_into() -> None:
    ensemble = Ensemble(np.ones(2, np.float32), stride=1)
    heats = maps(1, 2)
    ensemble.add(heats)
    ensemble.add(heats)
    assert np.array_equal(heats, maps(1, 2))


def test_a_window_without_an_answer_leaves_its_frames_to_the_others() -> None:
    ensemble = Ensemble(np.ones(2, np.float32), stride=1)
    lost = ensemble.skip((2, 2))
    found = ensemble.add(maps(6, 7))
    assert [heat[0, 0] for heat in (*lost, *found, *ensemble.drain())] == [0, 6, 7]
    assert len(ensemble) == 0
