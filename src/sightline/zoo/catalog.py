"""The public models known by name: where each is published, under what terms, and what it must be fed.

A sha256 or a size stands here only where a published record of that very file states it (a Git LFS pointer, or
several independent lock files that agree). Where none does, the field is `None` and the cache trusts the first pull.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from sightline.card import WeightsState
from sightline.errors import ModelNotFoundError


@dataclass(frozen=True)
class ZooModel:
    """One published file and all that must be known to use it."""

    name: str
    arch: str
    task: Literal["reid", "backbone", "objects", "faces"]  # "backbone": to start training from, not to use as it is
    url: str
    file_name: str  # in the cache; publishers reuse one name for different files
    format: Literal["onnx", "checkpoint"]
    sha256: str | None  # None: nobody has published it
    size_bytes: int | None
    licence: str
    trained_on: str
    pixels: str  # a preset of `sightline.card.PIXELS`
    size_hw: tuple[int, int]
    weights: WeightsState = "trained"
    note: str = ""


_DRIVE = "https://drive.google.com/uc?export=download&id="
# The author's mirror, at one revision, so that a name can never come to mean other bytes.
_HUB = "https://huggingface.co/kaiyangzhou/osnet/resolve/a5c5cc037c24235cda3b21085b93ad77c9616224/"
_YOLOX = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/"
_OPENCV_ZOO = "https://media.githubusercontent.com/media/opencv/opencv_zoo/f12e12798e8314f7c074a6656816c048dcc95b7a/"

_TORCHREID_LICENCE = "research use (trained on academic datasets); code MIT"
_ALL_IMAGES = "_256x128_amsgrad_ep150_stp60_lr0.0015_b64_fb10_softmax_labelsmooth_flip_jitter.pth"
_NOT_REID = "classifies ImageNet; does NOT re-identify (Market-1501 R1 about 13): start training from it"

_DATASETS = {
    "market1501": "Market-1501",
    "dukemtmc": "DukeMTMC",
    "msmt17": "MSMT17",
    "msmt17_combineall": "MSMT17, all",
}


@dataclass(frozen=True)
class _Osnet:
    """A row of torchreid's model zoo, with the R1 (mAP) published there."""

    arch: str
    data: str
    url: str
    note: str
    sha256: str | None = None
    size_bytes: int | None = None


_IMAGENET = (
    _Osnet(
        "osnet_x1_0",
        "imagenet",
        f"{_HUB}osnet_x1_0_imagenet.pth",
        _NOT_REID,
        "fe2d63f9157c28a4a8d8ca29bec12d5b2988ac0346d712025789ea9174968e79",
        10_910_553,
    ),
    _Osnet(
        "osnet_x0_75",
        "imagenet",
        f"{_HUB}osnet_x0_75_imagenet.pth",
        _NOT_REID,
        "37add23d2ebc7a22584203d6c22976fdda0f7f29c7b7d79257ac22ae20aec809",
    ),
    _Osnet(
        "osnet_x0_5",
        "imagenet",
        f"{_HUB}osnet_x0_5_imagenet.pth",
        _NOT_REID,
        "f10ea9e26ee55b1a65cee3c6e88aa1ae105fe981af3e37692fa68a72fc64bf8e",
        4_708_515,
    ),
    _Osnet(
        "osnet_x0_25",
        "imagenet",
        f"{_HUB}osnet_x0_25_imagenet.pth",
        _NOT_REID,
        "f54941a66bad4ddd07f2907f498c810ce639ce7a1abeaf2a151f8da118d84693",
        2_973_731,
    ),
    _Osnet("osnet_ibn_x1_0", "imagenet", f"{_DRIVE}1sr90V6irlYYDd4_4ISU2iruoRG8J__6l", _NOT_REID),
    _Osnet("osnet_ain_x1_0", "imagenet", f"{_DRIVE}1-CaioD9NaqbHK_kzSMW8VE4_3KcsRjEo", _NOT_REID),
    _Osnet("osnet_ain_x0_75", "imagenet", f"{_DRIVE}1apy0hpsMypqstfencdH-jKIUEFOW4xoM", _NOT_REID),
    _Osnet("osnet_ain_x0_5", "imagenet", f"{_DRIVE}1KusKvEYyKGDTUBVRxRiz55G31wkihB6l", _NOT_REID),
    _Osnet("osnet_ain_x0_25", "imagenet", f"{_DRIVE}1SxQt2AvmEcgWNhaRb2xC4rP6ZwVDP0Wt", _NOT_REID),
)

_SAME_DOMAIN = (
    _Osnet("osnet_x1_0", "market1501", f"{_DRIVE}1vduhq5DpN2q1g4fYEZfPI17MJeh9qyrA", "on Market-1501 94.2 (82.6)"),
    _Osnet("osnet_x1_0", "dukemtmc", f"{_DRIVE}1QZO_4sNf4hdOKKKzKc-TZU9WW1v6zQbq", "on DukeMTMC 87.0 (70.2)"),
    _Osnet(
        "osnet_x1_0",
        "msmt17",
        f"{_DRIVE}112EMUfBPYeYg70w-syK6V6Mx8-Qb9Q1M",
        "on MSMT17 74.9 (43.8)",
        "b7d73dc67c016fd044e4027ff856019496392a7aca8fa0ed56d862a1632c1cf2",
    ),
    _Osnet("osnet_x0_75", "market1501", f"{_DRIVE}1ozRaDSQw_EQ8_93OUmjDbvLXw9TnfPer", "on Market-1501 93.7 (81.2)"),
    _Osnet("osnet_x0_75", "dukemtmc", f"{_DRIVE}1IE3KRaTPp4OUa6PGTFL_d5_KQSJbP0Or", "on DukeMTMC 85.8 (69.8)"),
    _Osnet("osnet_x0_75", "msmt17", f"{_DRIVE}1QEGO6WnJ-BmUzVPd3q9NoaO_GsPNlmWc", "on MSMT17 72.8 (41.4)"),
    _Osnet("osnet_x0_5", "market1501", f"{_DRIVE}1PLB9rgqrUM7blWrg4QlprCuPT7ILYGKT", "on Market-1501 92.5 (79.8)"),
    _Osnet("osnet_x0_5", "dukemtmc", f"{_DRIVE}1KoUVqmiST175hnkALg9XuTi1oYpqcyTu", "on DukeMTMC 85.1 (67.4)"),
    _Osnet("osnet_x0_5", "msmt17", f"{_DRIVE}1UT3AxIaDvS2PdxzZmbkLmjtiqq7AIKCv", "on MSMT17 69.7 (37.5)"),
    _Osnet("osnet_x0_25", "market1501", f"{_DRIVE}1z1UghYvOTtjx7kEoRfmqSMu-z62J6MAj", "on Market-1501 91.2 (75.0)"),
    _Osnet("osnet_x0_25", "dukemtmc", f"{_DRIVE}1eumrtiXT4NOspjyEV4j8cHmlOaaCGk5l", "on DukeMTMC 82.0 (61.4)"),
    _Osnet(
        "osnet_x0_25",
        "msmt17",
        f"{_DRIVE}1sSwXSUlj4_tHZequ_iZ8w_Jh0VaRQMqF",
        "on MSMT17 61.4 (29.5)",
        "6f57607fed9f502b9efed546108132ee715df5a5b6e6932c6269bacb47f59f99",
        3_057_863,
    ),
)

# Trained to be used on cameras they have not seen; AIN carries over best.
_CROSS_DOMAIN = (
    _Osnet(
        "osnet_x1_0",
        "msmt17_combineall",
        f"{_HUB}osnet_x1_0_msmt17_combineall{_ALL_IMAGES}",
        "on Market-1501 66.6 (37.5)",
        "48df972f72887b95cf3b43b3a07c3a7d2398381aea0f9cae64a7ef11d512b727",
    ),
    _Osnet(
        "osnet_x0_75",
        "msmt17_combineall",
        f"{_HUB}osnet_x0_75_msmt17_combineall{_ALL_IMAGES}",
        "on Market-1501 63.6 (35.5)",
    ),
    _Osnet(
        "osnet_x0_5",
        "msmt17_combineall",
        f"{_HUB}osnet_x0_5_msmt17_combineall{_ALL_IMAGES}",
        "on Market-1501 64.3 (34.9)",
    ),
    _Osnet(
        "osnet_x0_25",
        "msmt17_combineall",
        f"{_HUB}osnet_x0_25_msmt17_combineall{_ALL_IMAGES}",
        "on Market-1501 59.9 (31.0)",
        "cf55163d78fc44c62c82f85ab62d39f10438679b5abe8c698ae08cfa84aa6e18",
        9_336_983,
    ),
    _Osnet(
        "osnet_ibn_x1_0",
        "msmt17_combineall",
        f"{_HUB}osnet_ibn_x1_0_msmt17_combineall{_ALL_IMAGES}",
        "on Market-1501 66.5 (37.2)",
    ),
    _Osnet(
        "osnet_ain_x1_0",
        "msmt17_combineall",
        # Published without "combineall" in its name; the zoo's table says it saw all images.
        f"{_HUB}osnet_ain_x1_0_msmt17_256x128_amsgrad_ep50_lr0.0015_coslr_b64_fb10_softmax_labsmth_flip_jitter.pth",
        "on Market-1501 70.1 (43.3); the first choice for cameras nobody has trained on",
        "8a07e8da38946f7cee37f4561617bf8b6d2fe8f3a4027852893ea092e46d919f",
        17_293_009,
    ),
    _Osnet("osnet_ibn_x1_0", "market1501", f"{_DRIVE}1uWW7_z_IcUmRNPqQOrEBdsvic94fWH37", "on DukeMTMC 48.5 (26.7)"),
    _Osnet("osnet_ain_x1_0", "market1501", f"{_DRIVE}14bNFGm0FhwHEkEpYKqKiDWjLNhXywFAd", "on DukeMTMC 52.4 (30.5)"),
    _Osnet("osnet_ibn_x1_0", "dukemtmc", f"{_DRIVE}1CNxL1IP0BjcE1TSttiVOID1VNipAjiF3", "on Market-1501 57.7 (26.1)"),
    _Osnet("osnet_ain_x1_0", "dukemtmc", f"{_DRIVE}1hypJvq8G04SOby6jvF337GEkg5K_bmCw", "on Market-1501 61.0 (30.6)"),
)


def _reid_model(row: _Osnet) -> ZooModel:
    is_reid = row.data in _DATASETS
    name = f"{row.arch}_{row.data}"
    return ZooModel(
        name=name,
        arch=row.arch,
        task="reid" if is_reid else "backbone",
        url=row.url,
        file_name=f"{name}.pth",
        format="checkpoint",
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        licence=_TORCHREID_LICENCE,
        trained_on=_DATASETS.get(row.data, "ImageNet"),
        pixels="torchreid",
        size_hw=(256, 128),
        weights="trained" if is_reid else "imagenet",
        note=f"R1 (mAP) {row.note}" if is_reid else row.note,
    )


def _yolox(name: str, side: int, *, sha256: str, size_bytes: int, note: str) -> ZooModel:
    return ZooModel(
        name=name,
        arch=name,
        task="objects",
        url=f"{_YOLOX}{name}.onnx",
        file_name=f"{name}.onnx",
        format="onnx",
        sha256=sha256,
        size_bytes=size_bytes,
        licence="Apache-2.0",
        trained_on="COCO",
        pixels="raw-bgr",
        size_hw=(side, side),
        note=note,
    )


_DETECTORS = (
    _yolox(
        "yolox_nano",
        416,
        sha256="c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d",
        size_bytes=3_659_407,
        note="80 classes, person is 0; COCO AP 25.8",
    ),
    _yolox(
        "yolox_tiny",
        416,
        sha256="427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7",
        size_bytes=20_219_662,
        note="80 classes, person is 0; COCO AP 32.8",
    ),
    _yolox(
        "yolox_s",
        640,
        sha256="c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063",
        size_bytes=35_858_002,
        note="80 classes, person is 0; COCO AP 40.5",
    ),
    ZooModel(
        name="yunet",
        arch="yunet",
        task="faces",
        url=f"{_OPENCV_ZOO}models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
        file_name="yunet.onnx",
        format="onnx",
        sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
        size_bytes=232_589,
        licence="MIT",
        trained_on="WIDER FACE",
        pixels="raw-bgr",
        size_hw=(640, 640),
        note="boxes and five landmarks; faces of some 10 to 300 pixels; release 2023mar",
    ),
)


def _all_models() -> Iterator[ZooModel]:
    for row in (*_CROSS_DOMAIN, *_SAME_DOMAIN, *_IMAGENET):
        yield _reid_model(row)
    yield from _DETECTORS


CATALOG: Mapping[str, ZooModel] = MappingProxyType({model.name: model for model in _all_models()})


def find(name: str) -> ZooModel:
    """The model of that name. Raises `ModelNotFoundError` with the nearest names."""
    if name in CATALOG:
        return CATALOG[name]
    near = difflib.get_close_matches(name, CATALOG, n=3, cutoff=0.5)
    guess = f"did you mean {' or '.join(near)}? " if near else ""
    raise ModelNotFoundError(f"no model {name!r} in the zoo; {guess}see `sightline models list`")
