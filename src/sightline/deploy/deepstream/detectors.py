"""The detectors a pipeline can find people with: what each calls a person, how it is fed, and where it comes from.

Class ids are line numbers of a label file, and the one of a person differs from detector to detector. So the label
file, the detector's configuration and that of the network behind it are written from one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sightline.tracking.class_names import COCO

ROOT = "/opt/nvidia/deepstream/deepstream"  # a link to the version that is installed
_NGC = "https://api.ngc.nvidia.com/v2/models/org/nvidia/team/tao"
_BY_255 = "0.00392156862745098"


@dataclass(frozen=True)
class Detector:
    """`onnx` and `library` are absolute where DeepStream brings them, else seen from the deployment's folder."""

    name: str
    title: str
    labels: tuple[str, ...]
    onnx: str
    settings: Mapping[str, str]  # of its nvinfer group, beside what all detectors have
    classes: Mapping[str, str]  # of its class-attrs-all
    library: str = ""  # with the function that reads its output
    fetch: tuple[str, ...] = field(default=(), repr=False)  # shell commands, run in the deployment's folder

    @property
    def person_ids(self) -> tuple[int, ...]:
        return tuple(number for number, label in enumerate(self.labels) if label == "person")

    @property
    def other_ids(self) -> tuple[int, ...]:
        return tuple(number for number in range(len(self.labels)) if number not in self.person_ids)

    @property
    def label_file(self) -> str:
        return f"models/detector/{self.name}_labels.txt"

    @property
    def comes_along(self) -> bool:
        """Whether DeepStream's own images have it."""
        return self.onnx.startswith("/")


def _fetched(target: str, address: str) -> str:
    return f"[ -s {target} ] || wget --no-verbose '{address}' -O {target}"


def _ngc(model: str, version: str, file: str) -> str:
    return f"{_NGC}/{model}/{version}/files?redirect=true&path={file}"


_PEOPLENET = "models/detector/resnet34_peoplenet.onnx"
_TRANSFORMER = "models/detector/resnet50_peoplenet_transformer_op17.onnx"
_TAO_PARSER = f"{ROOT}/lib/libnvds_infercustomparser_tao.so"
_YOLO_PARSER = "models/detector/libnvdsinfer_custom_impl_Yolo.so"

_ALL = (
    Detector(
        name="trafficcamnet",
        title="TrafficCamNet, which lies in DeepStream's own images",
        labels=("car", "bicycle", "person", "roadsign"),
        onnx=f"{ROOT}/samples/models/Primary_Detector/resnet18_trafficcamnet_pruned.onnx",
        settings={"net-scale-factor": _BY_255, "model-color-format": "0", "cluster-mode": "2"},
        classes={"pre-cluster-threshold": "0.2", "nms-iou-threshold": "0.5", "topk": "100"},
    ),
    Detector(
        name="peoplenet",
        title="PeopleNet, from NVIDIA's catalogue",
        labels=("person", "bag", "face"),
        onnx=_PEOPLENET,
        settings={"net-scale-factor": _BY_255, "model-color-format": "0", "cluster-mode": "2"},
        classes={"pre-cluster-threshold": "0.4", "nms-iou-threshold": "0.5", "topk": "100"},
        fetch=(_fetched(_PEOPLENET, _ngc("peoplenet", "deployable_quantized_onnx_v2.6.3", "resnet34_peoplenet.onnx")),),
    ),
    Detector(
        name="peoplenet-transformer",
        title="PeopleNet Transformer, from NVIDIA's catalogue",
        labels=("BG", "person", "face", "bag"),
        onnx=_TRANSFORMER,
        settings={
            "net-scale-factor": "0.0173520735728",
            "offsets": "123.675;116.28;103.53",
            "model-color-format": "0",
            "cluster-mode": "4",
            "output-blob-names": "pred_boxes;pred_logits",
            "parse-bbox-func-name": "NvDsInferParseCustomDDETRTAO",
        },
        classes={"pre-cluster-threshold": "0.5", "topk": "100"},
        library=_TAO_PARSER,
        fetch=(
            _fetched(
                _TRANSFORMER,
                _ngc("peoplenet_transformer", "deployable_v1.1", "resnet50_peoplenet_transformer_op17.onnx"),
            ),
            f"if [ ! -e {_TAO_PARSER} ]; then",
            "  [ -d deepstream_tao_apps ] || git clone https://github.com/NVIDIA-AI-IOT/deepstream_tao_apps.git",
            f"  make -C deepstream_tao_apps/post_processor DS_SRC_PATH={ROOT}",
            f"  cp deepstream_tao_apps/post_processor/libnvds_infercustomparser_tao.so {_TAO_PARSER}",
            "fi",
        ),
    ),
    Detector(
        name="coco",
        title="YOLOX on the 80 classes of COCO, read by the parser of DeepStream-Yolo",
        labels=COCO,
        onnx="models/detector/yolox_s.onnx",
        settings={
            "net-scale-factor": "1",
            "model-color-format": "1",
            "maintain-aspect-ratio": "1",
            "symmetric-padding": "0",
            "cluster-mode": "2",
            "parse-bbox-func-name": "NvDsInferParseYolo",
        },
        classes={"pre-cluster-threshold": "0.25", "nms-iou-threshold": "0.45", "topk": "300"},
        library=_YOLO_PARSER,
        fetch=(
            f"if [ ! -e {_YOLO_PARSER} ]; then",
            "  [ -d DeepStream-Yolo ] || git clone https://github.com/marcoslucianops/DeepStream-Yolo.git",
            "  make -C DeepStream-Yolo/nvdsinfer_custom_impl_Yolo",
            f"  cp DeepStream-Yolo/nvdsinfer_custom_impl_Yolo/libnvdsinfer_custom_impl_Yolo.so {_YOLO_PARSER}",
            "fi",
            "[ -s models/detector/yolox_s.onnx ] || {",
            '  echo "put models/detector/yolox_s.onnx there, made by DeepStream-Yolo/utils/export_yolox.py" >&2',
            "  exit 1",
            "}",
        ),
    ),
)
DETECTORS: Mapping[str, Detector] = MappingProxyType({detector.name: detector for detector in _ALL})
