"""A gallery of averaged vectors: sightline's SQLite file beside Chroma embedded and Qdrant's path mode.

    python benchmarks/gallery.py                # all contenders in turns, to benchmarks/results/gallery.json
    python benchmarks/gallery.py --scale 0.05   # to try things out; not kept

10,000 vectors of 512 numbers: inserting them in one go, adding one and having it on the disk, the ten nearest of all
and of one camera in six, each query on its own. Then 100,000 in sightline alone: opening until the first answer, and
answers after that. The peers are used as their documents show: cosine, their own defaults, the largest batch they
take; Chroma also with an index that finds what there is to be found.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from measuring import Figures, environment, in_turns, keep
from sightline.gallery.gallery import Entry, Gallery, Space, Where
from sightline.gallery.open_gallery import open_gallery
from sightline.types import Embeddings, FloatArray

SMALL, LARGE, DIM, CAMERAS, TOP = 10_000, 100_000, 512, 6, 10
QUERIES, SINGLES = 100, 50
ROUNDS = 3
SCALE = "SIGHTLINE_BENCHMARK_SCALE"  # hands --scale on to the processes that measure
SPACE = Space("0" * 64, DIM)

Search = Callable[[FloatArray, bool], list[str]]  # one vector, of camera 0 only or of all: ids of the nearest


@dataclass(frozen=True)
class Contender:
    """What is measured of each, by the same clock. Opened on an empty folder."""

    insert: Callable[[Sequence[str], FloatArray], None]
    search: Search


def unit_vectors(count: int, *, seed: int) -> FloatArray:
    vectors = np.random.default_rng(seed).standard_normal((count, DIM), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def camera_of(name: str) -> str:
    return f"camera{int(name) % CAMERAS}"


def insert_entries(gallery: Gallery, ids: Sequence[str], vectors: FloatArray) -> None:
    entries = [Entry(name, f"p{name}", row, camera_of(name)) for name, row in zip(ids, vectors, strict=True)]
    gallery.add(entries, space=SPACE)


def search_entries(gallery: Gallery, vector: FloatArray, filtered: bool) -> list[str]:
    where = Where(cameras=["camera0"]) if filtered else Where()
    [hits] = gallery.search(Embeddings(vector[None], SPACE.fingerprint, True), top_k=TOP, where=where)
    return [hit.id for hit in hits]


def sightline(folder: Path) -> Contender:
    gallery = open_gallery(str(folder / "gallery.db"))
    return Contender(
        lambda ids, vectors: insert_entries(gallery, ids, vectors),
        lambda vector, filtered: search_entries(gallery, vector, filtered),
    )


def chroma(folder: Path, **index: int) -> Contender:
    import chromadb

    client = chromadb.PersistentClient(str(folder), settings=chromadb.Settings(anonymized_telemetry=False))
    collection = client.create_collection(
        "gallery", configuration={"hnsw": {"space": "cosine", **index}}, embedding_function=None
    )

    def insert(ids: Sequence[str], vectors: FloatArray) -> None:
        step = client.get_max_batch_size()
        for start in range(0, len(ids), step):
            part = list(ids[start : start + step])
            cameras: Any = [{"camera": camera_of(name)} for name in part]
            collection.add(ids=part, embeddings=vectors[start : start + step], metadatas=cameras)

    def search(vector: FloatArray, filtered: bool) -> list[str]:
        where: Any = {"camera": "camera0"} if filtered else None
        found = collection.query(query_embeddings=vector[None], n_results=TOP, where=where, include=["distances"])
        return list(found["ids"][0])

    return Contender(insert, search)


def tuned_chroma(folder: Path) -> Contender:
    """With the index that our own Chroma store asks for, which finds most of the true neighbours."""
    return chroma(folder, ef_construction=400, ef_search=400, max_neighbors=32)


def qdrant(folder: Path) -> Contender:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(folder))
    size = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
    client.create_collection("g", vectors_config=size)
    camera = models.FieldCondition(key="camera", match=models.MatchValue(value="camera0"))

    def insert(ids: Sequence[str], vectors: FloatArray) -> None:
        payloads: Any = [{"camera": camera_of(name)} for name in ids]
        points = models.Batch(ids=[int(name) for name in ids], vectors=vectors.tolist(), payloads=payloads)
        client.upsert("g", points=points)

    def search(vector: FloatArray, filtered: bool) -> list[str]:
        wanted = models.Filter(must=[camera]) if filtered else None
        found = client.query_points("g", query=vector.tolist(), limit=TOP, query_filter=wanted, with_payload=False)
        return [f"{point.id:06}" for point in found.points]

    return Contender(insert, search)


OURS, CHROMA, QDRANT, OURS_LARGE = "sightline", "Chroma embedded", "Qdrant path mode", "sightline, large"
TUNED = "Chroma embedded, tuned"
OPEN = {OURS: sightline, CHROMA: chroma, TUNED: tuned_chroma, QDRANT: qdrant}
LIBRARY = {CHROMA: "chromadb", TUNED: "chromadb", QDRANT: "qdrant_client"}


def scaled(count: int) -> int:
    return round(count * float(os.environ.get(SCALE, "1")))


def measure(name: str) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        return measure_large(Path(folder)) if name == OURS_LARGE else measure_small(OPEN[name], Path(folder))


def measure_small(opened: Callable[[Path], Contender], folder: Path) -> Figures:
    count = scaled(SMALL)
    vectors, queries = unit_vectors(count, seed=0), unit_vectors(QUERIES, seed=1)
    ids = [f"{number:06}" for number in range(count)]
    contender = opened(folder)
    bulk_s = seconds(lambda: contender.insert(ids, vectors))
    contender.search(queries[0], False)
    contender.search(queries[0], True)
    figures = answers(contender.search, ids, vectors, queries)
    more = unit_vectors(SINGLES, seed=2)
    singles = [
        seconds(lambda at=at: contender.insert([f"{count + at:06}"], more[at : at + 1])) for at in range(SINGLES)
    ]
    return {"bulk insert s": bulk_s, **figures, "single add ms": 1e3 * statistics.median(singles)}


def answers(search: Search, ids: Sequence[str], vectors: FloatArray, queries: FloatArray) -> Figures:
    """Median times of a query, and the share of the truly nearest that were found."""
    figures: Figures = {}
    for label, filtered in (("query", False), ("filtered query", True)):
        found, times = [], []
        for query in queries:
            started = time.perf_counter()
            found.append(search(query, filtered))
            times.append(time.perf_counter() - started)
        figures[f"{label} ms"] = 1e3 * statistics.median(times)
        figures[f"{label} recall"] = recall(found, ids, vectors, queries, filtered=filtered)
    return figures


def recall(
    found: Sequence[Sequence[str]], ids: Sequence[str], vectors: FloatArray, queries: FloatArray, *, filtered: bool
) -> float:
    rows = np.array([not filtered or camera_of(name) == "camera0" for name in ids]).nonzero()[0]
    scores = queries.astype(np.float64) @ vectors[rows].astype(np.float64).T
    right = [{ids[rows[place]] for place in np.argsort(-row)[:TOP]} for row in scores]
    return float(np.mean([len(true & set(mine)) / len(true) for true, mine in zip(right, found, strict=True)]))


def measure_large(folder: Path) -> Figures:
    count = scaled(LARGE)
    vectors, queries = unit_vectors(count, seed=0), unit_vectors(QUERIES, seed=1)
    ids = [f"{number:06}" for number in range(count)]
    url = str(folder / "gallery.db")
    with open_gallery(url) as gallery:
        for start in range(0, count, 10_000):
            insert_entries(gallery, ids[start : start + 10_000], vectors[start : start + 10_000])
    started = time.perf_counter()
    with open_gallery(url) as gallery:
        search_entries(gallery, queries[0], False)
        open_s = time.perf_counter() - started
        figures = answers(lambda query, filtered: search_entries(gallery, query, filtered), ids, vectors, queries)
    return {"open to first answer s": open_s, **figures}


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def print_ratios(medians: dict[str, Figures]) -> None:
    ours = medians[OURS]
    for peer in (CHROMA, TUNED, QDRANT):
        if peer in medians:
            keys = [key for key in ours if key.endswith((" s", " ms"))]
            told = ", ".join(f"{key.rpartition(' ')[0]} {medians[peer][key] / ours[key]:.1f}×" for key in keys)
            print(f"sightline is faster than {peer} by: {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contender", choices=(*OPEN, OURS_LARGE))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size, to try things out; not kept")
    args = parser.parse_args()
    if args.contender is not None:
        print(json.dumps(measure(args.contender)))
        return
    os.environ[SCALE] = str(args.scale)
    missing = [name for name, library in LIBRARY.items() if importlib.util.find_spec(library) is None]
    contenders = [name for name in (*OPEN, OURS_LARGE) if name not in missing]
    medians = in_turns(__file__, contenders, rounds=args.rounds)
    for name in contenders:
        print(f"{name:18}", "  ".join(f"{key} {value:.4g}" for key, value in medians[name].items()))
    print_ratios(medians)
    for name in missing:
        print(f"{name}: not run")
    if args.scale == 1:
        packages = ("sightline", "numpy", "chromadb", "qdrant-client")
        keep("gallery", {"environment": environment(packages), "medians": medians, "not run": missing})
        print("results kept; `python benchmarks/report.py` writes docs/benchmarks.md", file=sys.stderr)


if __name__ == "__main__":
    main()
