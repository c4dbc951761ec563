"""What everything before a camera has in common, so that it can be taken out before people are compared.

Whatever stands before the same wall, in the same light, seen from the same side, looks alike to a network: strangers at
one camera score 0.8, and somebody who comes back at another scores 0.7, so that no threshold on the plain cosine tells
one from the other. Seen from the middle of what a camera shows, strangers lie in all directions and people who come
back in one. That middle is first the look of the empty place, then more and more the mean of the people seen there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sightline.types import FloatArray, Image

Floats = NDArray[np.float64]

SHAPE = 0.4  # of a person: width by height
HEIGHTS = (0.3, 0.5, 0.75)  # of the picture's
ROWS, COLUMNS = 3, 6  # places of each height
FEWEST_PLACES = 6  # that show nobody, for their mean to mean anything
PRIOR = 3.0  # people that the look of the empty place counts as


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
        tall, wide = max(8, int(share * height)), max(8, int(share * height * SHAPE))
        for top in np.linspace(0, height - tall, ROWS).astype(int).tolist():
            for left in np.linspace(0, max(0, width - wide), COLUMNS).astype(int).tolist():
                yield left, top, min(width, left + wide), top + tall


def _is_free(place: tuple[int, int, int, int], boxes: FloatArray) -> bool:
    if not len(boxes):
        return True
    low, high = np.maximum(boxes[:, :2], place[:2]), np.minimum(boxes[:, 2:], place[2:])
    return not (high > low).all(axis=1).any()


def seen_from(centre: FloatArray | Floats | None, vectors: FloatArray | Floats) -> FloatArray:
    """Unit vectors (N, D) from the centre (D,) to these; one that lies there is zeros. NaN rows stay so."""
    moved = vectors if centre is None else vectors - centre
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(moved / np.where(lengths > 1e-6, lengths, np.inf), np.float32)


class Scenery:
    """The middle of what each camera shows, as far as its empty place and the people seen there are known."""

    def __init__(self) -> None:
        self._empty: dict[str, Floats] = {}
        self._people: dict[str, dict[str, Floats]] = defaultdict(dict)

    def tell_empty(self, camera: str, vector: FloatArray | None) -> None:
        """How the place looks without anybody, (D,)."""
        if vector is not None:
            self._empty[camera] = np.asarray(vector, np.float64)

    def tell_person(self, camera: str, identity: str, vector: FloatArray) -> None:
        """Somebody was seen there. Only their first visit counts, or whoever comes often would become the middle."""
        self._people[camera].setdefault(identity, np.asarray(vector, np.float64))

    def centre(self, camera: str) -> Floats | None:
        """(D,) or None while nothing is known."""
        prior, people = self._prior(camera), list(self._people[camera].values())
        if prior is None:
            return None
        return np.asarray((PRIOR * prior + np.sum(people, axis=0)) / (PRIOR + len(people)) if people else prior)

    def _prior(self, camera: str) -> Floats | None:
        """The empty place; where nobody knows it, what other places look like, else everybody there is."""
        if camera in self._empty:
            return self._empty[camera]
        known = list(self._empty.values()) or [vector for people in self._people.values() for vector in people.values()]
        return np.mean(known, axis=0) if len(known) >= (1 if self._empty else PRIOR) else None

    def likeness(self, one: tuple[str, FloatArray], others: Sequence[tuple[str, FloatArray]]) -> list[float]:
        """The cosine of a camera's vector (D,) with each of some others, each seen from the middle of its camera."""
        from_middle = [seen_from(self.centre(camera), vector[None])[0] for camera, vector in (one, *others)]
        return [float(np.clip(from_middle[0] @ other, -1, 1)) for other in from_middle[1:]]
