"""What a model file says about itself: the one place where a mean, a size or a colour order is written down.

A card travels in the metadata of an ONNX file and beside the weights of a checkpoint. Everything that feeds a model
reads the card, so nobody types a mean, a batch size or a feature dimension anywhere else.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from types import MappingProxyType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from sightline._version import __version__
from sightline.errors import CardError

CARD_KEY = "sightline.card"  # of the ONNX metadata, and of the checkpoint dict
CARD_VERSION = 1

Color = Literal["RGB", "BGR"]
Layout = Literal["NCHW", "NHWC"]
Resize = Literal["antialias", "linear", "area"]
WeightsState = Literal["trained", "imagenet", "untrained", "unknown"]
Aggregation = Literal["single", "averaged"]


def _check(condition: bool, what: str) -> None:
    if not condition:
        raise CardError(what)


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    _check(value in choices, f"card {name} is {value!r}; expected one of {', '.join(choices)}")


@dataclass(frozen=True)
class Pixels:
    """The pixels a network was trained on: `(x - mean) / std` for x in 0..255, channels in `color` order."""

    color: Color
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        _check_choice("pixels.color", self.color, get_args(Color))
        for name, values in (("mean", self.mean), ("std", self.std)):
            sound = len(values) == 3 and all(math.isfinite(value) for value in values)
            _check(sound, f"card pixels.{name} is {values}; expected three finite numbers")
        _check(min(self.std) > 0, f"card pixels.std is {self.std}; expected positive numbers")

    def __str__(self) -> str:
        if self == Pixels(self.color):
            return f"{self.color} 0..255 as they are"
        return f"{self.color}, (x - {_join(self.mean)}) / {_join(self.std)}"


def _join(values: tuple[float, ...]) -> str:
    return "/".join(f"{value:g}" for value in values) if len(set(values)) > 1 else f"{values[0]:g}"


PIXELS: Mapping[str, Pixels] = MappingProxyType(
    {
        # ImageNet statistics ×255, as torchreid trains all its person models.
        "torchreid": Pixels("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        # ArcFace and its descendants, on aligned 112×112 faces.
        "face": Pixels("RGB", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
        # The same numbers on person models, as the DeepStream re-ID guide sets them: wrong for torchreid weights,
        # kept under its own name for models that really were trained so.
        "deepstream-guide": Pixels("RGB", (127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
        # Open Model Zoo person re-identification: raw BGR.
        "omz": Pixels("BGR"),
        "raw-rgb": Pixels("RGB"),
        "raw-bgr": Pixels("BGR"),
        "unit": Pixels("RGB", std=(255.0, 255.0, 255.0)),
    }
)


def pixels_named(name: str) -> Pixels:
    """The preset of that name. Raises `CardError` listing the presets."""
    _check(name in PIXELS, f"no pixel preset {name!r}; expected one of {', '.join(PIXELS)}")
    return PIXELS[name]


@dataclass(frozen=True)
class ImageInput:
    """The image input of a network: what the graph declares, and which pixels belong in it.

    `pixels` is what the *network* was trained on. Where `folded`, the graph itself turns raw 0..255 values in
    `fed_color` order into that, so the caller normalises nothing.
    """

    name: str
    size_hw: tuple[int, int] | None  # None: the graph leaves it open and nobody said
    pixels: Pixels | None = None  # None: nobody said
    folded: bool = False
    fed_color: Color | None = None  # None: the order in `pixels`
    layout: Layout = "NCHW"
    dtype: str = "float32"
    batch: int | None = None  # None: any
    resize: Resize = "antialias"

    def __post_init__(self) -> None:
        _check(bool(self.name), "card image.name is empty; expected the name of a graph input")
        if self.size_hw is not None:
            sound = len(self.size_hw) == 2 and all(side > 0 for side in self.size_hw)
            _check(sound, f"card image.size_hw is {self.size_hw}; expected two positive numbers")
        _check_choice("image.layout", self.layout, get_args(Layout))
        _check_choice("image.resize", self.resize, get_args(Resize))
        _check_choice("image.dtype", self.dtype, ("float32", "float16", "uint8"))
        if self.fed_color is not None:
            _check_choice("image.fed_color", self.fed_color, get_args(Color))
        _check(self.batch is None or self.batch > 0, f"card image.batch is {self.batch}; expected 1 or more")
        raw = self.folded or self.pixels is None or self.dtype != "uint8" or self.pixels == Pixels(self.pixels.color)
        _check(raw, "card image.dtype is uint8 but its pixels are not folded into the graph")

    @property
    def feed(self) -> Pixels | None:
        """What the caller must put in: raw values when the graph normalises, else the trained pixels."""
        if not self.folded or self.pixels is None:
            return self.pixels
        return Pixels(self.fed_color or self.pixels.color)


@dataclass(frozen=True)
class VectorOutput:
    """The embedding a network puts out."""

    name: str
    dim: int | None  # None: the graph leaves it open and nobody said
    normalised: bool | None = None  # None: nobody said

    def __post_init__(self) -> None:
        _check(bool(self.name), "card output.name is empty; expected the name of a graph output")
        _check(self.dim is None or self.dim > 0, f"card output.dim is {self.dim}; expected 1 or more")


@dataclass(frozen=True)
class Threshold:
    """A score above which two vectors are the same person, and how often that is wrong."""

    value: float
    far: float  # expected false-accept rate
    aggregation: Aggregation
    pairs: int  # impostor pairs it was measured on
    source: str = ""

    def __post_init__(self) -> None:
        _check_choice("threshold.aggregation", self.aggregation, get_args(Aggregation))
        _check(math.isfinite(self.value), f"card threshold.value is {self.value}; expected a finite number")
        _check(0.0 <= self.far <= 1.0, f"card threshold.far is {self.far}; expected 0..1")


@dataclass(frozen=True)
class ModelCard:
    """All a caller must know to run a model, and all a gallery must know to trust its vectors."""

    task: str  # "reid", "face", "ball", …
    arch: str
    image: ImageInput | None = None
    output: VectorOutput | None = None
    weights: WeightsState = "unknown"
    fingerprint: str = ""  # of the weights: those of a checkpoint's tensors, or of a file without a card
    precision: str = "float32"
    trained_on: str = ""
    licence: str = ""
    thresholds: tuple[Threshold, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    created_by: str = f"sightline {__version__}"
    version: int = CARD_VERSION

    def __post_init__(self) -> None:
        _check(bool(self.task), "card task is empty; expected e.g. 'reid'")
        _check_choice("weights", self.weights, get_args(WeightsState))
        known = self.fingerprint == "" or re.fullmatch(r"[0-9a-f]{16,64}", self.fingerprint)
        _check(bool(known), f"card fingerprint is {self.fingerprint!r}; expected lowercase hexadecimal")

    def unknowns(self) -> tuple[str, ...]:
        """What nobody has said about this model, each in words a user can act on."""
        image, output = self.image, self.output
        open_questions = {
            "image size (--size HEIGHTxWIDTH)": image is not None and image.size_hw is None,
            "colour order, mean and std (--pixels PRESET)": image is not None and image.pixels is None,
            "feature dimension": output is not None and output.dim is None,
            "whether its vectors are L2-normalised": output is not None and output.normalised is None,
            "whether its weights are trained": self.weights == "unknown",
        }
        return tuple(question for question, is_open in open_questions.items() if is_open)

    def to_json(self) -> str:
        """The card as one line of JSON, keys sorted, so that the same card is the same bytes."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, *, origin: str = "card") -> ModelCard:
        """Read and validate a card. `origin` names the file in errors."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise CardError(f"{origin}: model card is not JSON ({exc}); re-export the model") from exc
        try:
            _check_version(data)
            return _part_from_json(cls, data, where="")
        except (CardError, OverflowError) as exc:
            raise CardError(f"{origin}: {exc}") from exc


def _check_version(data: object) -> None:
    """Comes first: what a newer card means by keys unknown here is not for this version to judge."""
    _check(isinstance(data, dict), f"model card is {_json_kind(data)}; expected a JSON object")
    version: Any = cast(dict[str, Any], data).get("version")
    sound = type(version) is int and version >= 1
    _check(sound, f"card version is {version!r}; expected a whole number, 1 or more")
    newer = f"model card version {version} is newer than this sightline reads ({CARD_VERSION})"
    _check(version <= CARD_VERSION, f"{newer}; upgrade sightline")


def _json_kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


_Part = TypeVar("_Part", ModelCard, ImageInput, Pixels, VectorOutput, Threshold)


def _part_from_json(part: type[_Part], data: object, *, where: str) -> _Part:
    """A JSON object as one of the dataclasses above, held to its annotations. `where` is the path of keys to it."""
    name = f"card {where}" if where else "card"
    _check(isinstance(data, dict), f"{name} is {_json_kind(data)}; expected a JSON object")
    given = cast(dict[str, Any], data)
    known = {item.name: item for item in fields(part)}
    # Half-said pixels must not become "subtract nothing": the defaults of Pixels are for those who write Python.
    needed = [key for key, item in known.items() if part is Pixels or _has_no_default(item)]
    missing = ", ".join(key for key in needed if key not in given)
    _check(not missing, f"{name} lacks {missing}; add it, or re-export the model")
    unknown = ", ".join(sorted(given.keys() - known.keys()))
    _check(not unknown, f"{name} has {unknown}, which means nothing here; expected {', '.join(known)}")
    hints, prefix = get_type_hints(part), f"{where}." if where else ""
    return part(**{key: _typed(hints[key], value, where=prefix + key) for key, value in given.items()})


def _has_no_default(item: Field[Any]) -> bool:
    return item.default is MISSING and item.default_factory is MISSING


_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _typed(hint: Any, value: Any, *, where: str) -> Any:
    """A JSON value as the annotation wants it: lists become tuples, objects dataclasses; nothing else is converted."""
    if get_origin(hint) in {Union, UnionType}:  # `Literal[…] | None` makes the one, `int | None` the other
        return None if value is None else _typed(get_args(hint)[0], value, where=where)
    if get_origin(hint) is Literal:
        _check_choice(where, value, get_args(hint))
        return value
    if get_origin(hint) is tuple:
        return _typed_list(get_args(hint), value, where=where)
    if get_origin(hint) is Mapping:
        sound = isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
        _check(sound, f"card {where} is {value!r}; expected text values by name")
        return value
    if hint in (ImageInput, Pixels, VectorOutput, Threshold):
        return _part_from_json(hint, value, where=where)
    sound = type(value) is hint or (hint is float and type(value) is int)
    _check(sound, f"card {where} is {value!r}; expected {_WORDS.get(hint)}")
    return hint(value)


def _typed_list(hints: tuple[Any, ...], value: object, *, where: str) -> tuple[Any, ...]:
    _check(isinstance(value, list), f"card {where} is {value!r}; expected a list")
    items = cast(list[Any], value)
    wanted = [hints[0]] * len(items) if hints[-1] is Ellipsis else list(hints)
    _check(len(items) == len(wanted), f"card {where} is {value!r}; expected {len(wanted)} values")
    return tuple(
        _typed(hint, item, where=f"{where}[{index}]")
        for index, (hint, item) in enumerate(zip(wanted, items, strict=True))
    )
