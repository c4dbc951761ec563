"""The files of a comparison of people, each whole or not there: `similarity_matrix` and `embeddings`, JSON and .npy.

The keys are those of the OSNet clustering notes; beside them stand the form of the scores and the model's fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sightline.files import output_error, replacing
from sightline.reid.similarity import SimilarityResults
from sightline.types import FloatArray

DIGITS = 7  # of a number in the JSON files; the .npy beside each has all of them


def save_similarity_results(results: SimilarityResults, output_dir: str | Path) -> list[Path]:
    """Write `similarity_matrix` and `embeddings`, each as .json and .npy; the folder is made. Returns the paths."""
    folder = Path(output_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc
    matrix, people = results["similarity_matrix"], results["embeddings"]
    vectors = np.stack(list(people.values())) if people else np.empty((0, 0), np.float32)
    return [
        write_json(folder / "similarity_matrix.json", _matrix_file(results)),
        _write_array(folder / "similarity_matrix.npy", matrix),
        write_json(folder / "embeddings.json", _embeddings_file(results, vectors)),
        _write_array(folder / "embeddings.npy", vectors),
    ]


def provenance(results: SimilarityResults) -> dict[str, str]:
    """What every file says about where its figures come from."""
    return {
        "model": results["model"],
        "model_type": results["model_type"],
        "weights": results["weights"],
        "fingerprint": results["fingerprint"],
        "timestamp": results["timestamp"],
    }


def _matrix_file(results: SimilarityResults) -> dict[str, object]:
    return {
        "matrix": _numbers(results["similarity_matrix"]),
        "person_ids": results["person_ids"],
        "high_similarity_pairs": [
            [one, other, round(score, DIGITS)] for one, other, score in results["high_similarity_pairs"]
        ],
        "similarity_threshold": results["similarity_threshold"],
        "similarity_form": results["similarity_form"],
        "timing": results["timing"],
        **provenance(results),
    }


def _embeddings_file(results: SimilarityResults, vectors: FloatArray) -> dict[str, object]:
    return {
        "embeddings": dict(zip(map(str, results["embeddings"]), _numbers(vectors), strict=True)),
        "person_ids": results["person_ids"],
        "feature_dimension": vectors.shape[1],
        **provenance(results),
    }


def _numbers(array: FloatArray) -> list[list[float]]:
    rounded: list[list[float]] = np.round(array.astype(np.float64), DIGITS).tolist()
    return rounded


def write_json(path: Path, content: Mapping[str, object]) -> Path:
    """One JSON object, whole or not at all. Anything a folder can be called is kept: it is written as ASCII."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, allow_nan=False) + "\n", encoding="ascii")
    return path


def _write_array(path: Path, array: FloatArray) -> Path:
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
    return path
