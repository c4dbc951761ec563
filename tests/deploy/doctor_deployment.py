"""A deployment without a fault, to be spoiled one line at a time, and tiny models for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sightline.card import CARD_KEY, PIXELS, ImageInput, ModelCard, VectorOutput
from sightline.deploy.doctor.examination import examine_targets
from sightline.deploy.doctor.rules import Finding
from sightline.deploy.doctor.site import Circumstances
from sightline.gallery.gallery import Entry, space_of
from sightline.gallery.open_gallery import open_gallery
from sightline.onnx_file import with_metadata

DIM = 512
Writer = Callable[[Path], object]
Files = Mapping[str, "str | bytes | Writer | None"]  # None: no such file; "{here}" in a text is the folder

SGIE = """\
# people into vectors
[property]
gpu-id=0
gie-unique-id=4
process-mode=2
network-type=100
output-tensor-meta=1
onnx-file={here}/osnet.onnx
model-engine-file={here}/osnet.onnx_b16_gpu0_fp16.engine
operate-on-gie-id=1
operate-on-class-ids=2
net-scale-factor=1
offsets=0;0;0
model-color-format=0
maintain-aspect-ratio=0
infer-dims=3;256;128
batch-size=16
network-mode=2
input-object-min-width=32
input-object-min-height=64
"""
PGIE = """\
[property]
gie-unique-id=1
onnx-file={here}/detector.onnx
labelfile-path={here}/labels.txt
num-detected-classes=4
batch-size=1
network-mode=2

[class-attrs-all]
pre-cluster-threshold=0.4
minBoxes=1
"""
TRACKER = """\
%YAML:1.0
TrajectoryManagement:
  useUniqueID: 1
ReID:
  reidType: 2  # re-association
  reidFeatureSize: 512
  inferDims: [3, 256, 128]
  networkMode: 1
  colorFormat: 0
  netScaleFactor: 1.0
  offsets: [0.0, 0.0, 0.0]
  keepAspc: 0
  addFeatureNormalization: 1
  outputReidTensor: 1
  onnxFile: {here}/osnet.onnx
"""
APP = """\
from pyservicemaker import Pipeline, Probe

pipeline = Pipeline("people")
pipeline.add("nvmultiurisrcbin", "src", {{"port": 9000}})
pipeline.add("nvinfer", "pgie", {{"config-file-path": "{here}/pgie_config.txt"}})
pipeline.add("nvtracker", "tracker", {{"ll-config-file": "{here}/tracker.yml"}})
pipeline.add("nvinfer", "reid", {{"config-file-path": "{here}/reid_sgie_config.txt"}})
pipeline.add("nvmsgconv", "conv", {{"msg2p-newapi": 0}})
pipeline.add("nvmsgbroker", "broker", {{"conn-str": "localhost;9092", "async": 0}})
pipeline.link("src", "pgie", "tracker", "reid", "conv", "broker")
pipeline.attach("reid", Probe("vectors", attach_event_message_meta))
"""
BUILD = """\
#!/bin/sh
python3 -m venv venv
venv/bin/pip install chromadb
trtexec --onnx={here}/osnet.onnx --fp16 \\
  --minShapes=input:1x3x256x128 --optShapes=input:16x3x256x128 --maxShapes=input:16x3x256x128 \\
  --saveEngine={here}/osnet.onnx_b16_gpu0_fp16.engine
"""
DOCKER = """\
FROM nvcr.io/nvidia/deepstream:8.0-triton-multiarch
RUN apt-get update && apt-get install -y libmosquitto1
"""
FOLDED = ImageInput("input", (256, 128), PIXELS["torchreid"], folded=True)
UNFOLDED = replace(FOLDED, folded=False)


def card(image: ImageInput = FOLDED, **changes: object) -> ModelCard:
    output = VectorOutput("embedding", DIM, normalised=False)
    known = ModelCard("reid", "osnet_x1_0", image, output, weights="trained", fingerprint="ab" * 16)
    return replace(known, **changes)  # type: ignore[arg-type]  # any field of the card


def network(
    path: Path,
    *,
    batch: int | str = "batch",
    size_hw: Sequence[int | str] = (256, 128),
    dim: int = DIM,
    card: ModelCard | None = None,
    opset: int = 13,
    extra: Sequence[NodeProto] = (),
    constants: Mapping[str, np.ndarray] | None = None,
    last: str = "vectors",
    output_type: int = TensorProto.FLOAT,
    output_shape: Sequence[int | str] | None = None,
    first: str = "input",
) -> Path:
    """Channel means times random weights: (N, 3, H, W) to (N, dim). `extra` nodes lead from `vectors` to `last`."""
    weights = np.random.default_rng(0).normal(size=(3, dim)).astype(np.float32)
    nodes = [
        *(node for node in extra if "input" in node.input),
        helper.make_node("ReduceMean", [first], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "weights"], ["vectors"]),
        *(node for node in extra if "input" not in node.input),
        helper.make_node("Identity", [last], ["embedding"]),
    ]
    held = {"weights": weights, **(constants or {})}
    graph = helper.make_graph(
        nodes,
        "people",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, *size_hw])],
        [helper.make_tensor_value_info("embedding", output_type, output_shape or [batch, dim])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, str(path))
    if card is not None:
        with_metadata(path, path, entries={CARD_KEY: card.to_json()})
    return path


def detector(path: Path) -> Path:
    """Boxes, as detectors put them out: (N, 8, 5)."""
    graph = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["shape"], ["boxes"])],
        "boxes",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 32, 32])],
        [helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["batch", 8, 5])],
        [numpy_helper.from_array(np.array([1, 8, 5], np.int64), "shape")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def people(path: Path) -> Path:
    return network(path, card=card())


def gallery_of(known: ModelCard, *, dim: int = DIM, aggregation: str = "averaged") -> Writer:
    def write(path: Path) -> None:
        vector = np.zeros(dim, np.float32)
        vector[0] = 1
        space = space_of(replace(known, output=VectorOutput("embedding", dim)), aggregation=aggregation)  # type: ignore[arg-type]
        with open_gallery(str(path)) as gallery:
            gallery.add([Entry("1", "1", vector)], space=space)

    return write


def chroma(
    schema: str, *, dim: int | None = DIM, lock: bool = True, metadata: Mapping[str, str] | None = None
) -> Writer:
    """The tables of Chroma 1.5 that say what a collection is."""

    def write(folder: Path) -> None:
        folder.mkdir()
        with closing(sqlite3.connect(folder / "chroma.sqlite3")) as connection, connection:
            connection.execute(
                "CREATE TABLE collections(id TEXT, name TEXT, dimension INTEGER, database_id TEXT, "
                "config_json_str TEXT, schema_str TEXT)"
            )
            connection.execute(
                "CREATE TABLE collection_metadata(collection_id TEXT, key TEXT, str_value TEXT, int_value INTEGER, "
                "float_value REAL, bool_value INTEGER)"
            )
            connection.execute("INSERT INTO collections VALUES ('c', 'people', ?, 'd', '{}', ?)", (dim, schema))
            for key, value in (metadata or {}).items():
                connection.execute("INSERT INTO collection_metadata VALUES ('c', ?, ?, NULL, NULL, NULL)", (key, value))
        if lock:
            (folder / "sightline.lock").touch()

    return write


def chroma_schema(space: str = "cosine", ef_search: int = 400) -> str:
    index = f'{{"config": {{"space": "{space}", "hnsw": {{"ef_search": {ef_search}}}}}}}'
    return f'{{"keys": {{"#embedding": {{"float_list": {{"vector_index": {index}}}}}}}}}'


GOOD: Files = {
    "osnet.onnx": people,
    "detector.onnx": detector,
    "reid_sgie_config.txt": SGIE,
    "pgie_config.txt": PGIE,
    "labels.txt": "car\nbicycle\nperson\nroadsign\n",
    "tracker.yml": TRACKER,
    "app.py": APP,
    "build.sh": BUILD,
    "Dockerfile": DOCKER,
    "requirements.txt": "chromadb>=1.5\n",
    "people.gallery": gallery_of(card()),
    "chroma": chroma(chroma_schema()),
}


def changed(name: str, old: str, new: str, files: Files = GOOD) -> Files:
    """The deployment with one text in one file replaced."""
    text = files[name]
    assert isinstance(text, str) and old in text, f"{old!r} is not in {name}"
    return {**files, name: text.replace(old, new, 1)}


def put(folder: Path, files: Files) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        path = folder / name
        if callable(content):
            content(path)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            path.write_text(content.replace("{{", "{").replace("}}", "}").replace("{here}", str(folder)), "utf-8")
    return folder


def findings_of(*targets: Path, circumstances: Circumstances | None = None) -> list[Finding]:
    return examine_targets(targets, circumstances=circumstances)


def ids(findings: Sequence[Finding]) -> set[str]:
    return {finding.rule.id for finding in findings}
