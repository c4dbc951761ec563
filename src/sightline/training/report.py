"""An evaluation as files: metrics.json, three plots, and the page of the worst queries."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sightline._version import __version__
from sightline.files import replacing
from sightline.reid.embedder import Embedder
from sightline.reid.metrics import Ranking
from sightline.runtime.backend import missing_package
from sightline.training.evaluate import Evaluation, Verification, labelled
from sightline.training.exam import Exam
from sightline.training.plots import draw_cmc, draw_roc, draw_scores
from sightline.training.records import labels
from sightline.training.worst_page import worst_outcomes, write_worst_page

RANKS = (1, 5, 10)


def write_report(
    evaluation: Evaluation, folder: Path, *, model: dict[str, Any], title: str, size_hw: tuple[int, int]
) -> list[Path]:
    """Write what there is to write into `folder`, metrics.json last, and return it.

    `size_hw` is the shape images are shown in. Without matplotlib the plots are left out.
    """
    written = [] if why_no_plots() else _plots(evaluation, folder)
    if evaluation.exam is not None and evaluation.ranking is not None:
        path = folder / "worst_queries.html"
        _write_page(path, evaluation, evaluation.exam, evaluation.ranking, title=title, size_hw=size_hw)
        written.append(path)
    with replacing(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(figures(evaluation, model=model), indent=2) + "\n", encoding="utf-8")
    return [*written, folder / "metrics.json"]


def why_no_plots() -> str:
    """The reason there will be none; empty when there will."""
    return missing_package("matplotlib", "'sightline[train]'")


def _plots(evaluation: Evaluation, folder: Path) -> list[Path]:
    roc, scores, cmc = (folder / f"{name}.png" for name in ("roc", "scores", "cmc"))
    found = evaluation.verification
    draw_roc(found.genuine, found.impostor, roc, eer=found.eer, tars=found.tars)
    draw_scores(found.genuine, found.impostor, scores, eer=found.eer)
    named = {"as embedded": evaluation.ranking, "re-ranked": evaluation.reranked}
    rankings = {name: ranking for name, ranking in named.items() if ranking is not None}
    if not rankings:
        return [roc, scores]
    draw_cmc(rankings, cmc)
    return [roc, scores, cmc]


def _write_page(
    path: Path, evaluation: Evaluation, exam: Exam, ranking: Ranking, *, title: str, size_hw: tuple[int, int]
) -> None:
    numbers = labels(exam.images)
    query, gallery = (labelled(side, evaluation.vectors, numbers) for side in (exam.query, exam.gallery))
    write_worst_page(
        path,
        worst_outcomes(query, gallery),
        total=ranking.queries,
        query=exam.query,
        gallery=exam.gallery,
        title=title,
        figures=_headline(ranking),
        size_hw=size_hw,
    )


def _headline(ranking: Ranking) -> dict[str, str]:
    return {
        "rank-1": f"{ranking.rank_k(1):.1%}",
        "mAP": f"{ranking.map_mean_precision:.1%}",
        "mINP": f"{ranking.minp:.1%}",
        "queries": f"{ranking.queries:,}",
    }


def figures(evaluation: Evaluation, *, model: dict[str, Any]) -> dict[str, Any]:
    """Everything as JSON. The parts that an evaluation lacks are null."""
    exam, ten_fold = evaluation.exam, evaluation.ten_fold
    return {
        "versions": {"sightline": __version__, "python": platform.python_version(), "numpy": np.__version__},
        "model": model,
        "dataset": None if exam is None else _exam_figures(exam),
        "verification": _verification_figures(evaluation.verification),
        "ten_fold": None if ten_fold is None else asdict(ten_fold),
        "ranking": _ranking_figures(evaluation.ranking),
        "reranked": _ranking_figures(evaluation.reranked),
        "notes": [] if exam is None else list(exam.notes),
    }


def _exam_figures(exam: Exam) -> dict[str, Any]:
    return {
        "name": exam.dataset,
        "people": exam.people,
        "images": len(exam.images),
        "identities": exam.identities,
        "cameras": exam.cameras,
        "query_images": len(exam.query),
        "gallery_images": len(exam.gallery),
    }


def _verification_figures(found: Verification) -> dict[str, Any]:
    return {
        "protocol": found.protocol,
        "eer": asdict(found.eer),
        "tar_at_far": [asdict(tar) for tar in found.tars],
    }


def _ranking_figures(ranking: Ranking | None) -> dict[str, Any] | None:
    """Both conventions of mAP, by their names."""
    if ranking is None:
        return None
    return {
        **{f"rank_{k}": ranking.rank_k(k) for k in RANKS},
        "map_mean_precision": ranking.map_mean_precision,
        "map_trapezoid": ranking.map_trapezoid,
        "minp": ranking.minp,
        "queries": ranking.queries,
        "queries_skipped": ranking.skipped,
        "cmc": [float(share) for share in ranking.cmc],
    }


def model_figures(embedder: Embedder, *, task: str) -> dict[str, Any]:
    """What was judged, and what ran it."""
    session, card = embedder.session, embedder.session.card
    return {
        "file": str(session.path),
        "fingerprint": embedder.fingerprint,
        "task": task,
        "arch": card.arch,
        "weights": card.weights,
        "trained_on": card.trained_on,
        "backend": session.backend,
        "device": session.device,
        "precision": session.precision,
        "fallbacks": [str(attempt) for attempt in session.fallbacks],
    }
