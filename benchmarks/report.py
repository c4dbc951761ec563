"""docs/benchmarks.md from the committed results: `python benchmarks/report.py`. No figure there is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedding import ARCHS, COUNTS, PEAK, THREADS
from measuring import RESULTS

TARGET = Path(__file__).parents[1] / "docs" / "benchmarks.md"
OURS = "sightline"
TORCH = "PyTorch eager + PIL"
HABIT = "fixed batch of 16"
GFLOP = {"osnet_x1_0": 1.958, "osnet_x0_25": 0.1646}  # two per multiply-add, one image of 256×128


def results(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]


def embedding() -> list[str]:
    found = results("embedding")
    medians = found["medians_ms"]
    lines = [
        "## Crops to vectors",
        "",
        "From decoded BGR crops of mixed sizes (34,500 pixels on average) to L2-normalised vectors, "
        f"{THREADS} threads, {environment(found)}. One process per contender, five rounds in turns, medians. "
        f"Other processes used at most {medians['_others'].popitem()[1]:.0%} of the machine in any round. "
        "PyTorch runs in batches of 16, its fastest here. Weights are random; speed does not depend on them.",
    ]
    for arch in ARCHS:
        lines += ["", f"### {arch}: images per second", "", *_rates(arch, medians)]
        lines += ["", f"{arch}: how many times faster sightline is", "", *_ratios(arch, medians)]
    return [*lines, "", *_shares(medians)]


def _rates(arch: str, medians: Mapping[str, Mapping[str, float]]) -> list[str]:
    names = [name for name in medians if name not in {PEAK, "_others"}]
    rows = [[name, *(f"{1e3 * n / medians[name][f'{arch} {n}']:,.0f}" for n in COUNTS)] for name in names]
    return table(["crops in a call", *map(str, COUNTS)], rows)


def _ratios(arch: str, medians: Mapping[str, Mapping[str, float]]) -> list[str]:
    rows = [
        [f"than {name}", *(f"{medians[name][f'{arch} {n}'] / medians[OURS][f'{arch} {n}']:.1f}×" for n in COUNTS)]
        for name in (TORCH, HABIT)
    ]
    return table(["crops in a call", *map(str, COUNTS)], rows)


def _shares(medians: Mapping[str, Mapping[str, float]]) -> list[str]:
    peak = medians[PEAK]["GFLOP/s"]
    lines = []
    for arch in ARCHS:
        ms = medians[OURS][f"{arch} 64"]
        reached = 64 * GFLOP[arch] / (ms / 1e3)
        share = medians[OURS]["prepare 64"] / (THREADS * ms)
        lines.append(
            f"- {arch}, 64 crops: {reached / peak:.0%} of the matrix-product peak of this run ({peak:,.0f} GFLOP/s), "
            f"resizing included; preparing the crops takes {share:.1%} of the processor time."
        )
    return lines


def footprint() -> list[str]:
    found = results("footprint")
    bare = found["start_ms"]["python -c pass"]
    memory = [
        [f"{int(count):,}", f"{mb:,.0f}"] for count, mb in sorted(found["peak_mb"].items(), key=lambda kv: int(kv[0]))
    ]
    starts = [
        [f"`{name}`", f"{ms:.0f}", f"{ms - bare:.0f}"]
        for name, ms in sorted(found["start_ms"].items(), key=lambda kv: kv[1])
    ]
    return [
        "## Memory of `sightline embed`",
        "",
        f"Peak resident size of the whole process, OSNet x0_25, {environment(found)}.",
        "",
        *table(["images", "peak MB"], memory),
        "",
        "## Before anything happens",
        "",
        "Processor time of a whole process, median of 15 starts, warm cache.",
        "",
        *table(["", "ms", "ms on top of Python"], starts),
    ]


def ranking() -> list[str]:
    found = results("ranking")
    medians = found["medians"]
    rankers = [name for name in medians if "mAP" in medians[name] or name == "matrix product alone"]
    rates = [name for name in medians if name not in rankers and name != "_others"]
    lines = [
        "## Market-sized evaluation",
        "",
        f"3,368 queries, 19,732 gallery images, 512 numbers, six cameras, {environment(found)}. "
        f"Other processes used at most {medians['_others'].popitem()[1]:.0%} of the machine in any round.",
        "",
        *_compared(rankers, medians, ours=OURS),
        "",
        "EER and TAR at FAR over 66 million pairs, sorting included:",
        "",
        *_compared(rates, medians, ours="sightline, EER and TAR"),
    ]
    return lines + [f"\nNot run: {', '.join(found['not run'])}." for _ in found["not run"][:1]]


def _compared(names: Sequence[str], medians: Mapping[str, Mapping[str, float]], *, ours: str) -> list[str]:
    mine = medians[ours]["s"]
    rows = []
    for name in names:
        figures = medians[name]
        exact = "  ".join(f"{key} {value:.7f}" for key, value in figures.items() if key not in {"s", "extra MB"})
        rows.append([name, f"{figures['s']:.2f}", f"{figures['s'] / mine:.1f}×", f"{figures['extra MB']:,.0f}", exact])
    return table(["", "s", "of ours", "extra MB", "found"], rows)


def training_step() -> list[str]:
    found = results("training_step")
    medians = found["medians"]
    rows = [
        [arch, *(f"{medians[name][arch]:.2f}" for name in (OURS, "torchreid")), _ratio(medians, arch)] for arch in ARCHS
    ]
    return [
        "## One training step",
        "",
        f"Batch 64 (16 people × 4), 256×128, forward, losses, backward, Adam, seconds, {environment(found)}. "
        "torchreid's own network and losses, without its engine.",
        "",
        *table(["", OURS, "torchreid", "sightline is faster by"], rows),
    ]


def _ratio(medians: Mapping[str, Mapping[str, float]], arch: str) -> str:
    return f"{medians['torchreid'][arch] / medians[OURS][arch]:.2f}×"


def ball_overhead() -> list[str]:
    found = results("ball_overhead")
    modes = [name for name in found if name.startswith("mode ")]
    push = "push"
    stages = [name for name in found[modes[0]] if name != push]
    rows = [
        [name, *(f"{found[mode][name]:.2f}" for mode in modes)]
        for name in (push, *sorted(stages, key=lambda name: -found[modes[-1]][name]))
    ]
    lines = [
        "## Ball tracking without its network",
        "",
        "Milliseconds of one core for a frame of 1280×720: all a push does but the network's pass, and each of its "
        f"stages alone, by background mode, {environment(found)}. Other processes used at most "
        f"{found['_others'].popitem()[1]:.0%} of the machine in any round.",
        "",
        *table(["", *(f"`{mode.removeprefix('mode ')}`" for mode in modes)], rows),
    ]
    if "network" in found:
        share, forward = found["network"]["share of the rest"], found["network"]["forward"]
        lines += ["", f"Beside a network of {forward:,.0f} ms a pass that is {share:.1%} of a push."]
    return lines


def ball_memory() -> list[str]:
    found = results("ball_memory")
    columns = list(next(iter(found["mib"].values())))
    rows = [[width, *(f"{figures[name]:,.0f}" for name in columns)] for width, figures in found["mib"].items()]
    return [
        "## Memory of ball tracking",
        "",
        f"Resident MiB of the whole process after shares of {found['frames']:,} frames of 1280×720, TrackNet of eight "
        f"frames and their background by width, {found['batch']} windows at once, ONNX Runtime, {environment(found)}.",
        "",
        *table(["", *columns], rows),
    ]


def ball_modes() -> list[str]:
    found, what = results("ball_modes"), results("ball_modes")["what"]
    rates = {name: figures for name, figures in found["frames/s"].items() if name != "_others"}
    base = rates["weight"]
    rows = [
        [f"`{mode}`", *(f"{figures[width]:.1f} ({figures[width] / base[width]:.1f}×)" for width in base)]
        for mode, figures in rates.items()
    ]
    return [
        "## Ball tracking by ensemble mode",
        "",
        f"Frames a second of 1280×720 pushed one by one, windows of {what['seq_len']}, {what['threads']} threads, "
        f"{environment(found)}; in brackets how many times `weight`, which runs the network for every frame. Other "
        f"processes used at most {found['frames/s']['_others'].popitem()[1]:.0%} of the machine in any round.",
        "",
        *table(["mode", *base], rows),
    ]


def ball_quality() -> list[str]:
    found = results("ball_quality")
    of, names = found["rallies"], ("f1", "precision", "recall", "accuracy")
    rows = [[f"`{mode}`", *(f"{figures[name]:.3f}" for name in names)] for mode, figures in found["rows"].items()]
    return [
        "## A ball found by what was trained here",
        "",
        f"TrackNet x0_25 trained for {found['training']['minutes']:.0f} minutes on {of['learned from']} painted "
        f"rallies, judged on {of['unseen']} of another seed ({of['frames']} frames each), whole pictures, as "
        f"`sightline ball` runs it; a hit is within 4 pixels of 512×288. {environment(found)}.",
        "",
        *table(["mode", *names], rows),
    ]


def people() -> list[str]:
    found = results("people")
    figures, what = found["figures"], found["what"]
    ours, plain = figures["sightline people"], figures["plain glue"]["frames/s"]
    shares = {name.removeprefix("share of "): value for name, value in ours.items() if name.startswith("share")}
    told = ", ".join(f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda item: -item[1]))
    height, width = what["size"]
    return [
        "## From a video to people",
        "",
        f"Decoding to gallery, {what['frames']} frames of {width}×{height} with up to {what['people']} people, "
        f"{found['models']['detector']} and {found['models']['model']}, {environment(found)}. Other processes used at "
        f"most {figures['_others'].popitem()[1]:.0%} of the machine in any round.",
        "",
        *table(
            ["", "frames/s", "ratio"],
            [
                ["sightline", f"{ours['frames/s']:.1f}", f"{ours['frames/s'] / plain:.1f}×"],
                ["the same parts, step by step, every crop of every frame", f"{plain:.1f}", "1×"],
            ],
        ),
        "",
        f"Shares of the wall time, which overlap: {told}.",
    ]


def people_soak() -> list[str]:
    found = results("people_soak")
    rows = [[name, *(f"{value:,.0f}" for value in values)] for name, values in found["after warm-up"].items()]
    return [
        "## An hour of camera",
        "",
        f"{found['frames']:,} frames in {found['recordings']} recordings, one process, {environment(found)}; what the "
        "process holds after the first recording, at most after that, and in the end.",
        "",
        *table(["", "after the first", "at most", "in the end"], rows),
    ]


def quality() -> list[str]:
    found = results("quality")
    ascending = sorted(found["rows"].items(), key=lambda item: item[1]["mAP"])
    rows = [[name, f"{row['rank-1']:.3f}", f"{row['mAP']:.3f}"] for name, row in ascending]
    return [
        "## Does training work?",
        "",
        f"OSNet x0_25 on 300 painted people, {found['epochs']} epochs from random weights (rows that go on do so from "
        f"the first run, for fewer), judged on 80 others across four cameras, {environment(found)}. "
        "One run a row; a few hundredths are noise.",
        "",
        *table(["", "rank-1", "mAP"], rows),
    ]


TIMED = (" s", " ms", " MB")  # how the names of figures end of which a multiple means something


@dataclass(frozen=True)
class SideBySide:
    """A section of one table: ours first, a row a contender, every time with how many times ours it is."""

    name: str
    title: str
    told: str
    ours: str

    def __call__(self) -> list[str]:
        found = results(self.name)
        medians = {name: row for name, row in found["medians"].items() if name != "_others"}
        keys = list(dict.fromkeys(key for row in medians.values() for key in row if key != "checksum"))
        names = sorted(medians, key=lambda name: (not name.startswith(self.ours), name))
        rows = [[name, *(self._cell(name, medians, key) for key in keys)] for name in names]
        missing = [f"\nNot run: {', '.join(found['not run'])}." for _ in found.get("not run", ())[:1]]
        return [f"## {self.title}", "", f"{self.told} {environment(found)}.", "", *table(["", *keys], rows), *missing]

    def _cell(self, name: str, medians: Mapping[str, Mapping[str, float]], key: str) -> str:
        if key not in medians[name]:
            return ""
        value, mine = medians[name][key], medians[self.ours].get(key, 0)
        is_ours = name == self.ours or name.startswith(f"{self.ours}, ")
        is_timed = f" {key}".endswith(TIMED)
        times = value / mine if mine and is_timed and not is_ours else 0
        return f"{value:.3g}" + (f" ({times:.{0 if times >= 10 else 1}f}×)" if times else "")


def environment(found: Mapping[str, Any]) -> str:
    facts = dict(found["environment"])
    head = f"{facts.pop('processor')}, {facts.pop('date')}"
    return f"{head}, " + ", ".join(f"{name} {value}" for name, value in facts.items())


SECTIONS: dict[str, Callable[[], list[str]]] = {
    "embedding": embedding,
    "footprint": footprint,
    "ranking": ranking,
    "training_step": training_step,
    "quality": quality,
    "gallery": SideBySide(
        "gallery",
        "Galleries",
        "10,000 averaged vectors of 512 numbers, and 100,000 in sightline alone; in brackets how many times ours. The "
        "peers with their own defaults.",
        "sightline",
    ),
    "clustering": SideBySide(
        "clustering",
        "Clustering 500 people of 16 crops",
        "Seconds from features to finished files, the page's pictures left out; in brackets how many times the first.",
        "averaged",
    ),
    "page": SideBySide(
        "page",
        "The page of 200 people",
        "Milliseconds until the browser has painted, two frames of which are waiting for the screen.",
        "200 people",
    ),
    "tracknet": SideBySide(
        "tracknet",
        "One TrackNet pass",
        "Milliseconds. Eight frames and their background, float32, two threads.",
        "onnxruntime",
    ),
    "background": SideBySide(
        "background",
        "The median of 50 frames of 720p",
        "Seconds, and megabytes on top of the frames; in brackets how many times ours at once.",
        "sightline, at once",
    ),
    "ball_overhead": ball_overhead,
    "ball_memory": ball_memory,
    "ball_modes": ball_modes,
    "ball_quality": ball_quality,
    "people": people,
    "people_soak": people_soak,
    "tracking": SideBySide(
        "tracking",
        "Tracking boxes",
        "Synthetic walks; in brackets how many times ours.",
        "sightline",
    ),
    "mot_evaluation": SideBySide(
        "mot_evaluation",
        "Scoring tracks",
        "10,000 frames of 20 boxes; in brackets how many times ours.",
        "sightline",
    ),
}


def main() -> None:
    head = [
        "# Benchmarks",
        "",
        "By `benchmarks/report.py` from the results in `benchmarks/results`; `make bench` measures anew. "
        "Milliseconds belong to the machine named; what carries over is a ratio within one table. "
        "Nothing here was run on a GPU or an NPU.",
        "",
    ]
    measured = [section() for name, section in SECTIONS.items() if (RESULTS / f"{name}.json").exists()]
    lines = [line for section in measured for line in (*section, "")]
    TARGET.write_text("\n".join([*head, *lines]), encoding="utf-8")


if __name__ == "__main__":
    main()
