"""Rallies that were never played, with the shuttle's place in every frame.

>>> image, label = Rally(7).frame(40)
>>> image.shape
(288, 512, 3)

A seed is a hall, a camera, four or two players and a match; the same seed and size give the same pixels, frame by
frame, in whatever order they are asked for. Like a broadcast, a clip has rallies and the pauses between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sightline.synth.court_crowd import Crowd, crowd
from sightline.synth.court_film import Film, film, noise_tiles
from sightline.synth.court_layers import Layer, behind, lay_over, uncovered
from sightline.synth.court_players import Player, bystanders, player_layer, players, shadow_layer
from sightline.synth.court_scene import Scene, scene
from sightline.synth.court_shuttle import ShuttleLook, shuttle_layer, shuttle_look
from sightline.synth.court_view import View, view
from sightline.synth.dice import between, dice
from sightline.synth.shuttle import Flight, rally_flight
from sightline.types import BallPoint, Image

_SLACK_M = 0.1  # a shuttle so much farther away than a player's feet is still before the player


class Rally:
    """A clip, as a sequence of `(image, label)`: BGR uint8, and where the shuttle is in pixels of it.

    A label is the place in the middle of the exposure, exact below the pixel. The shuttle counts as visible when at
    least half of what it would cover is in the picture and behind nothing. Smear and weak contrast hide nothing: a
    label may be hard to see.
    """

    def __init__(
        self, seed: int, *, frames: int = 300, size_hw: tuple[int, int] = (288, 512), fps: float = 30.0
    ) -> None:
        if frames < 1 or min(size_hw) < 64 or fps <= 0:
            raise ValueError(f"{frames} frames of {size_hw} at {fps} fps; expected 1 or more, 64 or more, above 0")
        self.seed = seed
        self.frames = frames
        self.size_hw = size_hw
        self.fps = fps

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[tuple[Image, BallPoint]]:
        return map(self.frame, range(self.frames))

    @property
    def labels(self) -> list[BallPoint]:
        """Of every frame, without painting one."""
        return [self.label(index) for index in range(self.frames)]

    def label(self, index: int) -> BallPoint:
        return self._composed(self._checked(index))[1]

    def frame(self, index: int) -> tuple[Image, BallPoint]:
        time_s = self._checked(index) / self.fps
        layers, label = self._composed(index)
        image = self._scene.image.copy()
        self._crowd.stir(image, time_s)
        for player in self._players:
            shadow = shadow_layer(player, self._view, time_s, darkness=self._shadow)
            lay_over(image, behind(shadow, self._scene.before_all))
        for layer in layers:
            lay_over(image, layer)
        return self._film.record(image, self._noise, index, time_s), label

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.frames:
            raise IndexError(f"frame {index} of a clip of {self.frames}")
        return index

    def _composed(self, index: int) -> tuple[list[Layer], BallPoint]:
        """What moves, the farthest first, and the label."""
        time_s = index / self.fps
        figures = sorted((self._figure(player, time_s) for player in self._players), key=lambda figure: -figure[0])
        seen = shuttle_layer(self._flight, self._view, time_s, exposure_s=self._exposure_s, look=self._look)
        if seen is None:
            return [layer for _, layer in figures], BallPoint(index, visible=False)
        whole, place = seen
        shuttle = self._behind_net(whole, place[1])
        farther = [layer for y, layer in figures if y > place[1] - _SLACK_M]
        nearer = [layer for y, layer in figures if y <= place[1] - _SLACK_M]
        label = self._label(index, place, _share_left(shuttle, nearer) / float(whole.bgra[..., 3].sum()))
        return [*farther, shuttle, *nearer], label

    def _figure(self, player: Player, time_s: float) -> tuple[float, Layer]:
        """How far along the court the player is, and what is seen of them."""
        y = float(player.place_at(time_s)[1])
        return y, self._behind_net(player_layer(player, self._view, time_s, exposure_s=self._exposure_s), y)

    def _behind_net(self, layer: Layer, y: float) -> Layer:
        return behind(layer, self._scene.before_far if y > 0 else self._scene.before_all)

    def _label(self, index: int, place: NDArray[np.float64], share_seen: float) -> BallPoint:
        height, width = self.size_hw
        x, y = self._view.project(place[None])[0] + self._film.shift_xy(index / self.fps)
        within = -0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5
        if not (within and share_seen >= 0.5):
            return BallPoint(index, visible=False)
        return BallPoint(index, True, float(x), float(y), confidence=1.0)

    # What stays the same throughout the clip

    @cached_property
    def _view(self) -> View:
        return view(dice("court view", self.seed), self.size_hw)

    @cached_property
    def _scene(self) -> Scene:
        empty = scene(dice("court scene", self.seed), self._view)
        for person in bystanders(dice("court bystanders", self.seed)):
            if self._view.depth(person.place_at(0)) > 2:
                figure = player_layer(person, self._view, 0, exposure_s=0)
                lay_over(empty.image, behind(figure, empty.before_far))
        return empty

    @cached_property
    def _flight(self) -> Flight:
        return rally_flight(dice("court flight", self.seed), self.frames / self.fps)

    @cached_property
    def _players(self) -> list[Player]:
        return players(dice("court players", self.seed), self._flight.hits)

    @cached_property
    def _crowd(self) -> Crowd:
        return crowd(dice("court crowd", self.seed), self._scene)

    @cached_property
    def _film(self) -> Film:
        return film(dice("court film", self.seed), self.seed, width=self.size_hw[1])

    @cached_property
    def _noise(self) -> NDArray[np.int16]:
        return noise_tiles(dice("court noise", self.seed), self.size_hw, self._film.noise)

    @cached_property
    def _look(self) -> ShuttleLook:
        return shuttle_look(dice("court shuttle", self.seed))

    @cached_property
    def _exposure_s(self) -> float:
        return between(dice("court exposure", self.seed), 0.1, 0.9) / self.fps

    @cached_property
    def _shadow(self) -> float:
        return between(dice("court shadow", self.seed), 0, 0.45)


def _share_left(shuttle: Layer, nearer: list[Layer]) -> float:
    """How much of it, in pixels, nothing nearer covers."""
    free = shuttle.bgra[..., 3].copy()
    for layer in nearer:
        free *= uncovered(shuttle, layer)
    return float(free.sum())
