"""How two sides compare, as text, as JSON and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sightline.deploy.compare.agreement import Agreement, Shift
from sightline.deploy.compare.side import Pairs
from sightline.deploy.compare.worst import Nearest, worst_images
from sightline.errors import ImageError
from sightline.images import read_image
from sightline.reid.metrics import Ranking
from sightline.types import Image
from sightline.viewer.comparison import ComparisonNotes, PoorImage, Row, Shown, write_comparison_page

DIFFERENT = 1  # exit code
RANKS = (1, 5, 10)


@dataclass(frozen=True)
class Names:
    """What the two sides are called, and what they are."""

    a: str
    b: str
    about_a: str
    about_b: str


def agreement_lines(measured: Agreement, *, floor: float) -> Iterator[str]:
    worst = measured.names[measured.worst(1)[0]]
    yield f"cosine between the two vectors of an image, {len(measured.names):,} images"
    yield f"  smallest         {measured.smallest:.4f}  {worst}"
    yield f"  1 in 100 below   {measured.quantile(0.01):.4f}"
    yield f"  mean             {measured.mean:.4f}"
    rows = comparison_rows(measured)
    if rows:
        yield f"{'by ' + measured.labels:<34}{'A':>10}{'B':>10}{'change':>10}"
        yield from (f"  {row.name:<32}{row.a:>10}{row.b:>10}{row.change:>10}" for row in rows)
    yield from (f"note: {remark}" for remark in remarks(measured))
    yield verdict(measured, floor=floor)


def verdict(measured: Agreement, *, floor: float) -> str:
    if measured.reaches(floor):
        return f"they agree: no cosine is below {floor:g}"
    below = int((measured.cosines < floor).sum())
    return f"THEY DIFFER: {below:,} of {len(measured.names):,} cosines are below {floor:g}"


def comparison_rows(measured: Agreement) -> tuple[Row, ...]:
    """What is known of who is found and of thresholds, both sides and the change."""
    ranked = () if measured.rankings is None else tuple(_ranking_rows(*measured.rankings))
    shifts = tuple(row for shift in measured.shifts for row in _shift_rows(shift))
    moved = tuple(
        _score_row(f"threshold {shift.a:.4f}, same false accepts", shift.a, shift.b) for shift in measured.moved
    )
    return (*ranked, *shifts, *moved)


def _ranking_rows(a: Ranking, b: Ranking) -> Iterator[Row]:
    for k in RANKS:
        yield _share_row(f"rank-{k}", a.rank_k(k), b.rank_k(k))
    yield _share_row("mAP", a.map_mean_precision, b.map_mean_precision)


def _shift_rows(shift: Shift) -> Iterator[Row]:
    few = "" if shift.reliable else " *"
    yield _score_row(f"threshold at FAR {shift.far:g}{few}", shift.a, shift.b)
    yield _share_row(f"same person found at it{few}", shift.tar_a, shift.tar_b)


def _share_row(name: str, a: float, b: float) -> Row:
    return Row(name, f"{a:.2%}", f"{b:.2%}", f"{100 * (b - a):+.2f}")


def _score_row(name: str, a: float, b: float) -> Row:
    return Row(name, f"{a:.4f}", f"{b:.4f}", f"{b - a:+.4f}")


def remarks(measured: Agreement) -> Iterator[str]:
    """What must be known to read the figures rightly."""
    if not measured.is_telling:
        yield (
            f"A says nearly the same of every image (mean cosine {measured.between[0]:.2f} between different ones): "
            "cosines are high whatever B does, so they say little"
        )
    if measured.rankings is None:
        yield "who is found was not measured: nobody is known to be on two images (by two cameras); pass --csv"
    if any(not shift.reliable for shift in measured.shifts):
        yield f"* fewer than 10 false accepts are to be expected of {measured.shifts[0].impostor_pairs:,} pairs"


def agreement_figures(measured: Agreement, *, floor: float) -> dict[str, Any]:
    rankings = None
    if measured.rankings is not None:
        rankings = {name: _ranking(found) for name, found in zip("ab", measured.rankings, strict=True)}
    return {
        "images": len(measured.names),
        "cosine": {
            "smallest": measured.smallest,
            "of": measured.names[measured.worst(1)[0]],
            "quantile_01": measured.quantile(0.01),
            "median": measured.quantile(0.5),
            "mean": measured.mean,
        },
        "mean_cosine_between_images": dict(zip("ab", measured.between, strict=True)),
        "labels": measured.labels,
        "ranking": rankings,
        "thresholds_at_far": [asdict(shift) for shift in measured.shifts],
        "thresholds_of_a": [asdict(shift) for shift in measured.moved],
        "floor": floor,
        "agree": measured.reaches(floor),
        "remarks": list(remarks(measured)),
    }


def _ranking(found: Ranking) -> dict[str, float]:
    ranks = {f"rank_{k}": found.rank_k(k) for k in RANKS}
    return {**ranks, "map_mean_precision": found.map_mean_precision, "queries": found.queries}


# The page


def write_page(path: Path, pairs: Pairs, measured: Agreement, *, names: Names, floor: float, worst: int) -> Path:
    poor = worst_images(pairs, measured, count=worst)
    images = {name: _image(name) for name in {found for item in poor for found in _names(item)}}
    shown = [
        PoorImage(
            Shown(item.name, item.cosine, images[item.name]), _shown(item.by_a, images), _shown(item.by_b, images)
        )
        for item in poor
    ]
    notes = ComparisonNotes(
        **asdict(names),
        floor=floor,
        passed=measured.reaches(floor),
        rows=comparison_rows(measured),
        remarks=tuple(remarks(measured)),
    )
    return write_comparison_page(path, measured.cosines, shown, notes=notes)


def _names(item: Any) -> Iterator[str]:
    yield item.name
    yield from (nearest.name for nearest in (item.by_a, item.by_b) if nearest is not None)


def _shown(nearest: Nearest | None, images: Mapping[str, Image | None]) -> Shown | None:
    return None if nearest is None else Shown(nearest.name, nearest.score, images[nearest.name])


def _image(name: str) -> Image | None:
    """What is known by a stem alone, or lay on another machine, has no picture."""
    try:
        return read_image(Path(name))
    except ImageError:
        return None
