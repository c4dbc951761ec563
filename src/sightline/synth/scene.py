"""People in a street, before one to four cameras, with everything about them known.

>>> scene = Scene(7, people=8, cameras=2, frames=600)
>>> for image, boxes in scene.camera(0): ...
>>> scene.ground_truth(0).ids

They walk, cross, stand, hide each other and are hidden, leave the picture and come back, to the same camera or to the
next. No place is seen by two cameras: nobody is in two pictures at once. The same seed gives the same pixels, and
person 3 does not depend on how many others there are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sightline.errors import ConfigError
from sightline.synth.dice import dice, fresh_seed
from sightline.synth.figure import Identity, person
from sightline.synth.scene_camera import SceneBox, StreetCamera
from sightline.synth.scene_walks import Walk, walk
from sightline.tracking.mot_files import PEDESTRIAN, MotRows, mot_rows
from sightline.types import Image

__all__ = ["Scene", "SceneBox"]

_MOST_PEOPLE = 200  # each has a mark of one byte, and the furniture has one too
_MOST_CAMERAS = 4
_SMALLEST_HW = (90, 120)


class Scene:
    """Nothing is drawn before it is asked for, and each camera may be asked again, alone and in any order."""

    def __init__(
        self,
        seed: int,
        *,
        people: int = 8,
        cameras: int = 2,
        frames: int = 600,
        size_hw: tuple[int, int] = (360, 640),
        fps: float = 25,
    ) -> None:
        """Raises `ConfigError` for numbers that make no scene."""
        _require(1 <= people <= _MOST_PEOPLE, f"people is {people}; expected 1 to {_MOST_PEOPLE}")
        _require(1 <= cameras <= _MOST_CAMERAS, f"cameras is {cameras}; expected 1 to {_MOST_CAMERAS}")
        _require(frames >= 1, f"frames is {frames}; expected 1 or more")
        _require(1 <= fps <= 1000, f"fps is {fps}; expected 1 to 1000")
        large = size_hw[0] >= _SMALLEST_HW[0] and size_hw[1] >= _SMALLEST_HW[1]
        _require(large, f"size is {size_hw[0]}x{size_hw[1]}; expected at least 90x120 (height x width)")
        self.seed, self.cameras, self.frames, self.size_hw, self.fps = seed, cameras, frames, size_hw, fps
        self._people = [_person(seed, number) for number in range(1, people + 1)]
        self._walks = [self._walk(number) for number in range(1, people + 1)]

    def camera(self, number: int) -> Iterator[tuple[Image, list[SceneBox]]]:
        """Frame by frame the BGR picture of camera `number`, from 0, and everybody in it, by person."""
        return self._camera(number).pictures()

    def ground_truth(self, number: int, *, least_visible: float = 0.1) -> MotRows:
        """The boxes of camera `number` as a MOT file has them; ids are persons.

        Of whom less than `least_visible` is seen is marked as not to be scored.
        """
        boxes = [(frame, box) for frame, boxes in enumerate(self._camera(number).boxes(), 1) for box in boxes]
        shares = np.array([box.visible_share for _, box in boxes])
        return mot_rows(
            np.array([frame for frame, _ in boxes], np.int64),
            np.array([box.person for _, box in boxes], np.int64),
            np.array([box.box_xyxy for _, box in boxes], np.float64),
            confidences=np.where(shares >= least_visible, 1.0, 0.0),
            classes=np.full(len(boxes), PEDESTRIAN),
            visible_shares=shares,
        )

    def _camera(self, number: int) -> StreetCamera:
        _require(0 <= number < self.cameras, f"no camera {number}; this scene has 0 to {self.cameras - 1}")
        return StreetCamera(
            self.seed, number, people=self._people, walks=self._walks, size_hw=self.size_hw, fps=self.fps
        )

    def _walk(self, number: int) -> Walk:
        return walk(self.seed, number, cameras=self.cameras, frames=self.frames, fps=self.fps)


def _person(seed: int, number: int) -> Identity:
    return person(fresh_seed(dice("street person", seed, number)))


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise ConfigError(what)
