"""What a deployment came to: accuracy against the source model, and throughput by batch size as the guide counts it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from sightline._version import __version__
from sightline.deploy.ascend.atc import chips_per_card, soc_name
from sightline.deploy.ascend.metrics import details_file
from sightline.deploy.ascend.performance import STAND_IN, pure_files, read_interface, read_pure, vision_files
from sightline.errors import ConfigError
from sightline.files import replacing
from sightline.reid.labelled import Metric

TOLERANCE = 0.01  # of rank-1 and of mAP: the guide's "within 1 %"
_RESULT = re.compile(r"result_bs(\d+)\.json")


@dataclass(frozen=True)
class Source:
    """What the model is worth before it is taken anywhere, 0 to 1."""

    name: str
    rank_1: float
    mean_ap: float
    metric: Metric = "euclidean"


@dataclass(frozen=True)
class Row:
    """One batch size. What was not measured is None."""

    batch: int
    accuracy: Mapping[Metric, tuple[float, float]]  # rank-1 and mAP
    pure: float | None = None  # samples/s of one device over rounds of noise
    latency_ms: float | None = None  # of a sample
    data: float | None = None  # samples/s of one device over the data set, the mean of the devices
    measured_by: str = ""  # who measured the speed; empty: the benchmark tool
    card: float | None = None  # samples/s of a card; None where no device measured it


@dataclass(frozen=True)
class Report:
    rows: tuple[Row, ...]
    soc: str
    source: Source | None
    tolerance: float
    smallest_cosine: float | None = None  # to the source's vectors, where both are there

    @property
    def within(self) -> bool | None:
        """Whether no batch size lost more than the tolerance; None where there is nothing to compare."""
        source = self.source
        if source is None:
            return None
        lost = [
            max(source.rank_1 - rank_1, source.mean_ap - mean_ap)
            for rank_1, mean_ap in (row.accuracy[source.metric] for row in self.rows if source.metric in row.accuracy)
        ]
        return max(lost) <= self.tolerance + 1e-9 if lost else None  # 94.2 - 93.2 is a hair more than 1


def gather(
    work: Path,
    *,
    soc: str = "310",
    model: str = "",
    source: Source | None = None,
    tolerance: float = TOLERANCE,
    smallest_cosine: float | None = None,
) -> Report:
    """Everything that runs have left in a working folder. Raises `ConfigError` where that is nothing."""
    results = _results(work)
    pure, data = pure_files(work / "result", model=model), vision_files(work / "result")
    batches = sorted({*results, *pure, *data})
    if not batches:
        raise ConfigError(f"{work} holds no result_bs*.json and no performance files in result/; run the chain first")
    rows = [_row(batch, results, pure.get(batch, []), data.get(batch, []), soc) for batch in batches]
    return Report(tuple(rows), soc_name(soc), source, tolerance, smallest_cosine)


def _results(work: Path) -> dict[int, Path]:
    named = ((_RESULT.fullmatch(path.name), path) for path in work.glob("result_bs*.json"))
    return {int(said[1]): path for said, path in named if said}


def _row(batch: int, results: dict[int, Path], pure: Sequence[Path], data: Sequence[Path], soc: str) -> Row:
    rounds = [read_pure(path) for path in pure]
    runs = [read_interface(path) for path in data]
    by = next((found.measured_by for found in rounds), next((who for _, who in runs), ""))
    speed = fmean(found.throughput for found in rounds) if rounds else None
    over_data = fmean(rate for rate, _ in runs) if runs else None
    best = speed if speed is not None else over_data
    return Row(
        batch,
        read_accuracy(results[batch]) if batch in results else {},
        speed,
        fmean(found.latency_ms for found in rounds) if rounds else None,
        over_data,
        by,
        None if best is None or by.startswith(STAND_IN) else best * chips_per_card(soc),
    )


def read_accuracy(path: Path) -> dict[Metric, tuple[float, float]]:
    """Of a result file in the guide's form; and by cosine, where all that was measured lies beside it."""
    found: dict[Metric, tuple[float, float]] = {"euclidean": read_result(path)}
    beside = details_file(path)
    if beside.is_file():
        found["cosine"] = _ranked(_json(beside), "cosine", beside)
    return found


def read_result(path: Path) -> tuple[float, float]:
    """Rank-1 and mAP of a file in the guide's form."""
    try:
        values = {item["key"]: float(item["value"]) for item in _json(path)["value"]}
        return values["R1"], values["mAP"]
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{path} is not a result file with R1 and mAP: {exc!r}") from exc


def read_source(text: str) -> Source:
    """ "94.2,82.6" (or as shares), the `metrics.json` of `sightline eval`, or a result file in the guide's form.

    The figures of `sightline eval` are by cosine. Raises `ConfigError` for anything else.
    """
    said = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*,\s*(\d+\.?\d*|\.\d+)\s*", text)
    if said:
        rank_1, mean_ap = (float(figure) for figure in said.groups())
        scale = 100 if max(rank_1, mean_ap) > 1 else 1
        return Source("as given", rank_1 / scale, mean_ap / scale)
    path = Path(text)
    if not path.is_file():
        raise ConfigError(f"{text!r} is no source: expected R1,mAP such as 94.2,82.6, or a metrics.json")
    content = _json(path)
    if isinstance(content, dict) and "ranking" in content:
        return Source(str(path), *_ranked(content, "ranking", path), metric="cosine")
    return Source(str(path), *read_result(path))


def _ranked(content: Any, part: str, path: Path) -> tuple[float, float]:
    try:
        return float(content[part]["rank_1"]), float(content[part]["map_mean_precision"])
    except (ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{path} holds no rank_1 and map_mean_precision in {part}; evaluate with --cmc") from exc


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise ConfigError(f"{path} cannot be read as JSON: {exc}") from exc


# As text


def figures(report: Report) -> dict[str, Any]:
    return {"sightline": __version__, **asdict(report), "within_tolerance": report.within}


def table(report: Report) -> list[list[str]]:
    """A head and a line for each batch size."""
    chips = chips_per_card(report.soc)
    card = f"card (x{chips}), samples/s" if chips > 1 else "card, samples/s"
    head = ["batch", "R1", "mAP", "samples/s", "ms/sample", "over data, samples/s", card]
    return [head, *(_cells(row) for row in report.rows)]


def _cells(row: Row) -> list[str]:
    shares = [_shown(value, ".2%") for value in row.accuracy.get("euclidean", (None, None))]
    speeds = [_shown(value, ".6g") for value in (row.pure, row.latency_ms, row.data)]
    return [str(row.batch), *shares, *speeds, _shown(row.card, ".7g")]


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def remarks(report: Report) -> Iterator[str]:
    """What has to be said beside the table: whether accuracy held, and what the speeds are not."""
    if report.source is not None:
        source = report.source
        verdicts = {True: "held", False: "LOST", None: "not measured"}
        allowed = f"more than {report.tolerance:.2%} less is lost"
        yield (
            f"accuracy {verdicts[report.within]}: source R1 {source.rank_1:.2%}, mAP {source.mean_ap:.2%} "
            f"({source.name}, by {source.metric}); {allowed}"
        )
    else:
        yield "accuracy not compared: pass --source, the figures of the model before it was taken here"
    if report.smallest_cosine is not None:
        yield f"smallest cosine to the source's vectors: {report.smallest_cosine:.6f}"
    for who in sorted({row.measured_by for row in report.rows if row.measured_by}):
        yield f"speed measured by {who}"
    if any(row.measured_by.startswith(STAND_IN) for row in report.rows):
        yield f"these are not speeds of an {report.soc}: nothing is multiplied up to a card"


def markdown(report: Report) -> str:
    head, *rows = table(report)
    lines = [head, ["---"] * len(head), *rows]
    cells = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "\n".join(f"- {remark}" for remark in remarks(report))
    return f"# {report.soc}: accuracy and throughput\n\n{cells}\n\n{notes}\n"


def write_report(report: Report, work: Path) -> list[Path]:
    """`report.json`, `report.md`, and `report.png` where matplotlib is there."""
    from sightline.deploy.ascend.report_plot import draw_throughput, why_no_plot

    texts = {work / "report.md": markdown(report), work / "report.json": json.dumps(figures(report), indent=2) + "\n"}
    for path, text in texts.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    timed = [row for row in report.rows if row.pure or row.data]
    if why_no_plot() or not timed:
        return list(texts)
    draw_throughput(timed, work / "report.png", soc=report.soc)
    return [*texts, work / "report.png"]
