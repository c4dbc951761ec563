"""A model run on a few crops, in a process of its own: a file nobody vouches for may run for ever, or take the process
with it. The parent waits as long as it said, and reads the figures from a file.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sightline.card import ImageInput, Pixels
from sightline.deploy.onnx_weights import opened
from sightline.errors import SightlineError
from sightline.images import prepare, read_image
from sightline.reid.probe import STRANGERS, painted_strangers
from sightline.runtime.session import Session, run_batched
from sightline.types import Array, FloatArray, Image

ALONE = 3  # crops that are also run one by one
_MAIN = "from sightline.deploy.doctor.probing import main; main()"


@dataclass(frozen=True)
class Job:
    """`feeds`: the ways to try, by name; `fed` is the one this deployment uses. No images are painted strangers."""

    model: str
    size_hw: tuple[int, int]  # where the graph leaves it open
    feeds: Mapping[str, Pixels]
    fed: str
    images: tuple[str, ...] = ()


@dataclass
class Figures:
    """What was measured. `problem` is why nothing was, in one line."""

    problem: str = ""
    batch_problem: str = ""
    unsound: int = 0  # vectors that are NaN, infinite or zero
    vectors: int = 0
    norms: tuple[float, float] = (0.0, 0.0)  # least and greatest
    alike: dict[str, float] = field(default_factory=dict)  # mean cosine between different crops, by way of feeding
    batch_cosine: float = 1.0  # of the same crop alone and among others, the worst
    flip_cosine: float = 1.0  # of a crop and its mirror image, the mean


def measured(job: Job, *, budget_s: float) -> Figures:
    """The figures, or the problem that kept them from being measured. Takes `budget_s` at most."""
    with TemporaryDirectory() as folder:
        asked, answer = Path(folder, "job.json"), Path(folder, "figures.json")
        asked.write_text(json.dumps(asdict(job)), encoding="utf-8")
        command = [sys.executable, "-c", _MAIN, str(asked), str(answer)]
        try:
            ran = subprocess.run(command, capture_output=True, timeout=budget_s, check=False)
        except subprocess.TimeoutExpired:
            return Figures(problem=f"not done within {budget_s:g} s")
        if not answer.exists():
            return Figures(problem=_how_it_ended(ran))
        found = json.loads(answer.read_text(encoding="utf-8"))
        return Figures(**{**found, "norms": tuple(found["norms"])})


def _how_it_ended(ran: subprocess.CompletedProcess[bytes]) -> str:
    if ran.returncode < 0:
        return f"the process that ran it was ended by signal {-ran.returncode}"
    last = ran.stderr.decode("utf-8", errors="replace").strip().splitlines()[-1:]
    return f"the process that ran it failed: {''.join(last)[:200]}"


def main() -> None:
    """In the process of its own: a job file and the file to write."""
    asked, answer = map(Path, sys.argv[1:])
    known = json.loads(asked.read_text(encoding="utf-8"))
    feeds = {
        name: Pixels(one["color"], tuple(one["mean"]), tuple(one["std"])) for name, one in known.pop("feeds").items()
    }
    job = Job(known["model"], tuple(known["size_hw"]), feeds, known["fed"], tuple(known["images"]))
    answer.write_text(json.dumps(asdict(figures_of(job))), encoding="utf-8")


def figures_of(job: Job) -> Figures:
    """As `measured`, in this process and without a limit."""
    figures = Figures()
    try:
        crops = [read_image(Path(path)) for path in job.images] or painted_strangers(STRANGERS)
        with opened(Path(job.model)) as session:
            _measure(session, job, crops, figures)
    except SightlineError as exc:
        figures.problem = str(exc)
    return figures


def _measure(session: Session, job: Job, crops: Sequence[Image], figures: Figures) -> None:
    image = session.card.image
    if image is None or session.card.output is None:
        figures.problem = "it does not turn one image into one vector"
        return
    fed = _fed(image, job, job.fed)
    alone = _together_or_alone(session, fed, crops, figures)
    vectors = _embed(session, fed, crops, one_by_one=alone)
    norms = np.linalg.norm(vectors, axis=1)
    figures.vectors, figures.unsound = len(vectors), int((~(np.isfinite(norms) & (norms > 0))).sum())
    if figures.unsound:
        return
    figures.norms = (float(norms.min()), float(norms.max()))
    if not figures.batch_problem:
        single = _embed(session, fed, crops[:ALONE], one_by_one=True)
        figures.batch_cosine = float(_cosines(single, vectors[:ALONE]).min())
    mirrored = [np.ascontiguousarray(crop[:, ::-1]) for crop in crops]
    figures.flip_cosine = float(_cosines(vectors, _embed(session, fed, mirrored, one_by_one=alone)).mean())
    figures.alike[job.fed] = _mean_between(vectors)
    for name in job.feeds:
        if name != job.fed:
            other = _embed(session, _fed(image, job, name), crops, one_by_one=alone)
            figures.alike[name] = _mean_between(other)


def _together_or_alone(session: Session, image: ImageInput, crops: Sequence[Image], figures: Figures) -> bool:
    """Whether crops must be run one by one. A model that runs either way only has a problem with its batch."""
    for alone, other in ((False, True), (True, False)):
        try:
            _embed(session, image, crops[:ALONE], one_by_one=alone)
        except SightlineError as exc:
            figures.batch_problem = str(exc)
            return other
    return False


def _fed(image: ImageInput, job: Job, name: str) -> ImageInput:
    """The input, told to be fed in this way whatever its card says; bytes are fed as they are."""
    size_hw = image.size_hw or job.size_hw
    if image.dtype == "uint8":
        return replace(image, size_hw=size_hw)
    return replace(image, size_hw=size_hw, pixels=job.feeds[name], folded=False, fed_color=None)


def _embed(session: Session, image: ImageInput, crops: Sequence[Image], *, one_by_one: bool) -> FloatArray:
    batch = prepare(crops, image)
    size = 1 if one_by_one else len(batch)
    name = session.card.output.name if session.card.output else ""
    parts: list[Array] = []
    for start in range(0, len(batch), size):
        parts.append(run_batched(session, {image.name: batch[start : start + size]})[name])
    return np.concatenate(parts).astype(np.float32).reshape(len(crops), -1)


def _mean_between(vectors: FloatArray) -> float:
    """Between every two different crops; NaN where a way of feeding gives no vectors."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = (units @ units.T)[np.triu_indices(len(units), k=1)]
    return float(cosines.mean())


def _cosines(a: FloatArray, b: FloatArray) -> FloatArray:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / norms, np.float32)
