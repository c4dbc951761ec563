"""A page to look through: the queries a model did worst on, each with what it found instead.

One file that needs nothing else: the images are in it, small, and it runs no script at all, which its own policy tells
the browser too. Names of people come from wherever the data came from and are shown as text.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader
from numpy.typing import NDArray
from PIL import Image as PillowImage

from sightline._version import __version__
from sightline.files import replacing
from sightline.images import read_image
from sightline.reid.labelled import Labelled, pieces, unit
from sightline.training.records import Record
from sightline.types import FloatArray

Mask = NDArray[np.bool_]

SHOWN = 10  # of the gallery, for each query
QUERIES = 50
BLOCK = 128  # queries ranked at once
THUMBNAIL = 176  # pixels of the longer side: sharp at twice the size it is shown
JPEG_QUALITY = 80


@dataclass(frozen=True)
class Found:
    """A gallery image at its rank, counted from 1 over what is compared with the query."""

    gallery: int  # its place in the gallery
    rank: int
    score: float
    right: bool


@dataclass(frozen=True)
class Outcome:
    """What became of one query."""

    query: int  # its place among the queries
    average_precision: float  # mean precision
    top: tuple[Found, ...]
    first_right: Found
    matches: int  # in the gallery
    left_out: int  # of the same person and camera: no evidence


def worst_outcomes(query: Labelled, gallery: Labelled, *, count: int = QUERIES, top: int = SHOWN) -> list[Outcome]:
    """Those of the lowest average precision, the lowest first; queries without a match are none.

    Ranks as `sightline.reid.metrics.rank` does, a wrong image before a right one of the same score.
    """
    precisions = _average_precisions(query, gallery)
    order = np.argsort(precisions, kind="stable")
    worst = order[~np.isnan(precisions[order])][:count]
    gallery_units = unit(gallery.vectors).T
    return [
        _outcome(row, unit(query.vectors[[row]])[0] @ gallery_units, query, gallery, top=top) for row in worst.tolist()
    ]


def _average_precisions(query: Labelled, gallery: Labelled) -> NDArray[np.float64]:
    """Mean precision of each query, NaN where nothing matches it. A rank is a count of what scores as well or better,
    so only the scores of wrong images are sorted, and nothing is ranked that is not shown.
    """
    precisions = np.full(len(query), np.nan)
    left, right = unit(query.vectors), unit(gallery.vectors).T
    for rows in pieces(len(query), BLOCK):
        for row, scores in zip(range(rows.start, rows.stop), left[rows] @ right, strict=True):
            same, junk = _same_and_junk(row, query, gallery)
            matches = np.sort(scores[same & ~junk])[::-1]
            if len(matches):
                wrong = np.sort(scores[~same])
                numbers = np.arange(1, len(matches) + 1)
                ranks = len(wrong) - np.searchsorted(wrong, matches) + numbers
                precisions[row] = np.mean(numbers / ranks)
    return precisions


def _same_and_junk(row: int, query: Labelled, gallery: Labelled) -> tuple[Mask, Mask]:
    """Which gallery images show the person of the query, and which of those its own camera took."""
    same = gallery.ids == query.ids[row]
    if query.cameras is None or gallery.cameras is None:
        return same, np.zeros_like(same)
    return same, same & (gallery.cameras == query.cameras[row])


def _outcome(row: int, scores: FloatArray, query: Labelled, gallery: Labelled, *, top: int) -> Outcome:
    same, junk = _same_and_junk(row, query, gallery)
    order = np.lexsort((same, -scores))
    order = order[~junk[order]]
    places = np.flatnonzero(same[order])
    precision = float(np.mean(np.arange(1, len(places) + 1) / (places + 1)))
    first, *shown = (
        Found(int(order[place]), place + 1, float(scores[order[place]]), bool(same[order[place]]))
        for place in (int(places[0]), *range(min(top, len(order))))
    )
    return Outcome(row, precision, tuple(shown), first, len(places), int(junk.sum()))


def write_worst_page(
    path: Path,
    found: Sequence[Outcome],
    *,
    total: int,
    query: Sequence[Record],
    gallery: Sequence[Record],
    title: str,
    figures: Mapping[str, str],
    size_hw: tuple[int, int] = (256, 128),
) -> None:
    """Show these of the `total` queries, in their order, images in frames of the shape `size_hw`.

    `figures`, by name, are shown on top. Raises `ImageError` for an image that has gone, `OutputError` as ever.
    """
    environment = Environment(loader=PackageLoader("sightline.training"), autoescape=True, trim_blocks=True)
    environment.filters["percent"] = lambda share: f"{share:.1%}"
    page = environment.get_template("worst_queries.html").stream(
        version=__version__,
        title=title,
        figures=figures,
        size_hw=size_hw,
        shown=len(found),
        total=total,
        cards=_cards(found, query, gallery),
    )
    with replacing(path) as temporary, temporary.open("wb") as file:
        page.dump(file, encoding="utf-8")


@dataclass(frozen=True)
class _Picture:
    """One image as the page shows it."""

    source: str  # a data URI
    person: str
    camera: int
    name: str  # of the file
    found: Found | None = None


@dataclass(frozen=True)
class _Card:
    outcome: Outcome
    query: _Picture
    top: tuple[_Picture, ...]
    later: _Picture | None  # the first right image, where it is not among the top


def _cards(found: Sequence[Outcome], query: Sequence[Record], gallery: Sequence[Record]) -> Iterator[_Card]:
    """One at a time, so that the images of one query at most are in memory beside the page."""
    for outcome in found:
        first = outcome.first_right
        later = None if first in outcome.top else _picture(gallery[first.gallery], first)
        top = tuple(_picture(gallery[item.gallery], item) for item in outcome.top)
        yield _Card(outcome, _picture(query[outcome.query]), top, later)


def _picture(record: Record, found: Found | None = None) -> _Picture:
    return _Picture(thumbnail(record.path), record.person, record.camera, record.path.name, found)


def thumbnail(path: Path) -> str:
    """The image as a small JPEG in a data URI. Raises `ImageError` when it cannot be read."""
    picture = PillowImage.fromarray(np.ascontiguousarray(read_image(path)[:, :, ::-1]))
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
