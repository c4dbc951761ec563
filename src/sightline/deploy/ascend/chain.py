"""The whole chain in one folder: fixed batches, .om files, inputs, lists, dumps, figures, speeds, report.

Each step leaves the files that the steps of the guide leave, so any of them can be done again by hand, or on another
machine. What a machine cannot do is told as it is met, and the command for it kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path

from sightline.deploy.ascend import report as reports
from sightline.deploy.ascend.atc import atc_missing, conversion
from sightline.deploy.ascend.batches import BATCHES, batch_file, fix_batch
from sightline.deploy.ascend.infer import run_list, run_list_on_device, run_noise, run_noise_on_device
from sightline.deploy.ascend.info import Input, list_bins, write_info
from sightline.deploy.ascend.metrics import Accuracy, measure, smallest_cosine, write_result
from sightline.deploy.ascend.preprocess import images_in, input_of, prepare_folder
from sightline.deploy.ascend.report import Report, Source
from sightline.deploy.ascend.stand_in import device_name
from sightline.deploy.ascend.tools import NO_TOOL, Job, tool_here
from sightline.errors import ConfigError
from sightline.files import output_error
from sightline.onnx_file import read_onnx
from sightline.runtime.cards import NO_CLAIMS, Claims
from sightline.runtime.open import open_session
from sightline.runtime.session import Session

SIDES = {"query": "query", "gallery": "bounding_box_test"}  # and the folder of each in Market-1501


@dataclass(frozen=True)
class Plan:
    """What is to be done, in `work`."""

    model: Path  # an ONNX of any batch
    _: KW_ONLY
    data: Path  # the folder that holds query/ and bounding_box_test/
    work: Path
    batches: tuple[int, ...] = BATCHES  # whose speed is measured
    ranked: tuple[int, ...] = (1,)  # whose accuracy is measured, too
    soc: str = "310"
    rounds: int = 50
    binary: bool = False
    source: Source | None = None  # None: the model itself, run on the CPU
    tolerance: float = reports.TOLERANCE
    claims: Claims = NO_CLAIMS
    restart: bool = False

    def __post_init__(self) -> None:
        for name, batches in (("--batches", self.batches), ("--ranked", self.ranked)):
            if not batches:
                raise ConfigError(f"{name} is empty; expected e.g. 1,16")


@dataclass
class Chain:
    """A plan as it is carried out. `say` gets a line as each step ends, `progress` a step's name, done and total."""

    plan: Plan
    say: Callable[[str], None]
    progress: Callable[[str, int, int], None]
    lists: dict[str, list[Input]] = field(default_factory=dict)
    converted: dict[int, Path] = field(default_factory=dict)  # the .om by batch, where atc was there

    def run(self) -> Report:
        plan = self.plan
        _make(plan.work)
        files = self.fix_batches()
        self.convert(files)
        self.prepare(files[min(files)])
        accuracies = [self.rank(batch, files[batch], order) for order, batch in enumerate(plan.ranked)]
        for batch in plan.batches:
            self.time(batch, files[batch])
        source, cosine = self.source(accuracies[0])
        report = reports.gather(
            plan.work,
            soc=plan.soc,
            model=plan.model.stem,
            source=source,
            tolerance=plan.tolerance,
            smallest_cosine=cosine,
        )
        for path in reports.write_report(report, plan.work):
            self.say(f"wrote {path}")
        return report

    def fix_batches(self) -> dict[int, Path]:
        plan, files = self.plan, {}
        for batch in sorted({*plan.batches, *plan.ranked}):
            files[batch] = batch_file(plan.work / plan.model.name, batch)
            difference = fix_batch(plan.model, files[batch], batch=batch)
            self.say(f"{files[batch].name}: batch {batch}, differs from {plan.model.name} by {difference:.1e}")
        return files

    def convert(self, files: dict[int, Path]) -> None:
        missing = atc_missing()
        for batch, path in files.items():
            made = conversion(path, soc=self.plan.soc)
            if missing:
                self.say(f"not run: {made.command}")
                continue
            made.run()
            self.converted[batch] = made.target
            self.say(f"{made.target.name}: converted")
        if missing:
            self.say(f"no .om files: {missing}")

    def prepare(self, model: Path) -> None:
        spec = input_of(model, self.plan.claims)
        for side, folder in SIDES.items():
            source, target = self.plan.data / folder, self.plan.work / f"{side}_prep_dataset"
            told = self._progress(f"preparing {side}", len(images_in(source)))
            prepare_folder(source, target, spec=spec, progress=told)
            height, width = spec.size_hw or (0, 0)
            self.lists[side] = list_bins(target, size_wh=(width, height))
            relative = [replace(item, path=item.path.relative_to(self.plan.work)) for item in self.lists[side]]
            write_info(relative, self.listing(side))  # the tools are run in the working folder
            self.say(f"{self.listing(side).name}: {len(self.lists[side]):,} images of {source}")

    def listing(self, side: str) -> Path:
        return self.plan.work / f"{side}_prep_bin.info"

    def rank(self, batch: int, model: Path, order: int) -> Accuracy:
        """Devices are counted on as the guide does: 0 and 1 for the first batch size, 2 and 3 for the next."""
        devices = {side: 2 * order + index for index, side in enumerate(SIDES)}
        for side, device_id in devices.items():
            self._infer(side, batch, model, device_id)
        query, gallery = (self.plan.work / "result" / f"dumpOutput_device{device}" for device in devices.values())
        accuracy = self._measured(query, gallery)
        target = self.plan.work / f"result_bs{batch}.json"
        write_result(accuracy, target)
        figures = accuracy.euclidean
        self.say(f"{target.name}: R1 {figures.rank_k(1):.2%}, mAP {figures.map_mean_precision:.2%}")
        return accuracy

    def _measured(self, query: Path, gallery: Path) -> Accuracy:
        stems = {side: [item.stem for item in inputs] for side, inputs in self.lists.items()}
        return measure(query, gallery, query_stems=stems["query"], gallery_stems=stems["gallery"], dim=self._dim())

    def _dim(self) -> int | None:
        """Numbers in a vector, by the model's file: a device may dump them in half precision."""
        shape = read_onnx(self.plan.model).outputs[0].shape
        return shape[1] if len(shape) == 2 else None

    def _infer(self, side: str, batch: int, model: Path, device_id: int) -> None:
        inputs, plan, tool = self.lists[side], self.plan, self._tool(batch)
        if tool:
            job = self._job(batch, device_id, side)
            count = run_list_on_device(job, inputs, tool=tool, restart=plan.restart)
            self.say(f"{job.dumps.name}: {count:,} dumps by {tool}")
            return
        with _opened(model, device_id) as session:
            outcome = run_list(
                session,
                inputs,
                plan.work,
                device_id=device_id,
                binary=plan.binary,
                restart=plan.restart,
                progress=self._progress(f"running {side}, batch {batch}", len(inputs)),
            )
        self.say(f"{outcome.dumps.name}: {outcome.made:,} dumps, {outcome.kept:,} there before; {outcome.measured_by}")

    def _tool(self, batch: int) -> str:
        return tool_here(self.plan.work) if batch in self.converted else ""

    def _job(self, batch: int, device_id: int, side: str = "") -> Job:
        """With absolute paths: it is run in the working folder."""
        plan = self.plan
        first = next(iter(self.lists.values()))[0]
        return Job(
            self.converted[batch].absolute(),
            plan.work,
            device_id=device_id,
            batch=batch,
            size_wh=(first.width, first.height),
            listing=self.listing(side).absolute() if side else None,
            inputs=(plan.work / f"{side}_prep_dataset").absolute() if side else None,
            binary=plan.binary,
            rounds=plan.rounds,
        )

    def time(self, batch: int, model: Path) -> None:
        plan, tool = self.plan, self._tool(batch)
        if tool:
            lines = run_noise_on_device(self._job(batch, 0), tool=tool)
        else:
            with _opened(model, 0) as session:
                lines = run_noise(session, plan.work, batch=batch, rounds=plan.rounds)
        self.say("\n".join([f"batch {batch}, {plan.rounds} rounds of noise", *lines]))

    def source(self, ours: Accuracy) -> tuple[Source, float | None]:
        """The figures to hold ours against: those given, or the model's own, run on the CPU on the same inputs."""
        plan = self.plan
        if plan.source is not None:
            return plan.source, None
        folders = {}
        for device_id, (side, inputs) in enumerate(self.lists.items()):
            told = self._progress(f"running {side}, source", len(inputs))
            with open_session(plan.model, "onnxruntime", "cpu") as session:
                made = run_list(
                    session,
                    inputs,
                    plan.work / "source",
                    device_id=device_id,
                    binary=True,
                    restart=plan.restart,
                    progress=told,
                )
            folders[side] = made.dumps
        theirs = self._measured(folders["query"], folders["gallery"])
        cosine = min(smallest_cosine(ours.query, theirs.query), smallest_cosine(ours.gallery, theirs.gallery))
        figures = theirs.euclidean
        return Source(f"{plan.model.name} on the CPU", figures.rank_k(1), figures.map_mean_precision), cosine

    def _progress(self, step: str, total: int) -> Callable[[int], None]:
        done = 0

        def told(count: int) -> None:
            nonlocal done
            done += count
            self.progress(step, done, total)

        return told


def _opened(model: Path, device_id: int) -> Session:
    """On an Ascend where this ONNX Runtime has its provider, else on the CPU: every file and line says which it was."""
    return open_session(model, "onnxruntime", device_name(device_id))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise output_error(folder, exc) from exc


def parts_missing(data: Path) -> list[Path]:
    """The folders of the data set that are not there."""
    return [data / folder for folder in SIDES.values() if not (data / folder).is_dir()]


def no_device(work: Path) -> Sequence[str]:
    """What this machine lacks for the real thing, in words; empty on a machine with an Ascend."""
    lacking = [atc_missing(), "" if tool_here(work) else NO_TOOL]
    return [reason for reason in lacking if reason]
