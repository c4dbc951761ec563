"""What everything before a camera has in common, so that it can be taken out before people are compared.

Whatever stands before the same wall, in the same light, seen from the same side, looks alike to a network: strangers at
one camera score 0.8, and somebody who comes back at another scores 0.7, so that no threshold on the plain cosine tells
one from the other. Seen from the middle of what a camera shows, strangers lie in all directions and people who come
back in one. That middle is first the look of the empty place, then more and more the mean of the people seen there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.types import FloatArray, Image, IntArray

Floats = NDArray[np.float64]

SHAPE = 0.4  # of a person: width by height
HEIGHTS = (0.3, 0.5, 0.75)  # of the picture's
ROWS, COLUMNS = 3, 6  # places of each height
FEWEST_PLACES = 6  # that show nobody, for their mean to mean anything
PRIOR = 3.0  # people that the look of the empty place counts as
FEWEST_PEOPLE = 3  # whose mean says something of a place that nobody saw empty
MOST_PEOPLE = 500  # of a camera; more would not move their mean
GRAINS = 2.0**40  # to one: vectors are added up in whole numbers, so that their order changes nothing


def empty_places(image: Image, boxes: FloatArray) -> list[Image]:
    """What somebody would be cut out of the picture as, at places where nobody is. Views."""
    return [
        image[top:bottom, left:right]
        for left, top, right, bottom in _places(image.shape[:2])
        if _is_free((left, top, right, bottom), boxes)
    ]


def _places(size_hw: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    height, width = size_hw
    for share in HEIGHTS:
        tall, wide = min(height, max(8, int(share * height))), min(width, max(8, int(share * height * SHAPE)))
        for top in _spread(height - tall, ROWS):
            for left in _spread(width - wide, COLUMNS):
                yield left, top, left + wide, top + tall


def _spread(room: int, count: int) -> list[int]:
    """So many places of one side, from 0 to all the room there is; fewer where they would be the same."""
    return sorted(set(np.linspace(0, room, count).astype(int).tolist()))


def _is_free(place: tuple[int, int, int, int], boxes: FloatArray) -> bool:
    if not len(boxes):
        return True
    low, high = np.maximum(boxes[:, :2], place[:2]), np.minimum(boxes[:, 2:], place[2:])
    return not (high > low).all(axis=1).any()


def seen_from(centre: FloatArray | Floats | None, vectors: FloatArray | Floats) -> FloatArray:
    """Unit vectors (N, D) from the centre (D,) to these; one that lies there is zeros. NaN rows stay so."""
    return np.asarray(_directions(centre, vectors), np.float32)


def _directions(centre: FloatArray | Floats | None, vectors: FloatArray | Floats) -> Floats:
    moved = np.asarray(vectors if centre is None else vectors - centre, np.float64)
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(moved / np.where(lengths > 1e-6, lengths, np.inf))


class Scenery:
    """The middle of what each camera shows, as far as its empty place and the people seen there are known.

    The answers depend on what was told, and to the last bit not on the order: whoever goes over a visit again gets the
    same numbers.
    """

    def __init__(self, empty: Mapping[str, FloatArray | Floats] | None = None) -> None:
        self._empty = {camera: np.asarray(vector, np.float64) for camera, vector in (empty or {}).items()}
        self._people: dict[str, _Crowd] = {}
        self._middles: dict[str, Floats | None] = {}  # those asked for since something was told

    def tell_empty(self, camera: str, vector: FloatArray | None) -> None:
        """How the place looks without anybody, (D,); None where nobody knows."""
        if vector is not None and not np.array_equal(vector, self._empty.get(camera, ())):
            self._empty[camera] = np.asarray(vector, np.float64)
            self._middles.clear()

    def tell_person(self, camera: str, identity: str, entry_id: str, vector: FloatArray) -> None:
        """Somebody was seen there. Only their first visit counts, or whoever comes often would become the middle."""
        crowd = self._people.setdefault(camera, _Crowd.of_nobody(len(vector)))
        if identity not in crowd.entries and len(crowd.entries) < MOST_PEOPLE:
            self._people[camera] = crowd.plus(identity, entry_id, vector)
            self._middles.clear()

    def without(self, camera: str, entry_id: str, vector: FloatArray) -> Scenery:
        """As it is without what that entry, of that vector, has added to it."""
        crowd = self._people.get(camera)
        if crowd is None or entry_id not in crowd.entries.values():
            return self
        other = Scenery(self._empty)
        other._people = {**self._people, camera: crowd.minus(entry_id, vector)}
        return other

    @property
    def is_known(self) -> bool:
        """Whether there is a middle, if only a guess: either no camera has one or all have."""
        crowds = [crowd.entries for crowd in self._people.values()]
        if self._empty or any(len(crowd) >= FEWEST_PEOPLE for crowd in crowds):
            return True
        return len(set[str]().union(*crowds)) >= FEWEST_PEOPLE

    def centre(self, camera: str) -> Floats | None:
        """(D,), or None while nothing is known."""
        if camera not in self._middles:
            self._middles[camera] = self._middle(camera) if self.is_known else None
        return self._middles[camera]

    def _middle(self, camera: str) -> Floats:
        prior, crowd = self._prior(camera), self._people.get(camera)
        return prior if crowd is None else (PRIOR * prior + crowd.sum) / (PRIOR + len(crowd.entries))

    def _prior(self, camera: str) -> Floats:
        """The empty place; where nobody knows it, what other places look like, else everybody there is."""
        if camera in self._empty:
            return self._empty[camera]
        if self._empty:
            return np.asarray(np.mean([self._empty[name] for name in sorted(self._empty)], axis=0))
        crowds = self._people.values()
        grains: IntArray = np.sum([crowd.grains for crowd in crowds], axis=0)
        return np.asarray(grains / GRAINS / sum(len(crowd.entries) for crowd in crowds))

    def directions(self, cameras: Sequence[str], vectors: FloatArray | Floats) -> Floats:
        """Unit vectors (N, D), each from the middle of what its camera shows; the likeness of two is their product.

        What lies in the middle is zeros. Where nothing is known they are the vectors themselves.
        """
        if not self.is_known:
            return _directions(None, vectors)
        centres = np.array([self.centre(camera) for camera in cameras]).reshape(len(cameras), -1)
        return _directions(centres, vectors)


@dataclass(frozen=True, eq=False)
class _Crowd:
    """The people of one camera."""

    grains: IntArray  # (D,) the sum of their vectors
    entries: Mapping[str, str]  # by identity, that of their first visit

    @classmethod
    def of_nobody(cls, dim: int) -> _Crowd:
        return cls(np.zeros(dim, np.int64), {})

    @property
    def sum(self) -> Floats:
        return np.asarray(self.grains / GRAINS)

    def plus(self, identity: str, entry_id: str, vector: FloatArray) -> _Crowd:
        return _Crowd(self.grains + _in_grains(vector), {**self.entries, identity: entry_id})

    def minus(self, entry_id: str, vector: FloatArray) -> _Crowd:
        left = {identity: entry for identity, entry in self.entries.items() if entry != entry_id}
        return _Crowd(self.grains - _in_grains(vector), left)


def _in_grains(vector: FloatArray) -> IntArray:
    return np.rint(np.asarray(vector, np.float64) * GRAINS).astype(np.int64)
