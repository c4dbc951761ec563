"""The DeepStream re-identification guide this replaces lists the troubles its authors had, and has some they did not
notice. Each is put back into a deployment here, and each is caught before anything runs.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from doctor_deployment import GOOD, Files, changed, chroma, chroma_schema, findings_of, ids, network, put
from onnx import TensorProto, external_data_helper, helper
from onnx import load as load_onnx
from onnx import save as save_onnx

from sightline.deploy.doctor.catalogue import RULES

DS = "reid_sgie_config.txt"
THERE = "/app/notebooks/reid_pipeline"

# The guide's own configuration, with its paths.
GUIDE = """\
[property]
gpu-id=0
gie-unique-id=4
process-mode=2
onnx-file={there}/models/osnet/osnet_x1_0_final.onnx
model-engine-file={there}/models/osnet/osnet_x1_0.engine
output-tensor-meta=1
network-type=100
operate-on-gie-id=1
operate-on-class-ids=2
net-scale-factor=0.0078431372549
offsets=127.5;127.5;127.5
model-color-format=0
batch-size=1
network-mode=2
input-object-min-width=32
input-object-min-height=64
""".replace("{there}", THERE)


def config(old: str, new: str) -> Files:
    return changed(DS, old, new)


def only_the_structure(path: Path) -> None:
    """What is copied when only the .onnx of the two files is."""
    network(path)
    whole = load_onnx(str(path))
    external_data_helper.convert_model_to_external_data(whole, location="osnet_x1_0.onnx.data", size_threshold=0)
    save_onnx(whole, str(path))
    path.with_name("osnet_x1_0.onnx.data").unlink()


def static(path: Path) -> Path:
    return network(path, batch=1)


def half_output(path: Path) -> None:
    cast = helper.make_node("Cast", ["vectors"], ["halves"], to=TensorProto.FLOAT16)
    network(path, extra=[cast], last="halves", output_type=TensorProto.FLOAT16)


FACE_PIXELS = ("net-scale-factor=1\noffsets=0;0;0", "net-scale-factor=0.0078431372549\noffsets=127.5;127.5;127.5")
CHROMA_AS_IT_COMES: Files = {**GOOD, "gallery": chroma(chroma_schema("l2", 100), lock=False)}
SHAPES = "--minShapes=input:1x3x256x128 --optShapes=input:16x3x256x128 --maxShapes=input:16x3x256x128"
EXPORT = "model = models.build_model(name='osnet_x1_0', num_classes=1, pretrained=True)\ntorch.onnx.export(model, x)\n"

# What the guide's authors met: its numbered issues, then its table of errors.
ISSUES: dict[str, tuple[Files, str]] = {
    "1 externally-managed-environment": (
        {**GOOD, "setup.sh": "pip install torchreid scipy opencv-python tensorboard\n"},
        "ENV004",
    ),
    "2 No module named scipy, cv2, tensorboard": (
        {**GOOD, "requirements.txt": "torchreid\ntorch\ntorchvision\n"},
        "ENV005",
    ),
    "3 Failed to open file osnet_x1_0.onnx.data": ({**GOOD, "osnet.onnx": only_the_structure}, "ONNX003"),
    "4 maxBatchSize 1 whereas 16 has been requested": (config("_b16_", "_b1_"), "ENG002"),
    "4 the same, with a name of one's own": (
        changed(
            DS,
            "osnet.onnx_b16_gpu0_fp16.engine",
            "my.engine",
            {**GOOD, "build.sh": "trtexec --onnx=osnet.onnx --saveEngine=my.engine --fp16\n"},
        ),
        "ENG002",
    ),
    "5 Failed to open file: a relative path": (config("onnx-file={here}/", "onnx-file=models/osnet/"), "ONNX001"),
    "5 a relative path that happens to work": (config("onnx-file={here}/", "onnx-file="), "CFG010"),
    "table: Failed to create NvDsInferContext, paths": (
        config("onnx-file={here}/osnet", "onnx-file={here}/osnt"),
        "ONNX001",
    ),
    "table: Failed to create NvDsInferContext, syntax": (config("gpu-id=0", "gpu-id: 0"), "CFG003"),
    "table: Failed to create NvDsInferContext, numbers": (config("factor=1", "factor=1 # raw"), "CFG004"),
    "table: Kernel died, half read as float": ({**GOOD, "osnet.onnx": half_output}, "ONNX009"),
    "table: Kernel died, NumPy 2 under pyds": ({**GOOD, "probe.py": "import pyds\n"}, "ENV001"),
    "key difference: is-classifier instead of tensors": (
        config("network-type=100\noutput-tensor-meta=1", "is-classifier=1"),
        "DS002",
    ),
    "order: the tracker before the embedder": (changed("app.py", '"tracker", "reid"', '"reid", "tracker"'), "PIPE002"),
    "order: a tracker at all": ({**GOOD, "app.py": None, "tracker.yml": None}, "PIPE001"),
}

# What they did not notice, or told wrongly.
UNNOTICED: dict[str, tuple[Files, str]] = {
    "build_model(pretrained=True) is ImageNet": ({**GOOD, "export_osnet.py": EXPORT}, "ENV006"),
    "(x - 127.5) / 127.5 is for faces": (config(*FACE_PIXELS), "PIX006"),
    "the same, for a model without a card": (
        {**config(*FACE_PIXELS), "osnet.onnx": network},
        "PIX003",
    ),
    "class 2 is a person for one detector only": ({**GOOD, "labels.txt": "person\nbag\nface\nhat\n"}, "DS007"),
    "the engine has another automatic name": (
        changed(DS, "osnet.onnx_b16_gpu0_fp16.engine", "osnet_x1_0.engine"),
        "ENG003",
    ),
    "batch 16 from a static export": (
        {**GOOD, "osnet.onnx": static, "build.sh": f"trtexec --onnx=osnet.onnx {SHAPES}\n"},
        "TRT001",
    ),
    "the static export itself": ({**GOOD, "osnet.onnx": static}, "ONNX013"),
    "trtexec without shapes builds batch 1": ({**GOOD, "build.sh": "trtexec --onnx=osnet.onnx --fp16\n"}, "TRT003"),
    "one person at a time": (config("batch-size=16", "batch-size=1"), "ENG005"),
    "Chroma with its defaults: l2": (CHROMA_AS_IT_COMES, "GAL004"),
    "Chroma with its defaults: recall": (CHROMA_AS_IT_COMES, "GAL005"),
    "Chroma with its defaults: two writers": (CHROMA_AS_IT_COMES, "GAL006"),
    "raw pixels, as the code it links to": (
        {**config("net-scale-factor=1\noffsets=0;0;0\n", ""), "osnet.onnx": network},
        "PIX001",
    ),
    "network-type=1, as the code it links to": (config("network-type=100", "network-type=1"), "DS001"),
    "process-mode=1": (config("process-mode=2", "process-mode=1"), "DS003"),
}


@pytest.mark.parametrize("trouble", [*ISSUES, *UNNOTICED])
def test_every_trouble_of_the_guide_is_caught(trouble: str, tmp_path: Path) -> None:
    files, rule = {**ISSUES, **UNNOTICED}[trouble]
    assert rule in RULES
    assert rule not in ids(findings_of(put(tmp_path / "good", GOOD)))
    assert rule in ids(findings_of(put(tmp_path / "bad", files)))


def test_every_numbered_issue_of_the_guide_has_a_row() -> None:
    assert {name.split()[0] for name in ISSUES} >= {"1", "2", "3", "4", "5"}


def test_the_guide_s_own_configuration_is_told_its_three_mistakes(tmp_path: Path) -> None:
    folder = put(tmp_path / "guide", {DS: GUIDE})
    (folder / "models/osnet").mkdir(parents=True)
    network(folder / "models/osnet/osnet_x1_0_final.onnx", batch=1)
    found = {finding.rule.id: finding.place.line for finding in findings_of(folder)}
    assert found == {"PIX003": 11, "ENG003": 6, "ENG005": 14, "ONNX013": 0, "ONNX015": 0}
