"""A visit as the gallery keeps it, and the names by which it is found there again."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from sightline._version import __version__
from sightline.gallery.gallery import Entry
from sightline.images import resize
from sightline.pipeline.people.scene import Floats
from sightline.pipeline.people.visits import Visit
from sightline.types import Embeddings, Image

VISITS = uuid.UUID("d1a70e8e-5b0c-5d7c-9a1f-1f8f0c5e7b42")  # the namespace of visit ids
PERSON = "person-"  # and a number: an identity that nobody has named yet, and the id of its first entry

THUMBNAIL_HW = (128, 128)  # at most
_JPEG = [cv2.IMWRITE_JPEG_QUALITY, 80]  # the harshest noise of that size takes less than 16 KB


@dataclass(frozen=True, eq=False)
class Sighting:
    """A visit as far as recognising goes."""

    visit_id: str
    embedding: Embeddings  # (1, D)
    camera: str
    first_s: float  # seconds since 1970
    last_s: float

    @cached_property
    def vector(self) -> Floats:
        """(D,), of length 1 to the last bit."""
        vector = self.embedding.vectors[0].astype(np.float64)
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12))


def visit_id_of(run_id: str, camera: str, number: int) -> str:
    """The same on every replay of a run, and another one for every other visit."""
    return str(uuid.uuid5(VISITS, json.dumps([run_id, camera, number])))


def person(number: int) -> str:
    return f"{PERSON}{number}"


def number_of(name: str) -> int | None:
    """Of a name that `person` gives; None for any other."""
    digits = name.removeprefix(PERSON)
    is_ours = name != digits and digits.isascii() and digits.isdigit() and digits == digits.lstrip("0")
    return int(digits) if is_ours else None


def entry_of(visit: Visit, sighting: Sighting, *, entry_id: str, identity: str) -> Entry:
    """`created_by` names the visit, for the first entry of an identity has that one's name for an id."""
    return Entry(
        id=entry_id,
        identity=identity,
        vector=sighting.embedding.vectors[0],
        camera=sighting.camera,
        first_s=sighting.first_s,
        last_s=sighting.last_s,
        count=visit.count,
        quality=visit.quality,
        thumbnail=thumbnail_of(visit.best_crop),
        created_by=f"sightline {__version__}, visit {sighting.visit_id}",
    )


def is_of_visit(entry: Entry, visit_id: str) -> bool:
    return entry.id == visit_id or entry.created_by.endswith(f", visit {visit_id}")


def thumbnail_of(crop: Image | None) -> bytes:
    """A JPEG within `THUMBNAIL_HW`, and nothing of no crop."""
    if crop is None:
        return b""
    height, width = crop.shape[:2]
    factor = min(THUMBNAIL_HW[0] / height, THUMBNAIL_HW[1] / width)
    if factor < 1:
        crop = resize(crop, (max(1, round(height * factor)), max(1, round(width * factor))))
    return cv2.imencode(".jpg", crop, _JPEG)[1].tobytes()
