"""Which family a detector is of, from the graph and from what it says of one blank picture.

The picture is shown in any case, for four reasons: shapes a graph leaves open become known; a file may declare shapes
that it does not keep; decoded and undecoded answers of the same shape differ in their numbers alone; and a model that
cannot run says so before the video is opened.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from sightline.card import ImageInput
from sightline.errors import ConfigError, ModelFormatError
from sightline.runtime.cards import image_of
from sightline.runtime.session import Session, run_part
from sightline.tracking.answers import Answer
from sightline.tracking.decode_boxes import SIZE_INPUT
from sightline.tracking.families import FAMILIES, Family
from sightline.types import Array, TensorSpec

log = logging.getLogger(__name__)

AUTO = "auto"
USUAL_SIZE_HW = (640, 640)  # where neither the graph nor the user says one
GREY = 114
HOW_TO_CHOOSE = "Name the format with --detector-format"


def image_input(session: Session, size_hw: tuple[int, int] | None) -> ImageInput:
    """The input that takes the picture, its size settled: the graph's, else `size_hw`, else the usual one.

    Raises `ModelFormatError` where there is none, or an input nobody here knows how to fill, and `ConfigError` where
    the graph wants another size than the one asked for.
    """
    known = {spec.name: image_of(spec) for spec in session.inputs if _may_be_filled(spec)}
    images = [image for image in known.values() if image is not None]
    if len(images) != 1 or len(known) != len(session.inputs):
        inputs = ", ".join(map(str, session.inputs))
        raise ModelFormatError(f"{session.path.name} takes {inputs}; expected a detector, which takes one picture")
    image = images[0]
    if image.size_hw is not None and size_hw not in {None, image.size_hw}:
        raise ConfigError(
            f"{session.path.name} takes pictures of {_shown(image.size_hw)}; got {_shown(size_hw)}: leave the size out"
        )
    return replace(image, size_hw=image.size_hw or _partly_fixed(session, size_hw or USUAL_SIZE_HW))


def _may_be_filled(spec: TensorSpec) -> bool:
    return spec.name == SIZE_INPUT or image_of(spec) is not None


def _partly_fixed(session: Session, size_hw: tuple[int, int]) -> tuple[int, int]:
    """A graph may fix one side and leave the other open."""
    (spec,) = (spec for spec in session.inputs if spec.name != SIZE_INPUT)
    sides = spec.shape[2:] if spec.shape[1] == 3 else spec.shape[1:3]
    return sides[0] or size_hw[0], sides[1] or size_hw[1]


def _shown(size_hw: tuple[int, int] | None) -> str:
    return "any size" if size_hw is None else f"{size_hw[0]}x{size_hw[1]}"


def blank_answer(session: Session, image: ImageInput) -> Answer:
    """What the detector says of one grey picture."""
    size_hw = image.size_hw or USUAL_SIZE_HW
    shape = (1, *size_hw, 3) if image.layout == "NHWC" else (1, 3, *size_hw)
    blank = np.full(shape, GREY, image.dtype)
    outputs = run_part(session, feeds_of(session, image, blank), run=session.run)
    others = frozenset(spec.name for spec in session.inputs) - {image.name}
    return Answer(others, first_of(outputs), size_hw)


def feeds_of(session: Session, image: ImageInput, batch: Array) -> dict[str, Array]:
    """The pictures, and for D-FINE and RT-DETR their (width, height): that of the input, whatever the source's is."""
    feeds = {image.name: batch}
    for spec in session.inputs:
        if spec.name == SIZE_INPUT and image.size_hw is not None:
            height, width = image.size_hw
            feeds[spec.name] = np.tile(np.array([[width, height]], spec.dtype), (len(batch), 1))
    return feeds


def first_of(outputs: Mapping[str, Array], index: int = 0) -> dict[str, Array]:
    """The outputs of one picture, in float32 where they were half as precise."""
    return {name: _wide(array[index]) for name, array in outputs.items()}


def _wide(array: Array) -> Array:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def recognised(answer: Answer, wanted: str, *, model: str) -> Family:
    """The one family the answer fits, or the `wanted` one if it fits that.

    Raises `ModelFormatError` where none fits, or several do: a guess would draw boxes around nothing.
    """
    if wanted != AUTO:
        return _wanted(answer, wanted, model)
    fitting = [name for name, family in FAMILIES.items() if family.told_by_graph and family.fits(answer)]
    likely = [name for name in fitting if FAMILIES[name].plausible(answer)]
    if len(likely) == 1:
        return FAMILIES[likely[0]]
    if not fitting:
        raise ModelFormatError(f"{model} answers {shown(answer)}; that is no detector known here: {known_formats()}")
    choices = "; or ".join(f"{name}: {FAMILIES[name].says}" for name in likely or fitting)
    why = "may be any of these" if likely else "has the shape of these, but not their numbers"
    raise ModelFormatError(f"{model} answers {shown(answer)}, which {why}: {choices}. {HOW_TO_CHOOSE}")


def _wanted(answer: Answer, wanted: str, model: str) -> Family:
    if wanted not in FAMILIES:
        raise ConfigError(f"no detector format {wanted!r}; expected {AUTO}, {', '.join(FAMILIES)}")
    family = FAMILIES[wanted]
    if not family.fits(answer):
        raise ModelFormatError(f"{model} answers {shown(answer)}; that is not {wanted}: {family.says}")
    if not family.plausible(answer):  # not refused: one picture is less than somebody's word
        log.warning("%s is read as %s, as asked for; its numbers do not look like it", model, wanted)
    return family


def known_formats() -> str:
    return "expected " + ", ".join(name for name, family in FAMILIES.items() if family.told_by_graph)


def shown(answer: Answer) -> str:
    """The outputs and their shapes, the first few of them."""
    parts = [f"{name} {list(array.shape)}" for name, array in answer.outputs.items()]
    more = f" and {len(parts) - 4} more" if len(parts) > 4 else ""
    return ", ".join(parts[:4]) + more
