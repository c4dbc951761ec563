"""Two folders of dumps to rank-1 and mAP: the protocol of Market-1501, and the result files of the guide."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline._version import __version__
from sightline.deploy.ascend.dumps import Dumps, read_dumps
from sightline.errors import ModelOutputError
from sightline.files import replacing
from sightline.reid.labelled import JUNK, Labelled, unit
from sightline.reid.metrics import Ranking, rank

TITLE = "Overall statistical evaluation"
MAX_RANK = 50
RANKS = (1, 5, 10)
_LABEL = re.compile(r"(-1|\d+)_c([1-9])")


@dataclass(frozen=True, eq=False)
class Accuracy:
    """One test, ranked in both ways: by the distance of the vectors as they are (the guide), and by their cosine."""

    query: Dumps
    gallery: Dumps
    euclidean: Ranking
    cosine: Ranking

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self.query.notes, *self.gallery.notes)


def measure(
    query: Path,
    gallery: Path,
    *,
    query_stems: Sequence[str] | None = None,
    gallery_stems: Sequence[str] | None = None,
    dim: int | None = None,
) -> Accuracy:
    """Read two folders and rank one against the other; `…_stems` are the inputs each should have a dump of.

    Identity and camera are read from the names of the dumps. Raises `ModelOutputError` about the dumps, and
    `SightlineError` where no query has a match.
    """
    asked = read_dumps(query, expected=query_stems, dim=dim)
    shown = read_dumps(gallery, expected=gallery_stems, dim=dim or asked_dim(asked))
    sides = labelled(asked), labelled(shown)
    euclidean = rank(*sides, metric="euclidean", max_rank=MAX_RANK)
    return Accuracy(asked, shown, euclidean, rank(*sides, metric="cosine", max_rank=MAX_RANK))


def asked_dim(dumps: Dumps) -> int:
    return int(dumps.vectors.shape[1])


def labelled(dumps: Dumps) -> Labelled:
    """The vectors, with who and by which camera as the names say: `0001_c1s1_001051_00`. Junk, -1, is known as such."""
    said = [_LABEL.match(stem) for stem in dumps.stems]
    nameless = next((stem for stem, label in zip(dumps.stems, said, strict=True) if label is None), None)
    if nameless is not None:
        raise ModelOutputError(
            f"{dumps.folder}: {nameless} names no person and camera; expected e.g. 0001_c1s1_001051_00"
        )
    labels = np.array([(int(label[1]), int(label[2])) for label in said if label], np.int64)
    return Labelled(dumps.vectors, labels[:, 0], labels[:, 1])


def smallest_cosine(ours: Dumps, source: Dumps) -> float:
    """Between the vectors of the same inputs; how far a device is from the model it runs, at its worst."""
    rows = {stem: row for row, stem in enumerate(source.stems)}
    shared = [(index, rows[stem]) for index, stem in enumerate(ours.stems) if stem in rows]
    if not shared:
        raise ModelOutputError(f"{ours.folder} and {source.folder} have no input in common")
    left, right = (
        unit(side.vectors[list(part)]) for side, part in zip((ours, source), zip(*shared, strict=True), strict=True)
    )
    return float(np.einsum("nd,nd->n", left, right).min())


def result_json(accuracy: Accuracy) -> str:
    """The guide's file, to the character: its values are text, rank-1 with the digits of a float32."""
    first = np.float32(accuracy.euclidean.rank_k(1))
    values = {"R1": str(first), "mAP": repr(float(accuracy.euclidean.map_mean_precision))}
    return json.dumps({"title": TITLE, "value": [{"key": key, "value": value} for key, value in values.items()]})


def details(accuracy: Accuracy) -> dict[str, Any]:
    """Everything, as numbers."""
    return {
        "sightline": __version__,
        "protocol": "Market-1501: same person and camera left out, -1 left out, 0 kept as distractors",
        "euclidean": _figures(accuracy.euclidean),
        "cosine": _figures(accuracy.cosine),
        "query": _side(accuracy.query),
        "gallery": _side(accuracy.gallery),
        "notes": list(accuracy.notes),
    }


def _figures(ranking: Ranking) -> dict[str, Any]:
    return {
        **{f"rank_{k}": ranking.rank_k(k) for k in RANKS},
        "map_mean_precision": ranking.map_mean_precision,
        "map_trapezoid": ranking.map_trapezoid,
        "minp": ranking.minp,
        "queries": ranking.queries,
        "queries_skipped": ranking.skipped,
        "cmc": [float(share) for share in ranking.cmc],
    }


def _side(dumps: Dumps) -> dict[str, Any]:
    ids, cameras = labelled(dumps).ids, labelled(dumps).cameras
    return {
        "folder": str(dumps.folder),
        "dumps": len(dumps.stems),
        "dim": asked_dim(dumps),
        "junk": int(np.count_nonzero(ids == JUNK)),
        "distractors": int(np.count_nonzero(ids == 0)),
        "people": len(set(ids[ids > 0].tolist())),
        "cameras": 0 if cameras is None else len(set(cameras.tolist())),
        "run": run_record(dumps.folder),
    }


def run_record(folder: Path) -> dict[str, Any] | None:
    """What the stand-in noted of the run that left these dumps; None of a device's."""
    path = folder.parent / f"run_{folder.name.removeprefix('dumpOutput_')}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def details_file(target: Path) -> Path:
    """`result_bs1.details.json`, beside `result_bs1.json`."""
    return target.with_name(f"{target.stem}.details.json")


def write_result(accuracy: Accuracy, target: Path) -> None:
    """The guide's file, and all that it leaves out beside it."""
    rich = json.dumps(details(accuracy), indent=2) + "\n"
    for path, text in ((details_file(target), rich), (target, result_json(accuracy))):
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
