"""Each rule catches its mistake, in its place, and nothing else: one fault in a deployment that has none."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from doctor_deployment import (
    BUILD,
    DOCKER,
    FOLDED,
    GOOD,
    SGIE,
    UNFOLDED,
    Files,
    card,
    changed,
    chroma,
    chroma_schema,
    findings_of,
    gallery_of,
    ids,
    network,
    put,
)
from onnx import TensorProto, external_data_helper, helper
from onnx import load as load_onnx
from onnx import save as save_onnx

from sightline.card import CARD_KEY
from sightline.deploy.doctor.catalogue import RULES
from sightline.deploy.doctor.collect import MOST_FILES
from sightline.deploy.doctor.rules import Finding, Severity
from sightline.deploy.doctor.site import Circumstances
from sightline.onnx_file import with_metadata

DS = "reid_sgie_config.txt"
BOM = "\ufeff"


def model(**changes: object) -> Callable[[Path], Path]:
    return lambda path: network(path, **{"card": card(), **changes})  # type: ignore[arg-type]  # any of its options


foreign = model(card=None)
unfolded = model(card=card(UNFOLDED))


def in_config(old: str, new: str, files: Files = GOOD) -> Files:
    return changed(DS, old, new, files)


def with_model(writer: Callable[[Path], object], files: Files = GOOD) -> Files:
    return {**files, "osnet.onnx": writer}


def without(*names: str, files: Files = GOOD) -> Files:
    return {**files, **dict.fromkeys(names)}


def feed(scale: str, offsets: str, writer: Callable[[Path], object]) -> Files:
    """The deployment with another model, fed in this way by nvinfer; the tracker does without."""
    text = SGIE.replace("net-scale-factor=1\n", scale).replace("offsets=0;0;0\n", offsets)
    return without("tracker.yml", files={**GOOD, DS: text, "osnet.onnx": writer, "people.gallery": None})


def two_files(
    path: Path, *, location: str = "osnet.onnx.data", missing_bytes: int = 0, leave_out: bool = False
) -> None:
    """The model with its weights beside it, or where `location` says."""
    network(path, card=card())
    whole = load_onnx(str(path))
    external_data_helper.convert_model_to_external_data(whole, location="osnet.onnx.data", size_threshold=0)
    save_onnx(whole, str(path))
    weights = path.with_name("osnet.onnx.data")
    if missing_bytes:
        weights.write_bytes(weights.read_bytes()[:-missing_bytes])
    if leave_out:
        weights.unlink()
    if location != weights.name:
        outside = load_onnx(str(path), load_external_data=False)
        for tensor in outside.graph.initializer:
            for entry in tensor.external_data:
                entry.value = location if entry.key == "location" else entry.value
        save_onnx(outside, str(path))
        weights.unlink()


def other_card(path: Path) -> None:
    """A card of vectors half as long."""
    network(path)
    known = card()
    assert known.output is not None
    with_metadata(path, path, entries={CARD_KEY: replace(known, output=replace(known.output, dim=256)).to_json()})


def feature_map(path: Path) -> None:
    network(path, output_shape=["batch", 512, 1, 1], extra=[], last="vectors")


def constant_reshape(path: Path, *, batch: int | str, row: int) -> None:
    reshape = helper.make_node("Reshape", ["vectors", "row"], ["flat"])
    shape = {"row": np.array([row, 512], np.int64)}
    network(path, batch=batch, extra=[reshape], constants=shape, last="flat", card=None)


def normalising(path: Path) -> None:
    """A foreign model with the mean taken off within."""
    minus = helper.make_node("Sub", ["input", "mean"], ["centred"])
    mean = {"mean": np.array([123.675, 116.28, 103.53], np.float32).reshape(1, 3, 1, 1)}
    network(path, extra=[minus], constants=mean, first="centred")


def half(path: Path) -> None:
    cast = helper.make_node("Cast", ["vectors"], ["halves"], to=TensorProto.FLOAT16)
    network(path, extra=[cast], last="halves", output_type=TensorProto.FLOAT16, card=card())


def engine_before_model(folder: Path) -> Path:
    engine = put(folder, {**GOOD, "osnet.onnx_b16_gpu0_fp16.engine": b"engine"}) / "osnet.onnx_b16_gpu0_fp16.engine"
    os.utime(engine, (1e9, 1e9))
    return folder


@dataclass(frozen=True)
class Case:
    """`also`: what else cannot help being wrong where this is. `line`: that of a text that only the place has."""

    rule: str
    files: Files
    severity: Severity | None = None
    also: frozenset[str] = frozenset()
    around: Circumstances = field(default_factory=Circumstances)
    at: str = ""

    @property
    def name(self) -> str:
        return f"{self.rule}-{self.at or self.severity or ''}"


def case(
    rule: str,
    files: Files,
    at: str = "",
    *,
    also: Sequence[str] = (),
    severity: Severity | None = None,
    **around: object,
) -> Case:
    return Case(rule, files, severity, frozenset(also), Circumstances(**around), at)  # type: ignore[arg-type]


NO_ENGINE = in_config("model-engine-file={here}/osnet.onnx_b16_gpu0_fp16.engine\n", "")

CASES = [
    # How it is written
    case("CFG001", in_config("[property]", "[propery]")),
    case("CFG002", in_config("# people into", f"{BOM}# people into"), "people into"),
    case("CFG003", in_config("gpu-id=0", "gpu-id: 0"), "gpu-id: 0"),
    case("CFG003", in_config("gpu-id=0", "; gpu"), "; gpu"),
    case("CFG003", in_config("[property]", "[property] # of it"), "[property] # of it"),
    case("CFG003", in_config("# people into", "gpu-id=1\n# people into"), "gpu-id=1"),
    case("CFG004", in_config("net-scale-factor=1", "net-scale-factor=1 # raw"), "1 # raw"),
    case("CFG004", in_config("net-scale-factor=1", "net-scale-factor=1 "), "net-scale-factor=1 "),
    case("CFG004", in_config("offsets=0;0;0", "offsets=0,0,0"), "offsets=0,0,0"),
    case("CFG004", in_config("batch-size=16", "batch-size=sixteen"), "sixteen"),
    case("CFG005", in_config("batch-size=16", "batch-size=16 # of the engine"), "of the engine"),
    case("CFG006", in_config("gpu-id=0", "gpuid=0"), "gpuid=0"),
    case("CFG006", changed("pgie_config.txt", "minBoxes", "min-boxes"), "min-boxes"),
    case("CFG006", in_config("gpu-id=0", "colour-of-the-box=red"), "colour-of-the-box"),
    case("CFG007", in_config("gpu-id=0", "gpu-id=1\ngpu-id=0"), "gpu-id=1"),
    case("CFG008", in_config("gpu-id=0", "strongly-typed=1"), "strongly-typed"),
    case("CFG009", {**GOOD, "notes.txt": b"\0\1\2"}),
    case("CFG010", in_config("onnx-file={here}/osnet.onnx", "onnx-file=osnet.onnx"), "onnx-file=osnet.onnx"),
    case("CFG011", changed("tracker.yml", "  reidType", "\treidType"), "reidType"),
    case("CFG013", in_config("batch-size", "int8-calib-file=/home/me/table\nbatch-size"), "/home/me/table"),
    # What nvinfer is told
    case("DS001", in_config("network-type=100", "network-type=1"), "network-type=1"),
    case("DS001", in_config("network-type=100\n", ""), "[property]"),
    case("DS002", in_config("output-tensor-meta=1", "output-tensor-meta=0"), "output-tensor-meta=0"),
    case("DS003", in_config("process-mode=2", "process-mode=1"), "process-mode=1"),
    case("DS005", in_config("class-ids=2", "class-ids=-1;2"), "-1;2"),
    case("DS005", in_config("class-ids=2", "class-ids=person"), "class-ids=person"),
    case("DS006", in_config("class-ids=2", "class-ids=4"), "class-ids=4"),
    case("DS007", in_config("class-ids=2", "class-ids=2;0"), "class-ids=2;0"),
    case("DS007", {**GOOD, "labels.txt": "person\nbag\nface\nhat\n"}),
    case("DS008", in_config("3;256;128", "3;128;256"), "3;128;256"),
    case(
        "DS009",
        in_config("infer-dims=3;256;128\n", "", with_model(model(size_hw=("h", "w")))),
        "[property]",
    ),
    case("DS012", in_config("gie-unique-id=4", "gie-unique-id=0"), "gie-unique-id=0"),
    case("DS013", in_config("gie-unique-id=4", "gie-unique-id=1"), "gie-unique-id=1"),
    case("DS014", in_config("operate-on-gie-id=1", "operate-on-gie-id=7"), "operate-on-gie-id=7"),
    case("DS015", in_config("operate-on-class-ids=2\n", ""), "[property]"),
    case("DS016", in_config("gpu-id=0", "classifier-async-mode=1"), "async-mode=1"),
    case("DS017", in_config("gpu-id=0", "interval=4"), "interval=4"),
    case("DS017", in_config("gpu-id=0", "secondary-reinfer-interval=30"), "reinfer-interval=30"),
    # Engines and precision
    case(
        "ENG001",
        changed("build.sh", BUILD, "#!/bin/sh\n", with_model(lambda path: constant_reshape(path, batch=1, row=1))),
        "batch-size=16",
        also=["ONNX013", "ONNX015", "PIX001", "GAL002"],
    ),
    case("ENG002", in_config("batch-size=16", "batch-size=32"), "batch-size=32"),
    case(
        "ENG002",
        {**GOOD, DS: SGIE.replace("onnx-file={here}/osnet.onnx\n", "").replace("batch-size=16", "batch-size=32")},
        severity="error",
        also=["PIX001"],
    ),
    case("ENG003", in_config("osnet.onnx_b16_gpu0_fp16.engine", "osnet.engine"), "osnet.engine"),
    case("ENG004", {}, "osnet.onnx_b16_gpu0_fp16.engine"),
    case("ENG005", GOOD, "batch-size=16", people=9, streams=2),
    case("ENG006", in_config("network-mode=2", "network-mode=1", NO_ENGINE), "network-mode=1"),
    case("ENG007", in_config("network-mode=2", "network-mode=0"), "network-mode=0"),
    case("ENG008", in_config("onnx-file={here}/osnet.onnx\n", "", NO_ENGINE), "[property]", also=["PIX001"]),
    # What is installed
    case("ENV001", {**GOOD, "probe.py": "import pyds\n", "requirements.txt": "numpy>=1.26\n"}, "numpy>=1.26"),
    case("ENV001", {**GOOD, "probe.py": "import pyds\n"}, "import pyds"),
    case(
        "ENV002",
        {**changed("Dockerfile", ":8.0", ":9.0"), "probe.py": "import pyds\n", "requirements.txt": "numpy<2\n"},
        "deepstream:9.0",
    ),
    case(
        "ENV002",
        {**GOOD, "Dockerfile": None, "probe.py": "import pyds\n", "requirements.txt": "numpy==1.26\n"},
        "import pyds",
        deepstream=(9, 0),
    ),
    case("ENV003", changed("Dockerfile", DOCKER.splitlines()[1], "RUN true"), "deepstream:8.0"),
    case("ENV004", changed("Dockerfile", "libmosquitto1", "libmosquitto1\nRUN pip install chromadb"), "RUN pip"),
    case("ENV005", {**GOOD, "requirements.txt": "torchreid\ntorch\nscipy\n"}, "torchreid"),
    case(
        "ENV006",
        {**GOOD, "export.py": "model = models.build_model('osnet', pretrained=True)\ntorch.onnx.export(model)\n"},
        "pretrained=True",
    ),
    # Galleries
    case("GAL001", {**GOOD, "people.gallery": gallery_of(card(), dim=256)}),
    case("GAL002", {**GOOD, "people.gallery": gallery_of(card(fingerprint="cd" * 16))}),
    case("GAL003", {**GOOD, "people.gallery": gallery_of(card(), aggregation="single")}),
    case("GAL001", {**GOOD, "chroma": chroma(chroma_schema(), dim=256)}),
    case("GAL004", {**GOOD, "chroma": chroma(chroma_schema("l2"))}),
    case("GAL005", {**GOOD, "chroma": chroma(chroma_schema(ef_search=100))}),
    case("GAL006", {**GOOD, "chroma": chroma(chroma_schema(), lock=False)}),
    case("GAL007", {**GOOD, "people.gallery": b"SQLite format 3\0 and no more"}),
    # Label files
    case("LBL001", {**GOOD, "labels.txt": "\n \n"}, also=["DS006"]),
    case("LBL002", {**GOOD, "labels.txt": "car\n\nperson\nroadsign\n"}, ""),
    case("LBL002", {**GOOD, "labels.txt": f"{BOM}car\nbicycle\nperson\nroadsign\n"}, "car"),
    case("LBL003", changed("pgie_config.txt", "labels.txt", "label.txt"), "label.txt"),
    # Model files
    case(
        "ONNX001",
        in_config("onnx-file={here}/osnet.onnx", "onnx-file={here}/osnet_final.onnx"),
        "osnet_final.onnx",
        also=["ENG003"],
    ),
    case("ONNX001", changed("tracker.yml", "{here}/osnet.onnx", "{here}/other.onnx"), "other.onnx"),
    *(
        case("ONNX002", {**without("people.gallery"), "osnet.onnx": content}, severity="error")
        for content in (b"", b"\0", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", b"\x08\x08\x3a\x7f")
    ),
    case("ONNX003", with_model(lambda path: two_files(path, leave_out=True))),
    case("ONNX004", with_model(lambda path: two_files(path, missing_bytes=8))),
    case("ONNX005", with_model(lambda path: two_files(path, location="../elsewhere.data"))),
    case("ONNX006", with_model(two_files)),
    case("ONNX007", with_model(feature_map), also=["ONNX015", "PIX001", "GAL002"]),
    case("ONNX008", with_model(model(dim=751, card=None)), also=["ONNX015", "PIX001", "TRK001", "GAL001"]),
    case("ONNX009", with_model(half)),
    case("ONNX010", with_model(model(opset=24))),
    case("ONNX011", with_model(other_card), also=["PIX001"]),
    case("ONNX012", with_model(model(card=card(weights="imagenet")))),
    case("ONNX012", with_model(model(card=card(weights="untrained")))),
    case(
        "ONNX013",
        with_model(model(batch=1, card=None)),
        severity="warning",
        also=["TRT001", "ONNX015", "PIX001", "GAL002"],
    ),
    case("ONNX013", with_model(model(batch=1, card=card(replace(FOLDED, batch=1)))), severity="note", also=["TRT001"]),
    case(
        "ONNX014",
        with_model(lambda path: constant_reshape(path, batch="batch", row=1)),
        also=["ONNX015", "PIX001", "GAL002"],
    ),
    case("ONNX015", with_model(foreign), also=["PIX001", "GAL002"]),
    # The order of elements
    case(
        "PIPE001",
        changed(
            "app.py",
            '"tracker", "reid", "conv"',
            '"reid", "conv"',
            changed("app.py", 'pipeline.add("nvtracker", "tracker"', "# ("),
        ),
    ),
    case("PIPE001", without("app.py", "tracker.yml")),
    case("PIPE002", changed("app.py", '"tracker", "reid"', '"reid", "tracker"'), '"nvinfer", "reid"'),
    case("PIPE003", changed("app.py", ', "async": 0', ""), "nvmsgbroker"),
    case("PIPE004", changed("app.py", "localhost;9092", "localhost:9092"), "localhost:9092"),
    case("PIPE005", changed("app.py", "attach_event_message_meta", "look"), "nvmsgconv"),
    case("PIPE006", changed("app.py", '"msg2p-newapi": 0', '"msg2p-newapi": 1'), "nvmsgconv"),
    # What the network is fed
    case("PIX001", feed("", "", foreign), severity="warning", also=["ONNX015"]),
    case("PIX001", feed("", "", unfolded), severity="error"),
    case("PIX002", feed("net-scale-factor=0.0039215697906911373\n", "", foreign), "0.0039", also=["ONNX015"]),
    case("PIX002", feed("net-scale-factor=0.00392156\n", "", unfolded), "0.0039", severity="error"),
    case(
        "PIX003",
        feed("net-scale-factor=0.0078431372549\n", "offsets=127.5;127.5;127.5\n", foreign),
        severity="warning",
        also=["ONNX015"],
    ),
    case(
        "PIX003",
        feed("net-scale-factor=0.0078431372549\n", "offsets=127.5;127.5;127.5\n", unfolded),
        "0.0078",
        severity="error",
    ),
    case("PIX004", in_config("model-color-format=0", "model-color-format=1"), "format=1", severity="error"),
    case("PIX004", changed("tracker.yml", "colorFormat: 0", "colorFormat: 1"), "colorFormat: 1", severity="error"),
    case("PIX005", feed("net-scale-factor=0.01735207\n", "offsets=123.675;116.28;103.53\n", unfolded), "0.01735"),
    case(
        "PIX005",
        feed("net-scale-factor=0.01735207\n", "offsets=123.675;116.28;103.53\n", foreign),
        severity="note",
        also=["ONNX015"],
    ),
    case(
        "PIX006",
        in_config("net-scale-factor=1\noffsets=0;0;0", "net-scale-factor=0.01735207\noffsets=123.675;116.28;103.53"),
        "0.0173",
        severity="error",
    ),
    case(
        "PIX006",
        feed("net-scale-factor=0.0173\n", "offsets=123.675;116.28;103.53\n", normalising),
        "0.0173",
        severity="warning",
        also=["ONNX015"],
    ),
    case("PIX007", in_config("net-scale-factor=1", "net-scale-factor=0"), "net-scale-factor=0"),
    case("PIX008", feed("net-scale-factor=0.0173\n", "offsets=104;117;123\n", unfolded), "0.0173"),
    case("PIX006", in_config("net-scale-factor=1\n", "net-scale-factor=0.5\n"), "0.5", severity="error"),
    case("PIX009", in_config("aspect-ratio=0", "aspect-ratio=1"), "aspect-ratio=1"),
    case("PIX009", changed("tracker.yml", "keepAspc: 0", "keepAspc: 1"), "keepAspc: 1"),
    case("PIX010", in_config("offsets=0;0;0", "offsets=0;0"), "offsets=0;0"),
    case("PIX010", changed("tracker.yml", "[0.0, 0.0, 0.0]", "[0.0]"), "[0.0]"),
    # nvtracker
    case("TRK001", changed("tracker.yml", "reidFeatureSize: 512", "reidFeatureSize: 256"), "reidFeatureSize"),
    case("TRK002", changed("tracker.yml", "[3, 256, 128]", "[3, 128, 64]"), "inferDims"),
    case("TRK003", changed("tracker.yml", "addFeatureNormalization: 1", "addFeatureNormalization: 0"), "addFeature"),
    case("TRK004", changed("tracker.yml", "networkMode: 1", "networkMode: 2"), "networkMode"),
    case(
        "ENG006",
        changed("tracker.yml", "networkMode: 1", "networkMode: 2\n  calibrationTableFile: /no/table"),
        "calibrationTableFile",
    ),
    case("TRK005", changed("tracker.yml", "useUniqueID", "useUniqueId"), "useUniqueId"),
    case(
        "TRK006",
        changed("tracker.yml", "outputReidTensor: 1", "outputReidTensor: 0", without(DS, "app.py")),
        "outputReid",
    ),
    case("TRK007", changed("tracker.yml", "reidFeatureSize: 512", "reidFeatureSize: many"), "many", also=["TRK001"]),
    # trtexec
    case("TRT001", with_model(model(batch=16, card=card(replace(FOLDED, batch=16)))), "trtexec", also=["ONNX013"]),
    case("TRT002", changed("build.sh", "--maxShapes=input:", "--maxShapes=images:"), "trtexec"),
    case(
        "TRT003", changed("build.sh", BUILD[BUILD.index("  --min") : BUILD.index("  --save")], "", NO_ENGINE), "trtexec"
    ),
    case("TRT004", changed("build.sh", "--minShapes=input:1x", "--minShapes=input:32x"), "trtexec"),
    case("TRT004", changed("build.sh", "--maxShapes=input:16x3x256x128", "--maxShapes=input:16x3x128x256"), "trtexec"),
]


def found_in(case: Case, folder: Path) -> list[Finding]:
    if case.rule == "ENG004":
        return findings_of(engine_before_model(folder), circumstances=case.around)
    return findings_of(put(folder, case.files), circumstances=case.around)


def test_the_deployment_that_is_spoiled_has_no_fault(tmp_path: Path) -> None:
    assert findings_of(put(tmp_path / "good", GOOD)) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_is_caught_where_it_is_and_nothing_else(case: Case, tmp_path: Path) -> None:
    findings = found_in(case, tmp_path / "bad")
    caught = [finding for finding in findings if finding.rule.id == case.rule]
    assert caught and ids(findings) <= {case.rule, *case.also}, findings
    assert case.severity is None or {finding.severity for finding in caught} == {case.severity}
    place = caught[0].place
    if case.at and place.line:
        line = place.path.read_text("utf-8").splitlines()[place.line - 1]
        assert case.at in line


def test_every_rule_has_a_case_that_it_catches() -> None:
    elsewhere = {"CFG012"} | {rule for rule in RULES if rule.startswith("PRB")}
    assert {case.rule for case in CASES} == set(RULES) - elsewhere


def test_a_folder_with_thousands_of_files_says_that_not_all_were_looked_at(tmp_path: Path) -> None:
    for number in range(MOST_FILES + 1):
        (tmp_path / f"{number}.jpg").touch()
    [finding] = findings_of(tmp_path)
    assert finding.rule.id == "CFG012" and finding.severity == "note"


def test_what_lies_deeper_than_a_deployment_goes_is_not_looked_at(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*"abcdefg")
    deep.mkdir(parents=True)
    for folder in (deep, deep.parent):
        (folder / "labels.txt").touch()
    assert [finding.place.path for finding in findings_of(tmp_path)] == [deep.parent / "labels.txt"]


# What must not be called a mistake


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(in_config("gpu-id=0", "gpu-id=0\n  # indented comment\n\n"), id="comments"),
        pytest.param(in_config("offsets=0;0;0", "offsets=0;0;0;"), id="a list may end with its separator"),
        pytest.param(in_config("net-scale-factor=1", "net-scale-factor = 1.0"), id="blanks around ="),
        pytest.param({**GOOD, DS: SGIE.replace("\n", "\r\n")}, id="line ends of Windows"),
        pytest.param(in_config("onnx-file", "uff-input-blob-name=x\nonnx-file"), id="a legacy key"),
        pytest.param(
            in_config(
                "_fp16.engine",
                "_int8.engine",
                in_config(
                    "network-mode=2",
                    "network-mode=1\nint8-calib-file={here}/labels.txt",
                    changed("build.sh", "fp16.engine", "int8.engine"),
                ),
            ),
            id="calibrated INT8",
        ),
        pytest.param(in_config("batch-size=16", "batch-size=8"), id="a larger engine is fine"),
        pytest.param(
            {
                **GOOD,
                "reid_sgie_config.yml": "property:\n"
                + "".join(f"  {line.replace('=', ': ')}\n" for line in SGIE.splitlines()[2:]),
            },
            id="the same as YAML",
        ),
        pytest.param({**GOOD, "README.md": "pip install chromadb\n"}, id="a README tells, it does not install"),
        pytest.param(
            {**GOOD, "probe.py": "import pyds\n", "requirements.txt": "pyds\nnumpy<2\n"}, id="pyds with numpy 1"
        ),
        pytest.param(
            {
                **GOOD,
                "export.py": "m = build_model('osnet', pretrained=True)\nm.load_state_dict(s)\ntorch.onnx.export(m)\n",
            },
            id="ImageNet weights replaced before the export",
        ),
        pytest.param(
            changed("app.py", "localhost;9092", "HostName=hub:8883;DeviceId=4"),
            id="a connection string of another kind",
        ),
        pytest.param(
            in_config("batch-size=16", "custom-lib-path=/opt/nvidia/lib.so\nbatch-size=16"), id="what DeepStream brings"
        ),
        pytest.param({**GOOD, "detect.py": "engine.infer(image)\nengine.infer(other)\n"}, id="somebody else's infer"),
        pytest.param(
            {**GOOD, "data.db": b"SQLite format 3\0 of another application", "notes.txt": "Hello.\n"},
            id="files that are none of our business",
        ),
    ],
)
def test_what_is_right_is_left_alone(files: Files, tmp_path: Path) -> None:
    assert findings_of(put(tmp_path / "good", files)) == []


def test_ini_and_yaml_are_judged_alike(tmp_path: Path) -> None:
    text = SGIE.replace("network-type=100", "network-type=0").replace("class-ids=2", "class-ids=0")
    as_yaml = "property:\n" + "".join(f"  {line.replace('=', ': ')}\n" for line in text.splitlines()[2:])
    ini = findings_of(put(tmp_path / "ini", {**GOOD, DS: text}))
    yml = findings_of(put(tmp_path / "yml", {**GOOD, DS: None, "reid_sgie_config.yml": as_yaml}))
    assert [(finding.rule.id, finding.place.line) for finding in ini] == [
        (finding.rule.id, finding.place.line + 1) for finding in yml
    ]
    assert ids(ini) == {"DS001", "DS007"}


def test_paths_of_a_container_are_found_in_the_folder(tmp_path: Path) -> None:
    there = {
        name: text.replace("{here}", "/app/reid") if isinstance(text, str) else text for name, text in GOOD.items()
    }
    assert findings_of(put(tmp_path / "good", there)) == []
    elsewhere = {**there, DS: str(there[DS]).replace("/app/reid/osnet.onnx\n", "/srv/osnet.onnx\n")}
    assert ids(findings_of(put(tmp_path / "bad", elsewhere))) == {"ONNX001", "CFG013"}


def test_where_the_folder_will_lie_can_be_said(tmp_path: Path) -> None:
    there = {
        name: text.replace("{here}", "/app/reid") if isinstance(text, str) else text for name, text in GOOD.items()
    }
    folder = put(tmp_path / "good", there)
    assert findings_of(folder, circumstances=Circumstances(root=PurePosixPath("/app/reid"))) == []
    assert "ONNX001" in ids(findings_of(folder, circumstances=Circumstances(root=PurePosixPath("/srv"))))


def test_a_linked_configuration_counts_paths_from_where_it_really_is(tmp_path: Path) -> None:
    folder = put(tmp_path / "real", in_config("onnx-file={here}/osnet.onnx", "onnx-file=osnet.onnx"))
    (tmp_path / "link.txt").symlink_to(folder / DS)
    assert "ONNX001" not in ids(findings_of(tmp_path / "link.txt"))


def test_several_files_are_one_deployment(tmp_path: Path) -> None:
    folder = put(tmp_path / "good", {**GOOD, "labels.txt": "person\nbag\nface\n"})
    apart = [ids(findings_of(folder / name)) for name in (DS, "labels.txt")]
    assert "DS007" not in apart[0] | apart[1]
    assert "DS007" in ids(findings_of(folder / DS, folder / "labels.txt"))


def test_the_same_fault_named_twice_is_reported_once(tmp_path: Path) -> None:
    folder = put(tmp_path / "bad", in_config("network-type=100", "network-type=1"))
    findings = findings_of(folder / DS, folder / DS)
    assert [finding.rule.id for finding in findings].count("DS001") == 1


def test_what_a_hostile_file_says_is_quoted_without_its_control_characters(tmp_path: Path) -> None:
    folder = put(tmp_path / "bad", in_config("batch-size=16", "batch-size=\x1b[2J\x07" + "x" * 5000))
    [finding] = [finding for finding in findings_of(folder) if finding.rule.id == "CFG004"]
    assert finding.value.isprintable() and r"\x1b[2J" in finding.value and len(finding.value) < 400
