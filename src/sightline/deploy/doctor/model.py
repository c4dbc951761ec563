"""A model file as the doctor sees it: what can be known without running it, and what is wrong with the file itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sightline.card import CARD_KEY, ModelCard
from sightline.deploy.doctor.graph import Graph, cut_short, read_graph
from sightline.deploy.doctor.rules import Finding, Place, Rule
from sightline.errors import CardError, ModelFormatError, ModelNotFoundError
from sightline.files import is_outside, is_regular_file, require_model_file
from sightline.onnx_file import OnnxFile, read_onnx
from sightline.runtime.cards import NO_CLAIMS, card_of_onnx, require_agreement
from sightline.types import TensorSpec

ONNX001 = Rule(
    "ONNX001",
    "error",
    "the model is not there",
    'nvinfer and nvtracker stop with "Failed to open file" and then "Failed to create NvDsInferContext". A relative '
    "path counts from the folder of the configuration, not from where the program was started.",
    "Copy the model there, or correct the path. A comment behind a path is part of the path.",
    bad="onnx-file=/opt/models/osnet.onx",
    good="onnx-file=/opt/models/osnet.onnx",
)
ONNX002 = Rule(
    "ONNX002",
    "error",
    "the model file is no sound ONNX file",
    "Empty, one byte, a pointer that Git LFS left, a web page saved under a model's name, or a copy that was cut off: "
    "all of them have the right name and fail only when the engine is built.",
    "Copy or download it again; for a pointer run `git lfs pull` where it came from.",
)
ONNX003 = Rule(
    "ONNX003",
    "error",
    "the weights file beside the model is missing",
    "PyTorch's newer exporter writes two files, the structure and the weights (`.onnx.data`). TensorRT says "
    '"Failed to open file … .onnx.data" where only the first was copied.',
    "Copy the weights beside the model, or make one file of both: `sightline export MODEL -o ONE.onnx "
    "--embed-weights`.",
)
ONNX004 = Rule(
    "ONNX004",
    "error",
    "the weights file beside the model is cut short",
    "The model says how many bytes of it each tensor needs, and there are fewer. A copy that was interrupted "
    "leaves that.",
    "Copy the weights file again, whole.",
)
ONNX005 = Rule(
    "ONNX005",
    "error",
    "the model names weights outside its own folder",
    'Runtimes refuse to follow such a path ("External data path validation failed"), since a model from elsewhere '
    "could make them read any file. The weights are usually where somebody exported the model, and nowhere else.",
    "Export it again as one file, or get it with its weights from a source you trust.",
)
ONNX006 = Rule(
    "ONNX006",
    "warning",
    "the model is two files",
    "It works where both are, and stops working when one of them is copied. Everything that follows a path in a "
    "configuration copies one.",
    "Make one file of it: `sightline export MODEL -o ONE.onnx --embed-weights`.",
)
ONNX011 = Rule(
    "ONNX011",
    "error",
    "the model's card is damaged, or is not of this model",
    "The card says what the model is fed and what its vectors may be compared with. If it does not fit the graph, "
    "one of the two is of another model, and nothing it says can be relied on.",
    "Export the model again.",
)
RULES = (ONNX001, ONNX002, ONNX003, ONNX004, ONNX005, ONNX006, ONNX011)


@dataclass(frozen=True)
class Model:
    """`file`, `graph` and `card` are None as far as the file cannot be read; `problems` says why."""

    path: Path
    file: OnnxFile | None
    graph: Graph | None
    card: ModelCard | None
    problems: tuple[Finding, ...]

    @property
    def image(self) -> TensorSpec | None:
        """The one image it takes."""
        inputs = self.file.inputs if self.file else ()
        return inputs[0] if len(inputs) == 1 and len(inputs[0].shape) == 4 else None

    @property
    def channels(self) -> int | None:
        return None if self.image is None else self.image.shape[1]

    @property
    def size_hw(self) -> tuple[int | None, int | None]:
        """As the graph declares it; None where it is open."""
        return (None, None) if self.image is None else (self.image.shape[2], self.image.shape[3])

    @property
    def fixed_batch(self) -> int | None:
        return None if self.image is None else self.image.shape[0]

    @property
    def vector(self) -> TensorSpec | None:
        """The output that is one row an image, where exactly one is."""
        rows = [spec for spec in (self.file.outputs if self.file else ()) if len(spec.shape) == 2]
        return rows[0] if len(rows) == 1 else None

    @property
    def dim(self) -> int | None:
        return None if self.vector is None else self.vector.shape[1]

    @property
    def carries_card(self) -> bool:
        return self.file is not None and CARD_KEY in self.file.metadata

    @property
    def is_of_people(self) -> bool:
        """Whether its card says that its vectors tell people apart."""
        return self.carries_card and self.card is not None and self.card.task in {"reid", "face"}


def read_model(path: Path) -> Model:
    """Never raises for what the file contains."""
    try:
        file = read_onnx(path)
        graph = read_graph(file)
    except ModelNotFoundError:
        return _broken(path, ONNX001.found(Place(path), "no such file", "an ONNX file"))
    except ModelFormatError as exc:
        return _broken(path, ONNX002.found(Place(path), exc, "an ONNX file"))
    problems = list(_weights_elsewhere(file, graph))
    card, problem = _card(file)
    return Model(path, file, graph, card, (*problems, *([problem] if problem else [])))


def _broken(path: Path, problem: Finding) -> Model:
    return Model(path, None, None, None, (problem,))


def _card(file: OnnxFile) -> tuple[ModelCard | None, Finding | None]:
    try:
        card = card_of_onnx(file, NO_CLAIMS)
        require_agreement(card, file.inputs, file.outputs, origin=file.path.name)
    except CardError as exc:
        return None, ONNX011.found(Place(file.path), exc, "a card of this graph")
    return card, None


def _weights_elsewhere(file: OnnxFile, graph: Graph) -> Iterator[Finding]:
    whole = True
    for location in file.external_data:
        problem = _weights_at(file, graph, location)
        if problem is not None:
            whole = False
            yield problem
    if file.external_data and whole:
        yield ONNX006.found(Place(file.path), ", ".join(file.external_data), "weights within the model")


def _weights_at(file: OnnxFile, graph: Graph, location: str) -> Finding | None:
    place, beside = Place(file.path), file.path.parent / location
    if is_outside(file.path, location):
        return ONNX005.found(place, location, "a file beside the model")
    if not is_regular_file(beside):
        return ONNX003.found(place, f"no {location} in {file.path.parent}", "the weights beside the model")
    try:
        require_model_file(beside)
    except (ModelFormatError, ModelNotFoundError) as exc:
        return ONNX004.found(place, exc, "the weights")
    missing = max((cut_short(extent, file.path) for extent in graph.extents if extent.location == location), default=0)
    return ONNX004.found(place, f"{location} lacks {missing:,} bytes", "the whole file") if missing else None
