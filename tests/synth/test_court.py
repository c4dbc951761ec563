"""Synthetic rallies: the same from the same seed, labels that lie on the shuttle, a flight that obeys physics."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from sightline.synth.court import Rally
from sightline.synth.court_layers import Layer, behind, lay_over, uncovered
from sightline.synth.court_view import HALF_LENGTH, HALF_WIDTH, view
from sightline.synth.dice import dice
from sightline.synth.shuttle import NET_HEIGHT, STEP_S, TERMINAL_SPEED, Flight, arc, rally_flight
from sightline.types import Image

SEEDS = range(12)


def flights() -> list[Flight]:
    return [rally_flight(dice("test", seed), 20.0) for seed in SEEDS]


class TestClips:
    def test_a_clip_is_so_many_frames_of_the_size_asked_for_with_their_numbers(self) -> None:
        clip = list(Rally(1, frames=3, size_hw=(144, 256)))
        assert len(Rally(1, frames=3)) == len(clip) == 3
        assert all(image.shape == (144, 256, 3) and image.dtype == np.uint8 for image, _ in clip)
        assert [label.frame for _, label in clip] == [0, 1, 2]

    def test_the_same_seed_gives_the_same_pixels_in_any_order(self) -> None:
        forwards = list(Rally(5, frames=6))
        again = Rally(5, frames=6)
        for index in (4, 0, 5):
            image, label = again.frame(index)
            assert np.array_equal(image, forwards[index][0]) and label == forwards[index][1]

    def test_labels_alone_are_the_labels_of_the_frames(self) -> None:
        rally = Rally(3, frames=8, size_hw=(144, 256))
        assert rally.labels == [label for _, label in rally]

    def test_seeds_give_different_halls_and_matches(self) -> None:
        means = {tuple(np.round(Rally(seed, frames=1).frame(0)[0].mean(axis=(0, 1))).tolist()) for seed in range(8)}
        assert len(means) == 8

    def test_a_larger_picture_shows_the_same_match(self) -> None:
        clips = (Rally(8, frames=200, size_hw=size) for size in ((288, 512), (720, 1280)))
        small, large = ([clip.label(index) for index in range(0, 200, 8)] for clip in clips)
        both = [(a, b) for a, b in zip(small, large, strict=True) if a.visible and b.visible]
        assert len(both) >= 10
        for a, b in both:  # pixel centres at whole numbers: (x + 0.5) scales, and the unsteady hand with it
            assert (b.x + 0.5) / 2.5 - 0.5 == pytest.approx(a.x, abs=0.8)
            assert (b.y + 0.5) / 2.5 - 0.5 == pytest.approx(a.y, abs=0.8)

    def test_most_shuttles_are_visible_but_not_all_and_every_label_is_inside(self) -> None:
        clips = [Rally(seed, frames=300, size_hw=(72, 128)) for seed in range(20)]
        labels = [clip.label(index) for clip in clips for index in range(0, 300, 15)]
        seen = [label for label in labels if label.visible]
        assert 0.6 < len(seen) / len(labels) < 0.95
        assert all(-0.5 <= label.x < 127.5 and -0.5 <= label.y < 71.5 for label in seen)

    @pytest.mark.parametrize("wrong", [{"frames": 0}, {"size_hw": (288, 8)}, {"fps": 0.0}])
    def test_an_impossible_clip_is_refused(self, wrong: dict[str, object]) -> None:
        with pytest.raises(ValueError, match="expected 1 or more, 64 or more, above 0"):
            Rally(1, **wrong)  # type: ignore[arg-type]

    @pytest.mark.parametrize("index", [-1, 4])
    def test_a_frame_outside_the_clip_is_refused(self, index: int) -> None:
        with pytest.raises(IndexError, match="of a clip of 4"):
            Rally(1, frames=4).label(index)
        with pytest.raises(IndexError, match="of a clip of 4"):
            Rally(1, frames=4).frame(index)


def without_shuttle(rally: Rally) -> Rally:
    """The same clip on which nobody sees a shuttle: it flies far behind the camera."""
    twin = Rally(rally.seed, frames=rally.frames, size_hw=rally.size_hw, fps=rally.fps)
    flight = rally._flight
    _ = twin._players  # dressed and moved by the true hits
    away = np.array([0.0, -1e3, 0.0])
    legs = tuple(type(leg)(leg.start_s, leg.places + away) for leg in flight.legs)
    twin.__dict__["_flight"] = Flight(legs, flight.hits)
    return twin


def difference(rally: Rally, twin: Rally, index: int) -> Image:
    return cv2.absdiff(rally.frame(index)[0], twin.frame(index)[0]).max(axis=2)


class TestLabels:
    @pytest.mark.parametrize("shake_px", [0.0, 4.0])
    def test_they_lie_in_the_middle_of_what_the_shuttle_changed(self, shake_px: float) -> None:
        """Painted with and without it, the middle of the difference is the label, wherever the difference is clear."""
        distances = []
        for seed in range(5):
            rally = Rally(seed, frames=40)
            twin = without_shuttle(rally)
            for clip in (rally, twin):
                clip.__dict__["_film"] = replace(clip._film, shake_px=shake_px)
            for index in range(0, 40, 6):
                label, changed = rally.label(index), difference(rally, twin, index).astype(float)
                changed[changed < 40] = 0  # compression spreads a little around the shuttle
                if label.visible and changed.sum() > 400:
                    rows, columns = np.mgrid[:288, :512]
                    x, y = (float((axis * changed).sum() / changed.sum()) for axis in (columns, rows))
                    distances.append(math.hypot(x - label.x, y - label.y))
        assert len(distances) > 12
        assert np.median(distances) < 0.5 and np.quantile(distances, 0.9) < 2

    def test_a_frame_without_a_visible_shuttle_shows_hardly_any(self) -> None:
        """Hidden or outside: what is left of it changes far less of the picture than a shuttle in view does."""
        seen, hidden = [], []
        for seed in range(8):
            rally = Rally(seed, frames=240, size_hw=(144, 256))
            twin = without_shuttle(rally)
            for index in range(0, 240, 30):
                changed = float((difference(rally, twin, index) > 40).sum())
                (seen if rally.label(index).visible else hidden).append(changed)
        assert hidden and np.median(hidden) == 0
        assert np.mean(hidden) < 0.25 * np.mean(seen)

    def test_a_player_in_front_hides_it_and_one_behind_does_not(self) -> None:
        rally = Rally(4, frames=30)
        rally.__dict__["_players"] = rally._players[:1]
        player = rally._players[0]
        chest = player.place_at(0.5) + np.array([0, 0, 1.2])
        for y_offset, hidden in ((1.0, True), (-1.0, False)):
            towards = (chest - rally._view.eye) / abs((chest - rally._view.eye)[1])
            leg = type(rally._flight.legs[0])(0.0, np.repeat((chest + y_offset * towards)[None], 400, axis=0))
            rally.__dict__["_flight"] = Flight((leg,), ())
            assert rally.labels[15].visible != hidden

    def test_a_shuttle_above_the_picture_is_not_visible(self) -> None:
        rally = Rally(4, frames=3)
        leg = type(rally._flight.legs[0])(0.0, np.repeat([[0.0, 0.0, 30.0]], 100, axis=0))
        rally.__dict__["_flight"] = Flight((leg,), ())
        assert [label.visible for label in rally.labels] == [False] * 3


class TestFlight:
    def test_a_dropped_shuttle_reaches_its_terminal_speed_and_no_more(self) -> None:
        path = arc(0.0, 0.0, height=40.0, stop_height=0.0)
        speeds = -np.diff(path[:, 1]) / STEP_S
        assert speeds[-1] == pytest.approx(TERMINAL_SPEED, rel=0.02) and speeds.max() < TERMINAL_SPEED * 1.01

    def test_an_arc_is_the_one_the_equations_give_in_steps_a_hundred_times_finer(self) -> None:
        path = arc(60.0, math.radians(20), height=1.0, stop_height=0.5)
        position, velocity = np.array([0.0, 1.0]), 60 * np.array([math.cos(0.349066), math.sin(0.349066)])
        step = STEP_S / 100
        for _ in range(100 * 60):
            drag = 9.81 / TERMINAL_SPEED**2 * np.hypot(*velocity) * velocity
            velocity = velocity + step * (np.array([0, -9.81]) - drag)
            position = position + step * velocity
        assert path[60] == pytest.approx(position, abs=0.25)

    def test_it_comes_down_steeper_than_it_went_up(self) -> None:
        path = arc(50.0, math.radians(45), height=1.0, stop_height=1.0)
        fall = path[-1] - path[-2]
        assert math.degrees(math.atan2(-fall[1], fall[0])) > 65

    def test_every_stroke_clears_the_net_and_ends_on_the_other_side(self) -> None:
        crossed = 0
        for flight in flights():
            for leg, hit in zip([leg for leg in flight.legs if np.ptp(leg.places[:, 1]) > 0], flight.hits, strict=True):
                y, z = leg.places[:, 1], leg.places[:, 2]
                assert y[0] * hit.side > 0 > y[-1] * hit.side
                at_net = np.interp(0.0, *((y, z) if y[-1] > y[0] else (y[::-1], z[::-1])))
                crossed += 1
                assert at_net > NET_HEIGHT
        assert crossed > 100

    def test_strokes_follow_one_another_without_a_jump_and_within_reach(self) -> None:
        for flight in flights():
            for before, after in zip(flight.legs[:-1], flight.legs[1:], strict=True):
                assert after.start_s >= before.end_s - 1e-9
                if after.start_s == before.end_s:
                    assert np.array_equal(before.places[-1], after.places[0])
            assert all(0.0 < hit.place[2] < 3.2 for hit in flight.hits)

    def test_between_rallies_nobody_sees_it(self) -> None:
        flight = rally_flight(dice("test", 3), 60.0)
        states = [flight.place_at(time_s) is None for time_s in np.arange(0, 60, 0.05)]
        assert any(states) and not all(states)

    def test_smashes_are_fast_and_net_shots_are_not(self) -> None:
        speeds = [
            float(np.linalg.norm(leg.places[1] - leg.places[0])) / STEP_S for flight in flights() for leg in flight.legs
        ]
        assert max(speeds) > 60 and min(speed for speed in speeds if speed > 0) < 15


class TestViews:
    @pytest.mark.parametrize("seed", range(20))
    def test_the_whole_court_and_the_air_above_it_is_in_the_picture(self, seed: int) -> None:
        camera = view(dice("test", seed), (288, 512))
        corners = [[x, y, 0] for x in (-HALF_WIDTH, HALF_WIDTH) for y in (-HALF_LENGTH, HALF_LENGTH)]
        centre = camera.project(np.array([[0, 0, 0], [0, 0, 1.5]], float))
        points = camera.project(np.array(corners, float))
        assert ((centre > 0) & (centre < [512, 288])).all() and centre[1, 1] < centre[0, 1]
        assert np.ptp(points[:, 0]) < 1.2 * 512 and points[:, 1].min() > 0
        near, far = (camera.px_per_m(np.array([0, y, 0.0])) for y in (-HALF_LENGTH, HALF_LENGTH))
        assert near > far

    def test_a_view_twice_as_large_sees_the_same(self) -> None:
        camera = view(dice("test", 1), (288, 512))
        place = np.array([[0.3, 2.0, 1.0]])
        assert camera.scaled(2).project(place) == pytest.approx((camera.project(place) + 0.5) * 2 - 0.5)


def square(x: int, y: int, alpha: float, size: int = 4) -> Layer:
    bgra = np.full((size, size, 4), 200 * alpha, np.float32)
    bgra[..., 3] = alpha
    return Layer(x, y, bgra)


class TestLayers:
    def test_half_a_cover_is_half_of_either(self) -> None:
        image = np.full((8, 8, 3), 100, np.uint8)
        lay_over(image, square(2, 2, 0.5))
        assert image[3, 3].tolist() == [150] * 3 and image[1, 1].tolist() == [100] * 3

    @pytest.mark.parametrize(("x", "y", "inside"), [(-2, -2, 4), (6, 6, 4), (-9, 0, 0), (0, 20, 0), (2, 2, 16)])
    def test_only_what_is_in_the_picture_is_laid(self, x: int, y: int, inside: int) -> None:
        image = np.zeros((8, 8, 3), np.uint8)
        lay_over(image, square(x, y, 1.0))
        assert (image[..., 0] > 0).sum() == inside

    def test_what_is_above_takes_away_from_what_is_below(self) -> None:
        free = uncovered(square(0, 0, 1.0), square(2, 2, 0.75))
        assert free.sum() == 16 - 0.75 * 4
        assert uncovered(square(0, 0, 1.0), square(50, 50, 1.0)).sum() == 16
        assert behind(square(0, 0, 1.0), np.full((9, 9), 0.25, np.float32)).bgra[0, 0].tolist() == [150, 150, 150, 0.75]
