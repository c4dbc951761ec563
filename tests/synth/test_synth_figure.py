from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sightline.synth.body import Pose, joints
from sightline.synth.figure import Identity, person, tubes_of
from sightline.synth.tubes import FlatTube, Light, Tube, draw_tubes
from sightline.synth.viewpoint import Viewpoint, look_at, place
from sightline.types import FloatArray

EVEN = Light(direction=(0.0, 0.0, 1.0), ambient=1.0, direct=0.0)
BACK, FRONT, LEFTWARD, RIGHTWARD = np.pi, 0.0, -np.pi / 2, np.pi / 2
GREEN = np.array([0, 9, 0], np.float32)  # brighter than any cloth or shading


def standing(heading: float) -> Pose:
    return Pose(heading, phase=0.0, stride=0.05, arms=("hanging", "hanging"), lean=0.0, look=0.0, spread=0.1)


def wearer_of(bag: str) -> Identity:
    return next(who for who in map(person, range(200)) if who.outfit.bag.kind == bag and who.outfit.hair == "short")


def drawn(who: Identity, heading: float) -> FloatArray:
    seen = look_at(tubes_of(who, standing(heading)), Viewpoint(1.2, 10, 0), heading=heading)
    canvas = np.zeros((256, 128, 3), np.float32)
    draw_tubes(canvas, place(seen, (-0.5, -1.0, 0.5, 1.5), size_hw=(256, 128)), light=EVEN, fold_xy=(0, 0))
    return canvas


def green_pixels(who: Identity, heading: float) -> int:
    return int((drawn(who, heading)[..., 1] > 3).sum())


def test_a_backpack_is_seen_from_behind_and_not_from_the_front() -> None:
    who = wearer_of("backpack")
    marked = replace(who, skins=replace(who.skins, bag=np.broadcast_to(GREEN, (32, 64, 3)).copy()))
    assert green_pixels(marked, BACK) > 500
    assert green_pixels(marked, FRONT) < green_pixels(marked, BACK) / 10


def test_a_print_on_the_chest_is_seen_from_the_front_only() -> None:
    who = wearer_of("none")
    torso = who.skins.torso.copy()
    torso[20:40, 54:74] = GREEN  # the middle column is the front
    marked = replace(who, skins=replace(who.skins, torso=torso))
    assert green_pixels(marked, FRONT) > 100
    assert green_pixels(marked, BACK) == 0


def test_what_hangs_on_the_left_is_hidden_when_the_person_walks_to_the_right() -> None:
    who = wearer_of("none")
    torso = who.skins.torso.copy()
    torso[50:70, 90:102] = GREEN  # the middle of the right half is the left side
    bare = [tube for tube in tubes_of(who, standing(0.0)) if tube.skin is who.skins.torso]
    counts = {}
    for heading in (LEFTWARD, RIGHTWARD):
        seen = look_at([replace(tube, skin=torso) for tube in bare], Viewpoint(1.2, 10, 0), heading=heading)
        canvas = np.zeros((256, 128, 3), np.float32)
        draw_tubes(canvas, place(seen, (-0.5, -1.0, 0.5, 1.5), size_hw=(256, 128)), light=EVEN, fold_xy=(0, 0))
        counts[heading] = int((canvas[..., 1] > 3).sum())
    assert counts[LEFTWARD] > 50
    assert counts[RIGHTWARD] == 0


def test_a_bag_at_the_side_changes_sides_when_the_person_turns_round() -> None:
    who = wearer_of("shoulder")
    marked = replace(who, skins=replace(who.skins, bag=np.broadcast_to(GREEN, (32, 64, 3)).copy()))
    front, back = (np.nonzero(drawn(marked, heading)[..., 1] > 3)[1].mean() - 64 for heading in (FRONT, BACK))
    assert front * back < 0
    assert (front > 0) == who.outfit.bag.left  # the left of somebody who faces us is on our right


def test_a_tube_is_as_wide_and_long_as_its_radius_and_ends_say() -> None:
    canvas = np.zeros((100, 60, 3), np.float32)
    tube = Tube(np.zeros(3), np.zeros(3), np.full(4, 8, np.float32), np.ones(3, np.float32), folds=0.0)
    flat = FlatTube(tube, np.array([30.0, 20.0]), np.array([30.0, 80.0]), 1.0, 0.0, 0.0)
    draw_tubes(canvas, [flat], light=EVEN, fold_xy=(0, 0))
    covered = canvas[..., 0] > 0.25
    assert np.flatnonzero(covered[50]).tolist() == list(range(22, 38))
    column = np.flatnonzero(covered[:, 30])
    assert (column[0], column[-1]) == (12, 87)  # 20 and 80, each with a round end of 8


def test_an_oval_tube_is_as_deep_from_the_side_as_its_depth_says() -> None:
    widths = {}
    for heading in (FRONT, RIGHTWARD):
        canvas = np.zeros((60, 60, 3), np.float32)
        tube = Tube(np.zeros(3), np.zeros(3), np.full(4, 20, np.float32), np.ones(3, np.float32), depth_ratio=0.5)
        draw_tubes(
            canvas,
            [FlatTube(tube, np.array([30.0, 10.0]), np.array([30.0, 50.0]), 1.0, heading, 0.0)],
            light=EVEN,
            fold_xy=(0, 0),
        )
        widths[heading] = int((canvas[30, :, 0] > 0.25).sum())
    assert widths == {FRONT: 40, RIGHTWARD: 20}


def test_the_nearer_tube_covers_the_further_one_whatever_the_order() -> None:
    def painted(red: float, depth: float) -> FlatTube:
        skin = np.array([0, 0, red], np.float32)
        tube = Tube(np.zeros(3), np.zeros(3), np.full(4, 9, np.float32), skin, folds=0.0)
        return FlatTube(tube, np.array([20.0, 10.0]), np.array([20.0, 30.0]), 1.0, 0.0, depth)

    for tubes in ([painted(1.0, 1), painted(0.5, 2)], [painted(0.5, 2), painted(1.0, 1)]):
        canvas = np.zeros((40, 40, 3), np.float32)
        draw_tubes(canvas, tubes, light=EVEN, fold_xy=(0, 0))
        assert canvas[20, 20, 2] == pytest.approx(1.0, abs=0.01)


def test_a_viewpoint_keeps_sizes_at_the_persons_distance_and_shrinks_what_is_behind() -> None:
    view = Viewpoint(height=0.9, distance=10.0, roll=0.0)  # level with what it looks at
    points = np.array([[0.0, 0.9, 0.0], [0.5, 0.9, 0.0], [0.5, 0.9, -10.0]])
    seen, depths = view.project(points, heading=0.0)
    np.testing.assert_allclose(seen, [[0, 0], [0.5, 0], [0.25, 0]], atol=1e-9)
    np.testing.assert_allclose(depths, [10, 10, 20])


def test_somebody_heading_right_points_to_the_right_of_the_picture() -> None:
    ahead, _ = Viewpoint(0.9, 10.0, 0.0).project(np.array([[0.0, 0.9, 1.0]]), heading=RIGHTWARD)
    np.testing.assert_allclose(ahead, [[1, 0]], atol=1e-9)


@pytest.mark.parametrize("phase", np.linspace(0, 2 * np.pi, 7))
def test_bones_keep_their_lengths_through_the_walk_and_a_foot_stays_on_the_ground(phase: float) -> None:
    shape = person(5).build
    still = joints(shape, standing(0.0))
    walking = joints(shape, replace(standing(0.0), phase=float(phase), stride=0.5))
    for start, end in (("left hip", "left knee"), ("right knee", "right ankle")):
        assert np.linalg.norm(walking[end] - walking[start]) == pytest.approx(np.linalg.norm(still[end] - still[start]))
    lowest = min(walking["left ankle"][1], walking["right ankle"][1])
    assert lowest == pytest.approx(0.05 * shape.height)
