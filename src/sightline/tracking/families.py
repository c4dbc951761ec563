"""The families of detectors: how each was fed, and how it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from sightline.card import Pixels, pixels_named
from sightline.tracking import decode_boxes, decode_cells
from sightline.tracking.answers import (
    Answer,
    any_answer,
    are_scores,
    classes_after,
    columns,
    has,
    has_scores_below,
    has_scores_last,
    is_decoded,
    is_end_to_end,
    is_nanodet,
    is_nanodet_plus,
    is_rfb,
    is_yolov5,
    is_yolov8,
    is_yolox,
    rows_after_4,
)
from sightline.tracking.class_names import FACES
from sightline.tracking.decode_cells import BINS
from sightline.tracking.letterbox import Fit
from sightline.types import Array, Detections
from sightline.yunet import MIN_SCORE as SURE_FACE
from sightline.yunet import OUTPUTS as YUNET_OUTPUTS


@dataclass(frozen=True)
class Family:
    """One way of feeding and reading a detector."""

    says: str  # in a few words, for whoever has to choose
    pixels: Pixels
    fit: Fit
    decode: Callable[[Mapping[str, Array], tuple[int, int], float], Detections]  # outputs, size_hw, min_score
    fits: Callable[[Answer], bool]  # whether names and shapes are those of the family
    plausible: Callable[[Answer], bool] = any_answer  # whether the numbers are, where shapes do not tell
    classes_in: Callable[[Answer], int] = lambda answer: 1
    names: tuple[str, ...] = ()  # of the classes, where the family has its own
    max_overlap: float = 1.0  # 1: the graph has already dropped what overlaps
    min_score: float = 0.1  # low: trackers make use of boxes a person would not call sure
    told_by_graph: bool = True  # False: only ever chosen by name


# How they were fed

COCO_CLASSES = 80  # assumed where labels come as numbers alone; whoever trained on others has to name them
_CORNER, _CENTRE, _STRETCH = Fit("corner"), Fit("centre"), Fit("stretch", resize="antialias")
_RAW, _UNIT = pixels_named("raw-bgr"), pixels_named("unit")
_IMAGENET = pixels_named("torchreid")
_NANODET = Pixels("BGR", (103.53, 116.28, 123.675), (57.375, 57.12, 58.395))

_YOLOX = Family(
    "YOLOX, which leaves the decoding to the caller",
    _RAW,
    _CORNER,
    decode_cells.decode_yolox,
    is_yolox,
    plausible=lambda answer: has_scores_last(answer) and not is_decoded(answer),
    classes_in=classes_after(5),
    max_overlap=0.65,
)
_NANODET_PLUS = Family(
    "NanoDet-Plus, four grids",
    _NANODET,
    Fit("stretch"),
    decode_cells.decode_nanodet_plus,
    is_nanodet_plus,
    plausible=lambda answer: are_scores(columns(0, -4 * BINS)(answer)),
    classes_in=classes_after(4 * BINS),
    max_overlap=0.6,
)
_YOLOV8 = Family(
    "YOLOv8, YOLO11 and others with a column for each box",
    _UNIT,
    _CENTRE,
    decode_boxes.decode_yolov8,
    is_yolov8,
    plausible=has_scores_below,
    classes_in=rows_after_4,
    max_overlap=0.7,
)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "yolox": _YOLOX,
        "yolox-decoded": replace(
            _YOLOX,
            says="YOLOX exported with its decoding (blue first, 0..255, padded at the corner)",
            decode=decode_boxes.decode_yolov5,
            plausible=lambda answer: has_scores_last(answer) and is_decoded(answer),
        ),
        "yolox-legacy": replace(
            _YOLOX, says="YOLOX before 0.1.1 (ImageNet mean and std)", pixels=_IMAGENET, told_by_graph=False
        ),
        "d-fine": Family(
            "D-FINE and RT-DETR",
            _UNIT,
            _STRETCH,
            decode_boxes.decode_d_fine,
            lambda answer: has(
                answer,
                outputs=frozenset({"labels", "boxes", "scores"}),
                inputs=frozenset({decode_boxes.SIZE_INPUT}),
            ),
            classes_in=lambda answer: COCO_CLASSES,
        ),
        "rf-detr": Family(
            "RF-DETR",
            _IMAGENET,
            _STRETCH,
            decode_boxes.decode_rf_detr,
            lambda answer: has(answer, outputs=frozenset({"dets", "labels"})),
            classes_in=lambda answer: answer.outputs["labels"].shape[-1],
        ),
        "yolov8": _YOLOV8,
        "end-to-end": replace(
            _YOLOV8,
            says="YOLOv10, YOLO26 and others that need no suppression",
            decode=decode_boxes.decode_end_to_end,
            fits=is_end_to_end,
            plausible=lambda answer: are_scores(columns(4, 5)(answer)),
            classes_in=lambda answer: COCO_CLASSES,
            max_overlap=1.0,
        ),
        "yolov5": replace(
            _YOLOV8,
            says="YOLOv5 and others with centre, size, object and classes (red first, 0..1, padded on both sides)",
            decode=decode_boxes.decode_yolov5,
            fits=is_yolov5,
            plausible=lambda answer: has_scores_last(answer) and is_decoded(answer),
            classes_in=classes_after(5),
            max_overlap=0.45,
        ),
        "nanodet-plus": _NANODET_PLUS,
        "nanodet": replace(
            _NANODET_PLUS,
            says="the first NanoDet, three grids",
            fit=Fit("centre", pad=0),
            decode=decode_cells.decode_nanodet,
            fits=is_nanodet,
        ),
        "yunet": Family(
            "YuNet, faces with five points",
            _RAW,
            Fit("corner", pad=0, resize="area", enlarge=False),
            decode_boxes.decode_faces,
            lambda answer: has(answer, outputs=YUNET_OUTPUTS),
            names=FACES,
            min_score=SURE_FACE,
        ),
        "rfb": Family(
            "RFB-320, faces",
            Pixels("RGB", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
            Fit("stretch"),
            decode_boxes.decode_rfb,
            is_rfb,
            names=FACES,
            max_overlap=0.3,
            min_score=SURE_FACE,
        ),
    }
)
