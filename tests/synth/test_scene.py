"""The street: that what is said about everybody in it is what can be seen."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightline.errors import ConfigError
from sightline.synth.figure import person
from sightline.synth.scene import Scene, SceneBox
from sightline.synth.scene_sprites import Sprite, Wardrobe
from sightline.synth.scene_walks import HALF_PATH, SPACING, walk
from sightline.synth.tubes import Light
from sightline.tracking.evaluation import evaluate
from sightline.tracking.mot_files import MotRows, read_mot, write_mot
from sightline.types import Image

SMALL = (180, 320)


@pytest.fixture(scope="module")
def busy() -> Scene:
    return Scene(3, people=14, cameras=2, frames=60, size_hw=SMALL, fps=10)


@pytest.fixture(scope="module")
def film(busy: Scene) -> list[tuple[Image, list[SceneBox]]]:
    return list(busy.camera(0))


@pytest.fixture(scope="module")
def truth() -> list[MotRows]:
    """A minute and a half of four cameras."""
    scene = Scene(5, people=10, cameras=4, frames=180, size_hw=(90, 160), fps=2)
    return [scene.ground_truth(number, least_visible=0) for number in range(4)]


def stays(rows: MotRows, person: int) -> list[tuple[int, int]]:
    """First and last frame of each time somebody was in the picture."""
    frames = rows.frames[rows.ids == person]
    cuts = np.flatnonzero(np.diff(frames) > 1)
    firsts, lasts = np.concatenate([[0], cuts + 1]), np.concatenate([cuts, [len(frames) - 1]])
    return [*zip(frames[firsts].tolist(), frames[lasts].tolist(), strict=True)]


class TestPictures:
    def test_frames_of_the_size_that_was_asked_for(self, film: list[tuple[Image, list[SceneBox]]]) -> None:
        assert len(film) == 60
        assert {image.shape for image, _ in film} == {(180, 320, 3)} and {image.dtype.name for image, _ in film} == {
            "uint8"
        }

    def test_whoever_is_seen_changes_the_picture_where_the_box_is_and_nowhere_else(self) -> None:
        """The same street with one person and without: the difference, shadow and noise apart, is the person."""
        alone = Scene(11, people=1, cameras=1, frames=50, size_hw=SMALL, fps=5)
        seen = [(image.astype(int), boxes) for image, boxes in alone.camera(0)]
        empty = np.median([image for image, boxes in seen if not boxes], axis=0)
        fits = []
        for image, boxes in seen:
            for box in boxes:
                x0, y0, x1, y1 = map(int, box.box_xyxy)
                changed = np.abs(image - empty).max(axis=2) > 40
                if box.visible_share > 0.9:
                    fits.append(changed[y0:y1, x0:x1].mean() / max(changed.mean(), 1e-9))
                    assert changed[: max(0, y0 - 3)].mean() < 0.01
        assert len(fits) >= 5 and np.median(fits) > 8

    def test_the_same_seed_gives_the_same_pixels_and_another_seed_others(self) -> None:
        def first(seed: int) -> Image:
            return next(iter(Scene(seed, people=3, cameras=1, frames=2, size_hw=SMALL).camera(0)))[0]

        assert np.array_equal(first(1), first(1)) and not np.array_equal(first(1), first(2))

    def test_a_camera_may_be_asked_again_and_out_of_turn(
        self, busy: Scene, film: list[tuple[Image, list[SceneBox]]]
    ) -> None:
        next(iter(busy.camera(1)))
        image, boxes = next(iter(busy.camera(0)))
        assert np.array_equal(image, film[0][0]) and boxes == film[0][1]

    def test_cameras_differ_in_place_and_colour(self, busy: Scene, film: list[tuple[Image, list[SceneBox]]]) -> None:
        other = next(iter(busy.camera(1)))[0]
        assert np.abs(other.mean(axis=(0, 1)) - film[0][0].mean(axis=(0, 1))).max() > 3


class TestBoxes:
    def test_ground_truth_is_the_boxes_of_the_pictures(
        self, busy: Scene, film: list[tuple[Image, list[SceneBox]]]
    ) -> None:
        rows = busy.ground_truth(0)
        expected = [(frame, box) for frame, (_, boxes) in enumerate(film, 1) for box in boxes]
        assert [*zip(rows.frames.tolist(), rows.ids.tolist(), strict=True)] == [(f, box.person) for f, box in expected]
        assert rows.boxes_xyxy.tolist() == [list(box.box_xyxy) for _, box in expected]
        assert rows.visible_shares.tolist() == [box.visible_share for _, box in expected]
        assert np.array_equal(rows.confidences == 1, rows.visible_shares >= 0.1)

    def test_boxes_are_inside_the_picture_and_shares_are_shares(self, film: list[tuple[Image, list[SceneBox]]]) -> None:
        boxes = [box for _, boxes in film for box in boxes]
        corners = np.array([box.box_xyxy for box in boxes])
        assert corners.min() >= 0 and corners[:, 2].max() <= 320 and corners[:, 3].max() <= 180
        assert (corners[:, 2:] > corners[:, :2]).all()
        shares = np.array([box.visible_share for box in boxes])
        assert shares.min() >= 0 and shares.max() <= 1

    def test_who_is_alone_in_the_open_is_seen_whole(self, film: list[tuple[Image, list[SceneBox]]]) -> None:
        shares = [box.visible_share for _, boxes in film for box in boxes]
        assert np.mean(np.array(shares) == 1.0) > 0.2

    def test_who_walks_behind_somebody_is_seen_less(self, film: list[tuple[Image, list[SceneBox]]]) -> None:
        """Two boxes that overlap by half hide something of the one whose feet are higher in the picture."""
        hidden = []
        for _, boxes in film:
            for one in boxes:
                for other in boxes:
                    if other.box_xyxy[3] > one.box_xyxy[3] + 2 and shared(one, other) > 0.5:
                        hidden.append(one.visible_share)
        assert len(hidden) > 3 and max(hidden) < 1

    def test_written_and_read_back_it_scores_one_against_itself(self, busy: Scene, tmp_path: Path) -> None:
        rows = busy.ground_truth(1)
        figures = evaluate(rows, read_mot(write_mot(tmp_path / "gt.txt", rows))).figures()
        assert (
            figures["MOTA"] == 1 - figures["FP"] / figures["boxes"]
        )  # the hidden, which are not scored, are all there is
        assert figures["IDSW"] == figures["FN"] == 0


def shared(one: SceneBox, other: SceneBox) -> float:
    """How much of the first box the second covers."""
    (a0, b0, a1, b1), (c0, d0, c1, d1) = one.box_xyxy, other.box_xyxy
    wide, tall = min(a1, c1) - max(a0, c0), min(b1, d1) - max(b0, d0)
    return max(wide, 0) * max(tall, 0) / ((a1 - a0) * (b1 - b0))


class TestPeople:
    def test_nobody_is_before_two_cameras_at_once(self, truth: list[MotRows]) -> None:
        seen = [
            (frame, who) for rows in truth for frame, who in zip(rows.frames.tolist(), rows.ids.tolist(), strict=True)
        ]
        assert len(seen) == len(set(seen))

    def test_people_leave_and_come_back_to_the_same_camera_and_to_others(self, truth: list[MotRows]) -> None:
        people = range(1, 11)
        again = [who for rows in truth for who in people if who in rows.ids and len(stays(rows, who)) > 1]
        cameras = [sum(who in rows.ids for rows in truth) for who in people]
        assert len(again) >= 5 and max(cameras) >= 3 and min(cameras) >= 1

    def test_they_come_and_go_over_the_edges_of_the_picture(self) -> None:
        """At 12 frames a second nobody walks further than 4 of 160 columns between two frames."""
        scene = Scene(5, people=6, cameras=2, frames=180, size_hw=(90, 160), fps=12)
        edges = []
        for rows in (scene.ground_truth(number, least_visible=0) for number in range(2)):
            for who in set(rows.ids.tolist()):
                ends = {frame for stay in stays(rows, who) for frame in stay} - {1, 180}
                edges += rows.boxes_xyxy[(rows.ids == who) & np.isin(rows.frames, [*ends])].tolist()
        assert len(edges) > 5
        assert all(left <= 5 or right >= 155 for left, _, right, _ in edges)

    def test_a_person_does_not_depend_on_how_many_there_are(self) -> None:
        few, many = (Scene(9, people=count, cameras=2, frames=40, size_hw=SMALL, fps=4) for count in (2, 5))
        rows = [scene.ground_truth(0) for scene in (few, many)]
        for who in (1, 2):
            boxes = [clip.boxes_xyxy[clip.ids == who] for clip in rows]
            assert np.array_equal(*boxes)

    def test_they_keep_to_the_street_and_walk_as_people_do(self) -> None:
        paths = [walk(4, who, cameras=3, frames=3000, fps=25) for who in range(6)]
        xy = np.stack([path.xy for path in paths])
        assert np.abs(xy[..., 1]).max() <= HALF_PATH
        assert xy[..., 0].min() >= -SPACING / 2 and xy[..., 0].max() <= 2.5 * SPACING
        speed = np.hypot(*np.moveaxis(np.diff(xy, axis=1), 2, 0)) * 25
        assert speed.max() < 2.2 and 0.8 < np.median(speed[speed > 0.1]) < 1.9
        turns = np.abs(np.diff(np.stack([path.facing for path in paths]), axis=1))
        assert turns.max() < 0.5  # radians from one frame to the next

    def test_they_look_where_they_go(self) -> None:
        path = walk(4, 1, cameras=2, frames=1000, fps=25)
        for first, last in pairwise(range(0, 1000, 50)):
            step = path.xy[last] - path.xy[first]
            steady = np.ptp(path.facing[first : last + 1]) < 1e-6
            if steady and np.hypot(*step) > 0.5:
                assert np.cos(path.facing[first] - np.arctan2(step[1], step[0])) > 0.999

    @pytest.mark.parametrize("camera", [0, 1])
    def test_figures_turn_the_way_they_move_in_the_picture(self, monkeypatch: pytest.MonkeyPatch, camera: int) -> None:
        headings: list[float] = []
        draw = Wardrobe.sprite

        def noting(self: Wardrobe, person: int, *, heading: float, **how: Any) -> Sprite:
            headings.append(heading)
            return draw(self, person, heading=heading, **how)

        monkeypatch.setattr(Wardrobe, "sprite", noting)
        seen = []
        for _, boxes in Scene(11, people=1, cameras=2, frames=400, size_hw=(90, 160), fps=5).camera(camera):
            inside = [box.box_xyxy for box in boxes if box.box_xyxy[0] > 0 and box.box_xyxy[2] < 160]
            seen.append((sum(inside[0][::2]) / 2, headings[-1]) if inside else None)
        moves = [(b[0] - a[0], np.sin(a[1])) for a, b in pairwise(seen) if a and b and abs(np.sin(a[1])) > 0.5]
        right = [np.sign(dx) == np.sign(turn) for dx, turn in moves if abs(dx) > 1]
        assert len(right) > 10 and np.mean(right) > 0.95


class TestDrawings:
    def test_they_are_kept_within_bounds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sightline.synth.scene_sprites._KEPT_BYTES", 1000)
        picture = np.zeros((10, 10, 4), np.uint8)  # 400 bytes
        drawn: list[tuple[object, ...]] = []

        def draw(self: Wardrobe, *key: object) -> Sprite:
            drawn.append(key)
            return Sprite(picture, (5, 9), 10)

        monkeypatch.setattr(Wardrobe, "_drawn", draw)
        light = Light((0.0, -0.7, 0.7), 0.8, 0.3)
        wardrobe = Wardrobe([person(1)], eye_m=3.5, focal_px=320, light=light, tint=np.ones(3, np.float32))
        for heading in (0.0, 1.0, 0.0, 2.0, 0.0, 1.0):
            wardrobe.sprite(0, heading=heading, phase=0.0, walking=True, distance_m=7)
        assert [key[1] for key in drawn] == [0, 4, 8, 4]  # the second goes for the third, the first was asked for since


class TestWrongNumbers:
    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"people": 0}, "people is 0; expected 1 to 200"),
            ({"people": 201}, "people is 201"),
            ({"cameras": 0}, "cameras is 0; expected 1 to 4"),
            ({"cameras": 5}, "cameras is 5"),
            ({"frames": 0}, "frames is 0"),
            ({"fps": 0}, "fps is 0"),
            ({"fps": float("nan")}, "fps is nan"),
            ({"size_hw": (40, 640)}, "size is 40x640; expected at least 90x120"),
        ],
    )
    def test_are_one_line(self, options: dict[str, object], told: str) -> None:
        with pytest.raises(ConfigError, match=told):
            Scene(1, **options)

    @pytest.mark.parametrize("number", [-1, 2])
    def test_a_camera_that_is_not_there(self, number: int) -> None:
        with pytest.raises(ConfigError, match=f"no camera {number}; this scene has 0 to 1"):
            Scene(1, people=1, frames=1).camera(number)

    @pytest.mark.parametrize("size_hw", [(90, 120), (361, 203), (240, 241)])
    def test_odd_sizes_and_one_frame_are_fine(self, size_hw: tuple[int, int]) -> None:
        ((image, _),) = Scene(2, people=2, cameras=1, frames=1, size_hw=size_hw).camera(0)
        assert image.shape == (*size_hw, 3)
        assert cv2.Laplacian(image, cv2.CV_64F).std() > 1  # there is something to see
