"""The keys nvinfer knows, by the kind of value each takes.

From the public sources of DeepStream 9.1; nvinfer warns of any other key and goes on without it.
"""

from __future__ import annotations

from typing import Literal

Kind = Literal["integer", "double", "integers", "doubles", "path", "text"]

_PROPERTY: dict[Kind, str] = {
    "integer": """
        gie-unique-id process-mode network-type output-tensor-meta batch-size network-mode model-color-format
        maintain-aspect-ratio operate-on-gie-id input-object-min-width input-object-min-height input-object-max-width
        input-object-max-height interval secondary-reinfer-interval classifier-async-mode auto-inc-mem
        input-tensor-from-meta gpu-id disable-output-host-copy enable-dla use-dla-core dump-input-tensor
        dump-output-tensor overwrite-input-tensor overwrite-output-tensor raw-output-file-write tensor-meta-pool-size
        workspace-size force-implicit-batch-dim symmetric-padding scaling-filter scaling-compute-hw
        network-input-order num-detected-classes enable-dbscan cluster-mode crop-objects-to-roi-boundary
        segmentation-output-order output-instance-mask is-classifier uff-input-order
    """,
    "double": "net-scale-factor max-gpu-mem-per classifier-threshold segmentation-threshold",
    "integers": "operate-on-class-ids infer-dims filter-out-class-ids input-dims uff-input-dims",
    "doubles": "offsets",
    "path": """
        onnx-file model-engine-file labelfile-path int8-calib-file mean-file custom-lib-path model-file proto-file
        tlt-encoded-model tlt-model uff-file ip-tensor-file custom-network-config
    """,
    "text": """
        op-tensor-files output-blob-names output-io-formats layer-device-precision parse-bbox-func-name
        parse-bbox-instance-mask-func-name parse-segmentation-func-name parse-classifier-func-name
        engine-create-func-name classifier-type tlt-model-key uff-input-blob-name
    """,
}
_CLASS_ATTRS: dict[Kind, str] = {
    "double": """
        threshold pre-cluster-threshold post-cluster-threshold eps dbscan-min-score nms-iou-threshold
    """,
    "integer": """
        group-threshold minBoxes roi-top-offset roi-bottom-offset detected-min-w detected-min-h detected-max-w
        detected-max-h topk
    """,
    "text": "border-color bg-color",
}
NEWER = frozenset({"strongly-typed", "warmup-engine", "stabilize-buffer-count", "dynamic-properties"})  # from 9.0 on


def _by_key(keys: dict[Kind, str]) -> dict[str, Kind]:
    return {key: kind for kind, names in keys.items() for key in names.split()}


PROPERTY = _by_key(_PROPERTY)
CLASS_ATTRS = _by_key(_CLASS_ATTRS)
DETECTOR_KEYS = (
    "num-detected-classes",
    "cluster-mode",
    "parse-bbox-func-name",
    "parse-bbox-instance-mask-func-name",
    "enable-dbscan",
    "filter-out-class-ids",
)
CLASSIFIER_KEYS = ("classifier-threshold", "classifier-type", "parse-classifier-func-name", "is-classifier")


def known_keys(group: str) -> dict[str, Kind]:
    """The keys of a group, empty for a group nvinfer does not read."""
    if group == "property":
        return PROPERTY
    return CLASS_ATTRS if group.startswith("class-attrs-") else {}
