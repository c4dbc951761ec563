"""Who is learnt from and who is held out; and of those held out, what is searched for and what is searched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from sightline.errors import ConfigError
from sightline.training.records import Record

Records = tuple[Record, ...]

_FEWEST = 2  # people, on either side: one cannot be told from anybody


def split_by_identity(records: Sequence[Record], *, share: float, seed: int) -> tuple[Records, Records]:
    """(to learn from, held out): `share` of the people are held out with all their images, nobody is on both sides.

    People seen by several cameras are held out first, then those with several images: the others cannot be searched
    for. Which ones depends on their names and the seed, not on the order of the records. A share of 0 holds out nobody.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"the share of people to hold out is {share}; expected 0 or more and less than 1")
    if share == 0:
        return tuple(records), ()
    ordered = _by_usefulness(records, np.random.default_rng(seed))
    count = max(_FEWEST, round(share * len(ordered)))
    if len(ordered) < count + _FEWEST:
        raise ConfigError(
            f"{len(ordered)} people cannot be split: {count} to hold out and at least {_FEWEST} to learn from; "
            "add people or hold out none (val_split 0)"
        )
    held_out = frozenset(ordered[:count])
    learnt = tuple(record for record in records if record.person not in held_out)
    return learnt, tuple(record for record in records if record.person in held_out)


def _by_usefulness(records: Iterable[Record], rng: np.random.Generator) -> list[str]:
    """The people at random, but those seen by several cameras first and those with one image last."""
    cameras: defaultdict[str, list[int]] = defaultdict(list)
    for record in records:
        cameras[record.person].append(record.camera)
    people = sorted(cameras)
    shuffled = [people[index] for index in rng.permutation(len(people))]
    ordered = sorted(shuffled, key=lambda person: (len(set(cameras[person])) < 2, len(cameras[person]) < 2))
    if ordered and len(cameras[ordered[0]]) < 2:
        raise ConfigError(
            "nobody has two images, so nobody can be held out and searched for; hold out none (val_split 0)"
        )
    return ordered


def query_and_gallery(records: Sequence[Record], *, seed: int) -> tuple[Records, Records]:
    """(query, gallery): of each person and camera one image, at random, is searched for; the others are searched.

    An image is no query where that would leave another, or itself, without a match from a second camera. So people
    with one image are only searched through.
    """
    rng = np.random.default_rng(seed)
    shots: defaultdict[str, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for index, record in enumerate(records):
        shots[record.person][record.camera].append(index)
    chosen = {index for person in sorted(shots) for index in _queries(shots[person], rng)}
    query = tuple(record for index, record in enumerate(records) if index in chosen)
    return query, tuple(record for index, record in enumerate(records) if index not in chosen)


def _queries(by_camera: dict[int, list[int]], rng: np.random.Generator) -> list[int]:
    """One image a camera, so that images of two cameras stay behind, or of one whose only image is no query."""
    several = [camera for camera in sorted(by_camera) if len(by_camera[camera]) > 1]
    single = [camera for camera in sorted(by_camera) if len(by_camera[camera]) == 1]
    if len(several) < 2 and single:
        single.pop(int(rng.integers(len(single))))
    return [int(rng.choice(by_camera[camera])) for camera in (*several, *single)]
