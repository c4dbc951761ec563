"""Rules about what the network is fed, the same for nvinfer and for nvtracker.

Both compute scale · (x - offset), with one scale for all channels. Against a model whose card says what it was trained
on a wrong one is proven, and an error; without a card there are only the usual mistakes, and warnings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sightline.card import PIXELS, ImageInput, Pixels
from sightline.deploy.doctor.model import Model
from sightline.deploy.doctor.nvinfer import NvinferConfig
from sightline.deploy.doctor.rules import Edit, Finding, Place, Rule, Severity
from sightline.deploy.doctor.tracker import TrackerConfig

PIX001 = Rule(
    "PIX001",
    "warning",
    "the network is fed raw pixels",
    "Without scale and offsets, values of 0..255 go into a network trained on -2..2. Vectors of unlike people "
    "then have cosine 0.92 and Market-1501 is ranked at 6 % instead of 58 %.",
    "Export with the normalisation folded in (`sightline export --preset deepstream`), or set scale and offsets.",
    bad="# no net-scale-factor, no offsets",
    good="net-scale-factor=0.01735207\noffsets=123.675;116.28;103.53",
)
PIX002 = Rule(
    "PIX002",
    "warning",
    "the pixels are divided by 255 and no more",
    "That is how detectors are fed. A torchreid model also wants the ImageNet mean taken off: without it two "
    "strangers in three pass for the same person at a threshold of 0.7.",
    "Export with the normalisation folded in, or set scale and offsets.",
    bad="net-scale-factor=0.0039215697906",
    good="net-scale-factor=0.01735207\noffsets=123.675;116.28;103.53",
)
PIX003 = Rule(
    "PIX003",
    "warning",
    "the pixels are scaled as for faces",
    "(x - 127.5) / 127.5 is the convention of face models. On a torchreid person model it costs 3 to 57 points of "
    "rank 1, and the vectors look sound.",
    "Export with the normalisation folded in, or set the ImageNet scale and offsets.",
    bad="net-scale-factor=0.0078431372549\noffsets=127.5;127.5;127.5",
    good="net-scale-factor=0.01735207\noffsets=123.675;116.28;103.53",
)
PIX004 = Rule(
    "PIX004",
    "warning",
    "the colours are in the wrong order",
    "Red and blue are exchanged: a person in red is compared as a person in blue. It costs 4 to 40 points of rank 1.",
    "model-color-format=0 for RGB, which is what torchreid models take; 1 is BGR.",
    bad="model-color-format=1",
    good="model-color-format=0",
)
PIX005 = Rule(
    "PIX005",
    "warning",
    "one scale stands for three deviations",
    "nvinfer has one scale, the network three deviations: the vectors come out at cosine 0.989 to 0.998 of the right "
    "ones. It costs at most a point of rank 1, but thresholds measured elsewhere shift.",
    "Export with the normalisation folded in, which is exact: `sightline export --preset deepstream`.",
    bad="net-scale-factor=0.01735207\noffsets=123.675;116.28;103.53",
    good="# a folded model\nnet-scale-factor=1\noffsets=0;0;0",
)
PIX006 = Rule(
    "PIX006",
    "warning",
    "the pixels are normalised twice",
    "The graph does it already, and the configuration does it again: everybody looks the same to the network (cosine "
    "0.9988 between strangers has been seen).",
    "net-scale-factor=1 and offsets=0;0;0, or none of the two.",
    bad="# a folded model\nnet-scale-factor=0.0173\noffsets=123.675;116.28;103.53",
    good="# a folded model\nnet-scale-factor=1\noffsets=0;0;0",
)
PIX007 = Rule(
    "PIX007",
    "error",
    "the scale is not above 0",
    "It is used only where it is; any other is ignored without a word, and the network is fed raw pixels.",
    "Set the scale, or leave the key out where the pixels are meant to be raw.",
    bad="net-scale-factor=0",
    good="net-scale-factor=1",
)
PIX008 = Rule(
    "PIX008",
    "error",
    "the pixels are not those the model was trained on",
    "The model's card says what it was trained on, and scale and offsets make something else of them.",
    "Set scale and offsets to what the card says, or export with the normalisation folded in.",
    bad="offsets=104;117;123",
    good="offsets=123.675;116.28;103.53",
)
PIX009 = Rule(
    "PIX009",
    "warning",
    "crops are padded to keep their shape",
    "OSNet was trained on crops stretched to 256×128. Padded ones cost about a point of mAP, and differ from "
    "everything embedded elsewhere.",
    "maintain-aspect-ratio=0; for nvtracker keepAspc: 0.",
    bad="maintain-aspect-ratio=1",
    good="maintain-aspect-ratio=0",
)
PIX010 = Rule(
    "PIX010",
    "error",
    "there is not one offset for each channel",
    "nvinfer refuses the configuration: offsets are as many as the network has channels, separated by ';'.",
    "Three numbers for three channels.",
    bad="offsets=127.5",
    good="offsets=127.5;127.5;127.5",
)
RULES = (PIX001, PIX002, PIX003, PIX004, PIX005, PIX006, PIX007, PIX008, PIX009, PIX010)

RAW = Pixels("RGB")
_SCALE_TOLERANCE = 0.03  # people round 1/57.6 to 0.017 and 1/127.5 to 0.0078
_OFFSET_TOLERANCE = 1.0


@dataclass(frozen=True)
class Feeding:
    """What one configuration makes of a pixel."""

    config: NvinferConfig | TrackerConfig
    scale_key: str
    color_key: str
    aspect_key: str
    scale: float | None  # None: not written
    offsets: tuple[float, ...] | None
    color: int
    keeps_aspect: bool

    def place(self, key: str) -> Place:
        return self.config.place(key)

    @property
    def as_used(self) -> tuple[float, tuple[float, ...]]:
        scale = self.scale if self.scale is not None and self.scale > 0 else 1.0
        return scale, self.offsets or (0.0, 0.0, 0.0)

    @property
    def is_written(self) -> bool:
        return self.scale is not None and self.offsets is not None

    @property
    def shown(self) -> str:
        return f"{self.config.shown(self.scale_key)}, {self.config.shown('offsets')}"


def of_nvinfer(config: NvinferConfig) -> Feeding:
    offsets = config.doubles("offsets")
    return Feeding(
        config,
        "net-scale-factor",
        "model-color-format",
        "maintain-aspect-ratio",
        config.double("net-scale-factor"),
        None if offsets is None else tuple(offsets),
        config.integer("model-color-format") or 0,
        config.integer("maintain-aspect-ratio") == 1,
    )


def of_tracker(config: TrackerConfig) -> Feeding:
    offsets = config.numbers("offsets")
    return Feeding(
        config,
        "netScaleFactor",
        "colorFormat",
        "keepAspc",
        config.double("netScaleFactor"),
        None if offsets is None else tuple(offsets),
        config.integer("colorFormat") or 0,
        config.integer("keepAspc") == 1,
    )


def pixel_findings(feeding: Feeding, model: Model | None) -> Iterator[Finding]:
    """`model` is None where nobody knows which network it is for."""
    channels = (model.channels if model else None) or 3
    if feeding.offsets is not None and len(feeding.offsets) != channels:
        yield PIX010.found(feeding.place("offsets"), feeding.config.shown("offsets"), f"{channels} numbers")
        return
    if feeding.scale is not None and not feeding.scale > 0:
        expected = f"{feeding.scale_key} above 0"
        yield PIX007.found(feeding.place(feeding.scale_key), feeding.config.shown(feeding.scale_key), expected)
    if feeding.keeps_aspect:
        key = feeding.aspect_key
        edits = feeding.config.set_to(key, "0")
        yield PIX009.found(feeding.place(key), feeding.config.shown(key), f"{key} 0", edits=edits)
    image = model.card.image if model and model.card else None
    known = image is not None and image.feed is not None
    yield from _by_card(feeding, image) if known and image else _by_habit(feeding, model)


def _by_card(feeding: Feeding, image: ImageInput) -> Iterator[Finding]:
    """Measured against what the card says: every difference is proven."""
    wanted = image.feed or RAW
    if feeding.color != (0 if wanted.color == "RGB" else 1):
        yield _wrong_color(feeding, wanted.color, "error")
    scale, offsets = feeding.as_used
    near = any(abs(scale * std - 1) <= _SCALE_TOLERANCE for std in wanted.std)
    if not near or not _close(offsets, wanted.mean, _OFFSET_TOLERANCE):
        yield _wrong(feeding, image, wanted)
    elif len(set(wanted.std)) > 1:
        yield PIX005.found(feeding.place(feeding.scale_key), feeding.shown, "a model with the normalisation folded in")


def _wrong(feeding: Feeding, image: ImageInput, wanted: Pixels) -> Finding:
    rule = PIX006 if image.folded else _habit(feeding) or PIX008
    scale, offsets = 3 / sum(wanted.std), ";".join(f"{value:g}" for value in wanted.mean)
    expected = f"{feeding.scale_key} {scale:.10g} and offsets {offsets}, by the model's card ({wanted})"
    edits: tuple[Edit, ...] = ()
    if len(set(wanted.std)) == 1:  # otherwise one scale is only near
        edits = (*feeding.config.set_to(feeding.scale_key, f"{scale:.10g}"), *feeding.config.set_to("offsets", offsets))
    return rule.found(feeding.place(feeding.scale_key), feeding.shown, expected, severity="error", edits=edits)


def _by_habit(feeding: Feeding, model: Model | None) -> Iterator[Finding]:
    """What is nearly always wrong for a person model."""
    place, rule = feeding.place(feeding.scale_key), _habit(feeding)
    if feeding.color == 1:
        yield _wrong_color(feeding, "RGB", "warning")
    if model is not None and model.graph is not None and model.graph.normalises:
        if rule is not PIX001:
            yield PIX006.found(place, feeding.shown, f"{feeding.scale_key} 1 and no offsets: the graph normalises")
    elif rule is PIX001 and feeding.is_written and (model is None or model.graph is None):
        return  # raw pixels on purpose, for a model that cannot be asked whether it normalises them
    elif rule is PIX005:
        yield rule.found(place, feeding.shown, "a model with the normalisation folded in", severity="note")
    elif rule is not None:
        expected = "what the model was trained on; 0.01735207 and 123.675;116.28;103.53 for a torchreid model"
        yield rule.found(place, feeding.shown, expected)


def _wrong_color(feeding: Feeding, color: str, severity: Severity) -> Finding:
    key, number = feeding.color_key, 0 if color == "RGB" else 1
    proven = severity == "error"
    edits = feeding.config.set_to(key, str(number)) if proven else ()
    expected = f"{key} {number} ({color}{', by the model card' if proven else ' for a torchreid model'})"
    return PIX004.found(feeding.place(key), feeding.config.shown(key), expected, severity=severity, edits=edits)


def _habit(feeding: Feeding) -> Rule | None:
    """Which of the usual ways of feeding this is."""
    scale, offsets = feeding.as_used
    imagenet = PIXELS["torchreid"]
    flat = _close(offsets, (0.0, 0.0, 0.0), 1e-6)
    if flat and abs(scale - 1) < 1e-6:
        return PIX001
    if flat and abs(scale * 255 - 1) <= _SCALE_TOLERANCE:
        return PIX002
    if _close(offsets, (127.5, 127.5, 127.5), _OFFSET_TOLERANCE) and abs(scale * 127.5 - 1) <= _SCALE_TOLERANCE:
        return PIX003
    approximate = _close(offsets, imagenet.mean, _OFFSET_TOLERANCE) and abs(scale * 57.6 - 1) <= 2 * _SCALE_TOLERANCE
    return PIX005 if approximate else None


def _close(values: tuple[float, ...], wanted: tuple[float, ...], tolerance: float) -> bool:
    if len(values) != len(wanted):
        return False
    return all(abs(value - want) <= tolerance for value, want in zip(values, wanted, strict=True))
