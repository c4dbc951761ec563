"""What one person wears: which garments, of which cloth, how long and how loose, and what they carry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.random import Generator

from sightline.synth.dice import between, chance, fresh_seed, weighted
from sightline.synth.fabric import Fabric, fabric
from sightline.synth.palette import BAGS, BOTTOMS, SHOES, TOPS, cloth_colour, contrasting, hair_colour, skin_colour
from sightline.types import FloatArray

_TOP_SHARE = MappingProxyType(
    {"t-shirt": 32, "shirt": 15, "tank": 5, "jacket": 17, "hoodie": 10, "coat": 8, "dress": 8, "pullover": 9}
)
_BOTTOM_SHARE = MappingProxyType({"trousers": 38, "jeans": 28, "shorts": 18, "skirt": 10, "leggings": 6})
_HAIR_SHARE = MappingProxyType({"short": 40, "bob": 12, "long": 18, "ponytail": 13, "bun": 6, "bald": 4, "afro": 7})
_HAT_SHARE = MappingProxyType({"none": 80, "cap": 8, "beanie": 4, "brimmed": 3, "hood": 3, "headscarf": 2})
_BAG_SHARE = MappingProxyType({"none": 42, "backpack": 24, "shoulder": 16, "handbag": 12, "suitcase": 6})
_PLAIN_MOSTLY = MappingProxyType(
    {"plain": 82, "melange": 6, "checks": 3, "rings": 2, "dots": 2, "camouflage": 3, "gradient": 2}
)
_DENIM = MappingProxyType({"denim": 62, "navy": 18, "charcoal": 10, "black": 10})
_LONG_SLEEVES = ("jacket", "coat", "hoodie", "pullover")


@dataclass(frozen=True, eq=False)
class Top:
    kind: str
    cloth: Fabric
    under: Fabric  # what an open jacket shows
    sleeve: float  # share of the arm covered
    opening: float  # half angle of an open front, radians; 0 is closed
    neckline: float  # depth of the neck opening, share of the torso
    hem: float  # how far below the hip joint it hangs, metres; negative is tucked in
    slack: float  # metres added to the girth
    logo: str  # "none", "chest", "breast", "back"
    logo_colour: FloatArray
    logo_seed: int


@dataclass(frozen=True, eq=False)
class Bottom:
    kind: str
    cloth: Fabric
    length: float  # share of the leg covered
    slack: float  # metres added to the girth
    flare: float  # girth at the hem over girth at the hip, for skirts
    fade: float  # lighter thighs of worn denim
    side_stripe: FloatArray | None


@dataclass(frozen=True, eq=False)
class Bag:
    kind: str
    colour: FloatArray
    trim: FloatArray
    left: bool  # the side it is carried on
    size: float  # 1 = average


@dataclass(frozen=True, eq=False)
class Outfit:
    skin: FloatArray  # (3,) BGR
    hair: str
    hair_colour: FloatArray
    hat: str
    hat_colour: FloatArray
    top: Top
    bottom: Bottom
    shoe: FloatArray
    sole: FloatArray
    sock: FloatArray
    sock_height: float  # share of the leg
    bag: Bag
    scarf: FloatArray | None
    glasses: str  # "none", "clear", "dark"
    beard: float  # 0..1
    mask: FloatArray | None  # over mouth and nose


def outfit(rng: Generator) -> Outfit:
    upper = _top(rng)
    lower = _bottom(rng, upper)
    shoe = cloth_colour(rng, SHOES)
    return Outfit(
        skin=skin_colour(rng),
        hair=weighted(rng, _HAIR_SHARE),
        hair_colour=hair_colour(rng),
        hat=weighted(rng, _HAT_SHARE),
        hat_colour=upper.cloth.base if upper.kind == "hoodie" else cloth_colour(rng, TOPS),
        top=upper,
        bottom=lower,
        shoe=shoe,
        sole=np.full(3, between(rng, 0.75, 0.95), np.float32) if chance(rng, 0.4) else shoe * np.float32(0.6),
        sock=cloth_colour(rng, MappingProxyType({"white": 5, "black": 4, "grey": 2, "loud": 1})),
        sock_height=between(rng, 0.0, 0.16) if chance(rng, 0.85) else between(rng, 0.2, 0.42),
        bag=_bag(rng),
        scarf=cloth_colour(rng, TOPS) if chance(rng, 0.07) else None,
        glasses=weighted(rng, MappingProxyType({"none": 74, "clear": 18, "dark": 8})),
        beard=between(rng, 0.3, 1.0) if chance(rng, 0.14) else 0.0,
        mask=cloth_colour(rng, MappingProxyType({"white": 4, "pastel": 3, "black": 3})) if chance(rng, 0.05) else None,
    )


def _top(rng: Generator) -> Top:
    kind = weighted(rng, _TOP_SHARE)
    layered = kind in ("jacket", "coat") or (kind in ("shirt", "hoodie") and chance(rng, 0.2))
    cloth = fabric(rng, TOPS, kinds=_PLAIN_MOSTLY) if layered else fabric(rng, TOPS)
    return Top(
        kind=kind,
        cloth=cloth,
        under=fabric(rng, TOPS),
        sleeve=_sleeve(rng, kind),
        opening=between(rng, 0.18, 0.85) if layered and chance(rng, 0.75) else 0.0,
        neckline=between(rng, 0.02, 0.13),
        hem=_hem(rng, kind),
        slack=between(rng, 0.018, 0.05) if kind in _LONG_SLEEVES else between(rng, 0.004, 0.028),
        logo=weighted(rng, MappingProxyType({"none": 58, "chest": 22, "breast": 11, "back": 9})),
        logo_colour=contrasting(rng, cloth.base, TOPS),
        logo_seed=fresh_seed(rng),
    )


def _sleeve(rng: Generator, kind: str) -> float:
    if kind == "tank":
        return 0.0
    long = kind in _LONG_SLEEVES or (kind in ("shirt", "dress") and chance(rng, 0.5))
    if not long:
        return between(rng, 0.22, 0.48)
    return between(rng, 0.55, 0.75) if chance(rng, 0.15) else between(rng, 0.94, 1.0)


def _hem(rng: Generator, kind: str) -> float:
    if kind in ("dress", "coat"):
        return between(rng, 0.18, 0.62)
    return between(rng, -0.12, -0.04) if chance(rng, 0.2) else between(rng, 0.02, 0.14)


def _bottom(rng: Generator, upper: Top) -> Bottom:
    kind = "leggings" if upper.kind == "dress" and chance(rng, 0.4) else weighted(rng, _BOTTOM_SHARE)
    kind = "bare" if upper.kind == "dress" and kind != "leggings" else kind
    cloth = fabric(rng, _DENIM if kind == "jeans" else BOTTOMS, kinds=_PLAIN_MOSTLY)
    cloth = replace(cloth, kind="plain") if kind == "jeans" else cloth
    lengths = {"shorts": (0.3, 0.56), "skirt": (0.0, 0.0), "bare": (0.0, 0.0), "leggings": (0.6, 0.97)}
    low, high = lengths.get(kind, (0.62, 0.85) if chance(rng, 0.1) else (0.95, 1.0))
    return Bottom(
        kind=kind,
        cloth=cloth,
        length=between(rng, low, high),
        slack=0.002 if kind == "leggings" else between(rng, 0.004, 0.032),
        flare=between(rng, 0.95, 1.6),
        fade=between(rng, 0.0, 0.4) if kind == "jeans" else 0.0,
        side_stripe=contrasting(rng, cloth.base, TOPS) if kind == "trousers" and chance(rng, 0.12) else None,
    )


def _bag(rng: Generator) -> Bag:
    colour = cloth_colour(rng, BAGS)
    return Bag(
        weighted(rng, _BAG_SHARE), colour, contrasting(rng, colour, BAGS), chance(rng, 0.5), between(rng, 0.75, 1.3)
    )
