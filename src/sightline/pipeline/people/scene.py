"""What everything before a camera has in common, so that it can be taken out before people are compared.

Whatever stands before the same wall, in the same light, seen from the same side, looks alike to a network: strangers at
one camera score 0.8, and somebody who comes back at another scores 0.7, so that no threshold on the plain cosine tells
one from the other. Seen from the middle of what a camera shows, strangers lie in all directions and people who come
back in one. That middle is first the look of the empty place, then more and more the mean of the people seen there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.types import FloatArray, Image

Floats = NDArray[np.float64]

SHAPE = 0.4  # of a person: width by height
HEIGHTS = (0.3, 0.5, 0.75)  # of the picture's
ROWS, COLUMNS = 3, 6  # places of each height
FEWEST_PLACES = 6  # that show nobody, for their mean to mean anything
PRIOR = 3.0  # people that the look of the empty place counts as
FEWEST_PEOPLE = 3  # whose mean says something of a place that nobody saw empty
MOST_PEOPLE = 200  # the last of a camera; more would hardly move their mean
# Cosine, seen from the empty place: before one camera strangers seldom reach it, and visits of one person mostly do.
# Were it lower, strangers would count too little, and the middle would stay where it began.
ALIKE = 0.7


def empty_places(image: Image, boxes: FloatArray) -> list[Image]:
    """What somebody would be cut out of the picture as, at places where nobody is. Views."""
    return [
        image[top:bottom, left:right]
        for left, top, right, bottom in dict.fromkeys(_places(image.shape[:2]))
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

    What was told decides, to the last bit, and not in which order: whoever goes over a visit again gets the same
    numbers. Only where many people come does the order matter, for the last ones count.
    """

    def __init__(self, empty: Mapping[str, FloatArray | Floats] | None = None) -> None:
        self._empty = {camera: np.asarray(vector, np.float64) for camera, vector in (empty or {}).items()}
        self._people: defaultdict[str, dict[str, _First]] = defaultdict(dict)  # by camera, by identity
        self._known: dict[str, Floats | None] = {}  # middles that were asked for since something was told

    def tell_empty(self, camera: str, vector: FloatArray | None) -> None:
        """How the place looks without anybody, (D,); None where nobody knows."""
        if vector is not None and not np.array_equal(vector, self._empty.get(camera, ())):
            self._empty[camera] = np.asarray(vector, np.float64)
            self._known.clear()

    def tell_person(self, camera: str, identity: str, entry_id: str, vector: FloatArray) -> None:
        """Somebody was seen there. Only their first visit counts, or whoever comes often would become the middle."""
        people = self._people[camera]
        if identity not in people:
            people[identity] = _First(entry_id, vector)
            if len(people) > MOST_PEOPLE:
                del people[next(iter(people))]
            self._known.clear()

    def without(self, camera: str, entry_id: str) -> Scenery:
        """As it is without what that entry has added to it."""
        other = Scenery(self._empty)
        other._people.update(self._people)
        people = self._people.get(camera, {})
        other._people[camera] = {name: first for name, first in people.items() if first.entry_id != entry_id}
        return other

    @property
    def is_known(self) -> bool:
        """Whether there is a middle, if only a guess: either no camera has one or all have."""
        return self.centre("") is not None

    def centre(self, camera: str) -> Floats | None:
        """(D,), or None while nothing is known."""
        if camera not in self._known:
            prior = self._prior(camera)
            self._known[camera] = None if prior is None else self._middle(prior, self._people.get(camera, {}).values())
        return self._known[camera]

    def _prior(self, camera: str) -> Floats | None:
        """The empty place; where nobody knows it, what other places look like, else everybody there is."""
        if camera in self._empty:
            return self._empty[camera]
        if self._empty:
            return np.asarray(np.mean([self._empty[name] for name in sorted(self._empty)], axis=0))
        everybody = {name: first for _, people in sorted(self._people.items()) for name, first in people.items()}
        mean, count = _mean(everybody.values(), seen_from=None)
        return mean if count > FEWEST_PEOPLE - 0.5 else None

    def _middle(self, prior: Floats, people: Collection[_First]) -> Floats:
        mean, count = _mean(people, seen_from=prior)
        return (PRIOR * prior + count * mean) / (PRIOR + count)

    def directions(self, cameras: Sequence[str], vectors: FloatArray | Floats) -> Floats:
        """Unit vectors (N, D), each from the middle of what its camera shows; the likeness of two is their product.

        What lies in the middle is zeros. Where nothing is known they are the vectors themselves.
        """
        centres = [self.centre(camera) for camera in cameras]
        known = [centre for centre in centres if centre is not None]
        return _directions(np.stack(known) if known else None, vectors)


@dataclass(frozen=True, eq=False)
class _First:
    """The first visit of somebody to a camera."""

    entry_id: str
    vector: FloatArray  # (D,)


def _mean(people: Collection[_First], *, seen_from: Floats | None) -> tuple[Floats, float]:
    """Their mean (D,), and how many they are, where those who look alike from that place count as one together.

    For they may be one, whom the gallery has under several names. Each of these would else draw the middle nearer,
    from where that person looks less like themselves, and is given yet another name.
    """
    if not people:
        return np.zeros(()), 0.0
    vectors = np.stack([one.vector for one in sorted(people, key=lambda one: one.entry_id)]).astype(np.float64)
    directions = _directions(seen_from, vectors)
    weights = 1 / np.maximum((directions @ directions.T >= ALIKE).sum(axis=1), 1)
    count = float(weights.sum())
    return np.asarray((weights[:, None] * vectors).sum(axis=0) / count), count
