"""Data sets: every person before every camera, each drawn from the seed of the whole and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, Protocol, TypeVar

from sightline.synth.cameras import Camera, camera
from sightline.synth.dice import dice, fresh_seed
from sightline.synth.folders import Shot
from sightline.types import Image

Who = TypeVar("Who")
Seen_contra = TypeVar("Seen_contra", contravariant=True)


class Shoots(Protocol[Seen_contra]):
    """`shoot` of people or of faces, the size already settled."""

    def __call__(self, identity: Seen_contra, camera: Camera, /, *, seed: int) -> Image: ...


@lru_cache(maxsize=64)  # a camera serves all persons, and each process makes its own
def _kept_camera(seed: int) -> Camera:
    return camera(seed)


@dataclass(frozen=True)
class Census(Generic[Who]):
    """All shots of any one person, in order. Small, and made of module-level functions, so that it can be pickled.

    A person does not depend on how many others there are, nor a camera on how many cameras.
    """

    kind: str  # sets people and faces of one seed apart
    identity: Callable[[int], Who]
    shoot: Shoots[Who]
    cameras: int
    shots: int
    seed: int

    def __call__(self, person_id: int) -> Iterator[Shot]:
        who = self.identity(fresh_seed(dice(f"{self.kind} person", self.seed, person_id)))
        for camera_id in range(1, self.cameras + 1):
            seen_by = _kept_camera(fresh_seed(dice(f"{self.kind} camera", self.seed, camera_id)))
            for index in range(self.shots):
                yield Shot(self.shoot(who, seen_by, seed=index), person_id, camera_id, index)

    def everybody(self, ids: int) -> Iterator[Shot]:
        """Persons 1 to `ids`, one after another, drawn as they are asked for."""
        return (shot for person_id in range(1, ids + 1) for shot in self(person_id))
