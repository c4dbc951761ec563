"""Rules about trtexec commands, wherever they are written down."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from sightline.deploy.doctor.model import Model
from sightline.deploy.doctor.rules import Finding, Rule
from sightline.deploy.doctor.scripts import Trtexec
from sightline.deploy.doctor.site import Site
from sightline.types import TensorSpec

TRT001 = Rule(
    "TRT001",
    "error",
    "shapes are given for a model with a fixed batch",
    "trtexec refuses explicit shapes for a model that has no open dimension. The usual export writes batch 1 into the "
    "file, and then no engine of another batch can be built from it.",
    "Export with an open batch, or leave the shapes out.",
    bad="trtexec --onnx=static.onnx --maxShapes=input:16x3x256x128",
    good="trtexec --onnx=open.onnx --minShapes=input:1x3x256x128 --optShapes=input:16x3x256x128 "
    "--maxShapes=input:16x3x256x128",
)
TRT002 = Rule(
    "TRT002",
    "error",
    "shapes are given for an input the model does not have",
    "Inputs are called input, images, image, input.1 or modelInput, by whoever exported the model. trtexec stops "
    "at a name it does not find.",
    "Use the name of the model's input; `sightline inspect MODEL` shows it.",
    bad="--maxShapes=images:16x3x256x128",
    good="--maxShapes=input:16x3x256x128",
)
TRT003 = Rule(
    "TRT003",
    "warning",
    "no shapes are given for a model with an open batch",
    "trtexec sets every open dimension to 1, so this is an engine for one person at a time, whatever batch-size says.",
    "Give --minShapes, --optShapes and --maxShapes.",
    bad="trtexec --onnx=open.onnx --saveEngine=open.engine",
    good="trtexec --onnx=open.onnx --minShapes=input:1x3x256x128 --optShapes=input:16x3x256x128 "
    "--maxShapes=input:16x3x256x128",
)
TRT004 = Rule(
    "TRT004",
    "error",
    "the shapes do not fit the model, or each other",
    "A profile is min ≤ opt ≤ max in every dimension, in the order of the input (batch, channels, height, width), with "
    "the model's own sizes where they are fixed.",
    "Correct the shapes.",
    bad="--minShapes=input:16x3x256x128 --maxShapes=input:1x3x256x128",
    good="--minShapes=input:1x3x256x128 --maxShapes=input:16x3x256x128",
)
RULES = (TRT001, TRT002, TRT003, TRT004)

_PROFILE = ("minShapes", "optShapes", "maxShapes", "shapes")


def trtexec_findings(build: Trtexec, site: Site) -> Iterator[Finding]:
    """Of one command, against the model of that name among what is looked at."""
    model = next((model for path, model in site.models.items() if path.name == build.model_name), None)
    if model is None or model.file is None:
        return
    given = {option: shapes for option in _PROFILE if (shapes := build.shapes(option))}
    open_inputs = [spec for spec in model.file.inputs if None in spec.shape]
    if given and model.file.inputs and not open_inputs:
        fixed = ", ".join(map(str, model.file.inputs))
        yield TRT001.found(build.place, _written(build, given), f"no shapes, since it takes {fixed} only")
        return
    if not given and open_inputs:
        yield TRT003.found(build.place, f"--onnx={build.options['onnx']}", f"shapes for {open_inputs[0]}")
    yield from _names(build, model, given)
    yield from _sizes(build, model, given)


def _written(build: Trtexec, given: dict[str, dict[str, tuple[int, ...]]]) -> str:
    return " ".join(f"--{option}={build.options[option]}" for option in given)


def _names(build: Trtexec, model: Model, given: dict[str, dict[str, tuple[int, ...]]]) -> Iterator[Finding]:
    known = [spec.name for spec in model.file.inputs] if model.file else []
    strangers = sorted({name for shapes in given.values() for name in shapes if name not in known})
    for name in strangers:
        yield TRT002.found(build.place, name, f"{' or '.join(known)}, as {model.path.name} has it")


def _sizes(build: Trtexec, model: Model, given: dict[str, dict[str, tuple[int, ...]]]) -> Iterator[Finding]:
    for spec in model.file.inputs if model.file else ():
        shapes = {option: of_input[spec.name] for option, of_input in given.items() if spec.name in of_input}
        unfit = [option for option, sizes in shapes.items() if not _fits(sizes, spec)]
        if unfit:
            yield TRT004.found(build.place, f"--{unfit[0]}={build.options[unfit[0]]}", f"shapes of {spec}")
        elif _descends([shapes[option] for option in _PROFILE[:3] if option in shapes]):
            yield TRT004.found(build.place, _written(build, given), "min ≤ opt ≤ max in every dimension")


def _fits(sizes: tuple[int, ...], spec: TensorSpec) -> bool:
    if len(sizes) != len(spec.shape):
        return False
    return all(want in {None, got} for want, got in zip(spec.shape, sizes, strict=True))


def _descends(profile: list[tuple[int, ...]]) -> bool:
    """Whether any dimension of a shape is larger than in the one that follows."""
    return any(low > high for lower, higher in pairwise(profile) for low, high in zip(lower, higher, strict=True))
