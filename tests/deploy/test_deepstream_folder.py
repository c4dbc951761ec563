from __future__ import annotations

import configparser
import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from metadata_standins import DevicePool, Picture, Pool, Somebody, Tensors, make_pyds, maker_batch, pyds_batch
from sightline.card import ImageInput, ModelCard, Pixels, VectorOutput
from sightline.deploy.deepstream.detectors import DETECTORS
from sightline.deploy.deepstream.folder import files_of, require_free, trtexec, write_files
from sightline.deploy.deepstream.model import Prepared, prepare_model
from sightline.deploy.deepstream.notebook import notebook_of
from sightline.deploy.deepstream.plan import Plan
from sightline.errors import ConfigError, OutputError
from sightline.pipeline.probe.deployment import Deployment
from sightline.runtime.cards import Claims

TORCHREID = Pixels("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
FOLDED = ModelCard(
    task="reid",
    arch="osnet_x1_0",
    image=ImageInput("input", (256, 128), TORCHREID, folded=True),
    output=VectorOutput("embedding", 512, normalised=False),
    weights="trained",
    fingerprint="0123456789abcdef",
)
MODEL = "models/osnet/osnet_x1_0_final.onnx"
# Which line of its label file each detector calls a person, as NVIDIA's model cards and COCO have it.
PEOPLE = {"trafficcamnet": 2, "peoplenet": 0, "peoplenet-transformer": 1, "coco": 0}
LABELS = {
    "trafficcamnet": "car bicycle person roadsign",
    "peoplenet": "person bag face",
    "peoplenet-transformer": "BG person face bag",
}

every_detector = pytest.mark.parametrize("name", sorted(PEOPLE))


def plan(name: str = "trafficcamnet", *, card: ModelCard = FOLDED, root: str = "/opt/reid", **how: Any) -> Plan:
    return Plan(Prepared(card), MODEL, PurePosixPath(root), DETECTORS[name], **how)


def ini(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(
        delimiters=("=",), comment_prefixes=("#",), inline_comment_prefixes=None, strict=True, interpolation=None
    )
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def tracker(text: str) -> dict[str, dict[str, Any]]:
    first, _, rest = text.partition("\n")
    assert first == "%YAML:1.0"
    found: dict[str, dict[str, Any]] = yaml.safe_load(rest)
    return found


# --- the configurations agree --------------------------------------------------------------------------------------


@every_detector
def test_people_are_the_class_that_the_detector_calls_so(name: str) -> None:
    files = files_of(plan(name))
    sgie = ini(files["reid_sgie_config.txt"])["property"]
    pgie = ini(files["pgie_config.txt"])["property"]
    labels = files[pgie["labelfile-path"].removeprefix("/opt/reid/")].splitlines()
    assert sgie["operate-on-class-ids"] == str(PEOPLE[name])
    assert labels[PEOPLE[name]] == "person" and labels.count("person") == 1
    assert pgie["num-detected-classes"] == str(len(labels))
    others = [int(number) for number in pgie["filter-out-class-ids"].split(";")]
    assert sorted([*others, PEOPLE[name]]) == list(range(len(labels)))
    assert " ".join(labels) == LABELS.get(name, " ".join(labels))
    assert json.loads(files["deployment.json"])["person_classes"] == [PEOPLE[name]]


@every_detector
def test_the_network_behind_the_tracker_works_on_that_detector_s_objects(name: str) -> None:
    files = files_of(plan(name))
    sgie, pgie = ini(files["reid_sgie_config.txt"])["property"], ini(files["pgie_config.txt"])["property"]
    assert sgie["operate-on-gie-id"] == pgie["gie-unique-id"] != sgie["gie-unique-id"]
    assert json.loads(files["deployment.json"])["gie_id"] == int(sgie["gie-unique-id"])
    assert (pgie["process-mode"], pgie["network-type"]) == ("1", "0")
    assert (sgie["process-mode"], sgie["network-type"], sgie["output-tensor-meta"]) == ("2", "100", "1")


@every_detector
def test_both_forms_of_the_configuration_say_the_same(name: str) -> None:
    files = files_of(plan(name))
    as_yaml = yaml.safe_load(files["reid_sgie_config.yml"])
    as_text = {group: {key: str(value) for key, value in settings.items()} for group, settings in as_yaml.items()}
    assert as_text == ini(files["reid_sgie_config.txt"])


@every_detector
def test_no_value_is_followed_by_a_comment_and_no_path_is_relative(name: str) -> None:
    files = files_of(plan(name))
    for file in ("reid_sgie_config.txt", "pgie_config.txt"):
        for key, value in ini(files[file])["property"].items():
            assert "#" not in value and value == value.strip() and value, key
            if key.endswith(("-file", "-path")):
                assert value.startswith(("/opt/reid/", "/opt/nvidia/")), key
    reid = tracker(files["tracker_reid_config.yml"])["ReID"]
    assert reid["onnxFile"].startswith("/opt/reid/") and reid["modelEngineFile"].startswith("/opt/reid/")


def test_a_folded_model_is_fed_pixels_as_they_are() -> None:
    files = files_of(plan())
    sgie = ini(files["reid_sgie_config.txt"])["property"]
    assert (sgie["net-scale-factor"], sgie["offsets"], sgie["model-color-format"]) == ("1", "0;0;0", "0")
    reid = tracker(files["tracker_reid_config.yml"])["ReID"]
    assert (reid["netScaleFactor"], reid["offsets"], reid["colorFormat"]) == (1, [0, 0, 0], 0)


def test_the_scalar_form_has_nvidia_s_own_numbers() -> None:
    unfolded = replace(FOLDED, image=replace(FOLDED.image, folded=False))
    files = files_of(plan(card=unfolded))
    sgie = ini(files["reid_sgie_config.txt"])["property"]
    assert float(sgie["net-scale-factor"]) == pytest.approx(0.0173520736, abs=1e-9)
    assert sgie["offsets"] == "123.675;116.28;103.53"
    reid = tracker(files["tracker_reid_config.yml"])["ReID"]
    assert (float(reid["netScaleFactor"]), reid["offsets"]) == (
        float(sgie["net-scale-factor"]),
        [123.675, 116.28, 103.53],
    )


def test_a_model_of_bgr_pixels_is_fed_bgr() -> None:
    card = replace(FOLDED, image=replace(FOLDED.image, pixels=replace(TORCHREID, color="BGR")))
    files = files_of(plan(card=card))
    assert ini(files["reid_sgie_config.txt"])["property"]["model-color-format"] == "1"
    assert tracker(files["tracker_reid_config.yml"])["ReID"]["colorFormat"] == 1


def test_sizes_are_the_card_s_and_nobody_swaps_height_and_width() -> None:
    card = replace(FOLDED, image=replace(FOLDED.image, size_hw=(128, 64)), output=replace(FOLDED.output, dim=256))
    files = files_of(plan(card=card))
    assert ini(files["reid_sgie_config.txt"])["property"]["infer-dims"] == "3;128;64"
    reid = tracker(files["tracker_reid_config.yml"])["ReID"]
    assert (reid["inferDims"], reid["reidFeatureSize"]) == ([3, 128, 64], 256)
    assert json.loads(files["deployment.json"])["dim"] == 256


@pytest.mark.parametrize(("precision", "nvinfer", "nvtracker"), [("fp16", "2", 1), ("fp32", "0", 0)])
def test_the_two_elements_number_precisions_each_in_its_own_way(precision: Any, nvinfer: str, nvtracker: int) -> None:
    one = plan(precision=precision)
    files = files_of(one)
    assert ini(files["reid_sgie_config.txt"])["property"]["network-mode"] == nvinfer
    assert tracker(files["tracker_reid_config.yml"])["ReID"]["networkMode"] == nvtracker
    assert ("--fp16" in trtexec(one)) == (precision == "fp16")


def test_the_tracker_tells_of_tracks_that_end_and_of_its_vectors() -> None:
    files = files_of(plan())
    for name in ("tracker_config.yml", "tracker_reid_config.yml"):
        found = tracker(files[name])
        assert found["TargetManagement"]["outputTerminatedTracks"] == 1
        assert found["TrajectoryManagement"]["useUniqueID"] == 1
    assert "ReID" not in tracker(files["tracker_config.yml"])
    reid = tracker(files["tracker_reid_config.yml"])["ReID"]
    assert (reid["outputReidTensor"], reid["addFeatureNormalization"], reid["keepAspc"]) == (1, 1, 0)


# --- engines -------------------------------------------------------------------------------------------------------


def test_the_engine_has_the_name_that_nvinfer_would_give_it() -> None:
    files = files_of(plan(batch=8))
    sgie = ini(files["reid_sgie_config.txt"])["property"]
    assert sgie["model-engine-file"] == f"{sgie['onnx-file']}_b{sgie['batch-size']}_gpu{sgie['gpu-id']}_fp16.engine"
    assert sgie["batch-size"] == "8"


def test_trtexec_gets_the_model_s_own_input_and_a_profile_that_fits_the_batch() -> None:
    card = replace(FOLDED, image=replace(FOLDED.image, name="modelInput"))
    assert trtexec(plan(card=card, batch=12)) == (
        "/usr/src/tensorrt/bin/trtexec",
        "--onnx=/opt/reid/models/osnet/osnet_x1_0_final.onnx",
        "--saveEngine=/opt/reid/models/osnet/osnet_x1_0_final.onnx_b12_gpu0_fp16.engine",
        "--minShapes=modelInput:1x3x256x128",
        "--optShapes=modelInput:12x3x256x128",
        "--maxShapes=modelInput:12x3x256x128",
        "--fp16",
    )


def test_a_model_of_a_fixed_batch_gets_no_profile_and_no_other_batch() -> None:
    card = replace(FOLDED, image=replace(FOLDED.image, batch=4))
    one = plan(card=card, batch=4)
    assert not any("Shapes" in word for word in trtexec(one))
    assert tracker(files_of(one)["tracker_reid_config.yml"])["ReID"]["batchSize"] == 4
    assert "Shapes" not in files_of(one)["README.md"]
    with pytest.raises(ConfigError, match="batches of 4 and no other; got --batch 16"):
        plan(card=card)


@pytest.mark.parametrize("root", ["reid", "/opt/re;id", "/opt/reid\n[x]", '/opt/"reid"', "/opt/$HOME", "/opt/re:id"])
def test_a_place_that_some_reader_would_take_apart_is_refused(root: str) -> None:
    with pytest.raises(ConfigError, match="expected an absolute path of letters"):
        plan(root=root)


def test_a_place_with_spaces_reaches_every_reader_whole(tmp_path: Path) -> None:
    files = files_of(plan(root="/opt/my reid"))
    assert ini(files["reid_sgie_config.txt"])["property"]["onnx-file"] == f"/opt/my reid/{MODEL}"
    assert yaml.safe_load(files["reid_sgie_config.yml"])["property"]["onnx-file"] == f"/opt/my reid/{MODEL}"
    assert tracker(files["tracker_reid_config.yml"])["ReID"]["onnxFile"] == f"/opt/my reid/{MODEL}"
    assert f"'--onnx=/opt/my reid/{MODEL}'" in files["build_engine.sh"]
    assert "cd '/opt/my reid'\n" in files["setup.sh"]


# --- scripts, applications, notebook, container ----------------------------------------------------------------------


@every_detector
def test_all_generated_python_compiles_and_is_clean(name: str, tmp_path: Path) -> None:
    files = {path: text for path, text in files_of(plan(name)).items() if path.endswith(".py")}
    assert sorted(files) == ["app.py", "cameras.py", "pyds_app.py"]
    for path, text in files.items():
        compile(text, path, "exec")
    write_files(tmp_path, files)
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or "ruff"
    rules = "E,F,W,I,B,UP,N,SIM,RUF,RET,C4"
    checked = [ruff, "check", "--isolated", "--line-length=120", f"--select={rules}", str(tmp_path)]
    done = subprocess.run(checked, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


@every_detector
def test_scripts_are_ones_that_bash_can_read_and_may_be_run(name: str, tmp_path: Path) -> None:
    write_files(tmp_path, files_of(plan(name)))
    for script in sorted(tmp_path.glob("*.sh")):
        done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert script.stat().st_mode & 0o111
    assert not (tmp_path / "app.py").stat().st_mode & 0o111


def test_the_script_that_builds_the_engine_runs_what_the_readme_shows(tmp_path: Path) -> None:
    one = plan(root=str(tmp_path))
    write_files(tmp_path, files_of(one))
    fake = tmp_path / "trtexec"
    fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked\n')
    fake.chmod(0o755)
    script = (tmp_path / "build_engine.sh").read_text().replace("/usr/src/tensorrt/bin/trtexec", str(fake))
    subprocess.run(["bash", "-c", script], check=True, cwd=tmp_path)
    assert tuple((tmp_path / "asked").read_text().splitlines()) == trtexec(one)[1:]
    shown = " ".join((tmp_path / "README.md").read_text().replace("\\\n", " ").split())
    assert " ".join(trtexec(one)) in shown


def test_the_notebook_is_of_format_4_and_its_code_compiles() -> None:
    found = json.loads(files_of(plan())["person_reid_gallery.ipynb"])
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    assert set(found) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    ids = [cell["id"] for cell in found["cells"]]
    assert len(ids) == len(set(ids)) >= 10
    for cell in found["cells"]:
        is_code = cell["cell_type"] == "code"
        wanted = {"cell_type", "id", "metadata", "source", *(("execution_count", "outputs") if is_code else ())}
        assert set(cell) == wanted and cell["source"]
        assert all(line.endswith("\n") for line in cell["source"][:-1]) and not cell["source"][-1].endswith("\n")
        if is_code:
            assert cell["outputs"] == [] and cell["execution_count"] is None
            compile("".join(cell["source"]), cell["id"], "exec")
    assert any("doctor" in "".join(cell["source"]) for cell in found["cells"])


def test_a_notebook_is_made_of_the_cells_of_a_text() -> None:
    found = json.loads(notebook_of("# %% [markdown]\n# # Title\n#\n# words\n\n# %%\nx = 1\n\n\ny = 2  # %% no cell\n"))
    assert [(cell["cell_type"], cell["source"]) for cell in found["cells"]] == [
        ("markdown", ["# Title\n", "\n", "words"]),
        ("code", ["x = 1\n", "\n", "\n", "y = 2  # %% no cell"]),
    ]


@every_detector
def test_the_container_sees_the_folder_where_the_configurations_say(name: str) -> None:
    service = yaml.safe_load(files_of(plan(name, root="/srv/my reid"))["compose.yaml"])["services"]["people"]
    assert service["working_dir"] == "/srv/my reid"
    assert {"type": "bind", "source": ".", "target": "/srv/my reid"} in service["volumes"]
    assert service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]


@every_detector
def test_the_readme_names_every_file_and_no_other(name: str) -> None:
    files = files_of(plan(name))
    readme = files["README.md"]
    for path in files:
        named = path in readme or (path.endswith(".yml") and f"`{Path(path).stem}.txt`, `.yml`" in readme)
        assert named or path in {"README.md", DETECTORS[name].label_file}, path
    assert "{{" not in "".join(files.values()) and "{%" not in "".join(files.values())


def test_the_same_plan_gives_the_same_bytes() -> None:
    assert files_of(plan()) == files_of(plan())


# --- writing -------------------------------------------------------------------------------------------------------


def test_a_file_that_somebody_changed_is_not_written_over(tmp_path: Path) -> None:
    files = files_of(plan())
    write_files(tmp_path, files)
    require_free(tmp_path, files)  # the same again is no loss
    (tmp_path / "app.py").write_text("mine")
    with pytest.raises(ConfigError, match=r"has its own app\.py; .*--force"):
        require_free(tmp_path, files)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where a folder should be")
    with pytest.raises(OutputError, match="models"):
        write_files(tmp_path, files_of(plan()))


# --- the whole, as a probe and a doctor see it ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def deployed(osnet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as it lies on the machine it runs on, its detector in place."""
    folder = tmp_path_factory.mktemp("deployed") / "reid"
    prepared = prepare_model(osnet, folder / MODEL, claims=Claims(), allow_untrained=True)
    one = Plan(prepared, MODEL, PurePosixPath(folder), DETECTORS["peoplenet"])
    write_files(folder, files_of(one))
    write_detector(folder / DETECTORS["peoplenet"].onnx)
    return folder


def write_detector(path: Path) -> None:
    """A network with the input and the outputs of PeopleNet, and nothing to it."""
    size = ["n", 3, 544, 960]
    outputs = {"output_cov/Sigmoid:0": 3, "output_bbox/BiasAdd:0": 12}
    nodes, weights = [], []
    for number, (name, channels) in enumerate(outputs.items()):
        nodes.append(helper.make_node("Conv", ["input_1:0", f"w{number}"], [name], strides=[16, 16]))
        weights.append(numpy_helper.from_array(np.zeros((channels, 3, 16, 16), np.float32), f"w{number}"))
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("input_1:0", TensorProto.FLOAT, size)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", count, 34, 60])
            for name, count in outputs.items()
        ],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def test_what_is_written_is_what_the_probe_reads(deployed: Path) -> None:
    found = Deployment.read(deployed / "deployment.json")
    assert (found.layer, found.dim, found.gie_id, found.person_classes) == ("embedding", 512, 4, (0,))
    for path in (found.model, found.pgie_config, found.sgie_config, found.tracker_config, found.tracker_reid_config):
        assert path.is_file()


def test_the_folder_passes_the_doctor(deployed: Path) -> None:
    examination = pytest.importorskip("sightline.deploy.doctor.examination")
    found = [one for one in examination.examine_targets([deployed]) if one.severity in {"error", "warning"}]
    # The network's weights are random: that is this test's own doing.
    assert [f"{one.rule.id} {one.place} {one.value}" for one in found] == []


def stranger(seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal(512).astype(np.float32)


def pictures(source: int, seed: int, frames: range, *, track: int) -> list[Picture]:
    return [
        Picture(
            index,
            [Somebody(track, tensors=[Tensors({"embedding": stranger(seed)})], class_id=0)],
            source=source,
            pts_ns=index * 100_000_000,
        )
        for index in frames
    ]


WALKS = [
    *pictures(0, 1, range(20), track=1),
    *pictures(1, 2, range(20), track=2),
    *pictures(0, 1, range(100, 120), track=3),
]


@pytest.fixture
def load(deployed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Imports a generated application beside stand-ins of what only a DeepStream image has."""
    monkeypatch.syspath_prepend(str(deployed))

    def loaded(name: str, **standins: Any) -> ModuleType:
        for module, standin in standins.items():
            monkeypatch.setitem(sys.modules, module.replace("__", "."), standin)
        return importlib.import_module(name)

    yield loaded
    for name in ("app", "pyds_app", "cameras"):
        sys.modules.pop(name, None)


class Maker:
    """pyservicemaker, as far as the application uses it: it plays a few batches when it is waited for."""

    def __init__(self, batches: Sequence[Picture]) -> None:
        self.elements: list[tuple[str, str, dict[str, Any]]] = []
        self.links: list[tuple[Any, ...]] = []
        self.attached: list[tuple[str, Any]] = []
        self.batches = batches
        maker = self

        class Operator:
            pass

        class Probe:
            def __init__(self, name: str, operator: Any) -> None:
                self.operator = operator

        class Pipeline:
            def __init__(self, name: str) -> None:
                pass

            def add(self, kind: str, name: str, settings: dict[str, Any]) -> Pipeline:
                maker.elements.append((kind, name, settings))
                return self

            def link(self, *names: Any) -> Pipeline:
                maker.links.append(names)
                return self

            def attach(self, name: str, probe: Any) -> None:
                maker.attached.append((name, probe))

            def start(self) -> Pipeline:
                return self

            def wait(self) -> None:
                for batch in maker.batches:
                    maker.attached[0][1].operator.handle_metadata(maker_batch([batch], DevicePool()))

            def stop(self) -> None:
                raise AssertionError("nothing was wrong")

        self.module = SimpleNamespace(BatchMetadataOperator=Operator, Pipeline=Pipeline, Probe=Probe)


def who_was_there(out: Path) -> list[tuple[str, str | None]]:
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    return sorted((event["sensorId"], event["identity"]) for event in events)


SEEN = [("gate", "person-1"), ("gate", "person-1"), ("yard", "person-2")]


def test_the_application_remembers_who_it_was_shown(
    load: Callable[..., ModuleType], deployed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker = Maker(WALKS)
    app = load("app", pyservicemaker=maker.module)
    assert app.main(["gate=/videos/gate.mp4", "yard=/videos/yard.mp4", "--out", str(tmp_path)]) == 0
    assert who_was_there(tmp_path) == SEEN
    assert "3 visits in 60 frames of 2 cameras" in capsys.readouterr().out


def test_the_pipeline_has_its_elements_in_the_order_that_works(
    load: Callable[..., ModuleType], deployed: Path, tmp_path: Path
) -> None:
    maker = Maker([])
    app = load("app", pyservicemaker=maker.module)
    assert app.main(["gate=rtsp://camera.local/stream", "/videos/yard.mp4", "--out", str(tmp_path)]) == 0
    settings = {name: given for _, name, given in maker.elements}
    kinds = {name: kind for kind, name, _ in maker.elements}
    assert maker.links[-1] == ("mux", "detector", "tracker", "reid", "end")
    assert [kinds[name] for name in maker.links[-1]] == ["nvstreammux", "nvinfer", "nvtracker", "nvinfer", "fakesink"]
    assert maker.links[:2] == [((f"source{number}", "mux"), ("", "sink_%u")) for number in range(2)]
    assert settings["reid"]["config-file-path"] == str(deployed / "reid_sgie_config.txt")
    assert settings["detector"]["config-file-path"] == str(deployed / "pgie_config.txt")
    assert settings["tracker"]["ll-config-file"] == str(deployed / "tracker_config.yml")
    assert settings["mux"]["live-source"] == 1 and settings["mux"]["batch-size"] == 2
    assert settings["source0"]["select-rtp-protocol"] == 4
    assert settings["source1"] == {"uri": "file:///videos/yard.mp4"}
    assert settings["end"]["async"] == 0
    assert [name for name, _ in maker.attached] == ["reid"]


def test_with_the_tracker_s_vectors_there_is_no_second_network(
    load: Callable[..., ModuleType], deployed: Path, tmp_path: Path
) -> None:
    maker = Maker([])
    app = load("app", pyservicemaker=maker.module)
    assert app.main(["/videos/yard.mp4", "--embeddings", "tracker", "--out", str(tmp_path)]) == 0
    settings = {name: given for _, name, given in maker.elements}
    assert "reid" not in settings and maker.links[-1] == ("mux", "detector", "tracker", "end")
    assert settings["tracker"]["ll-config-file"] == str(deployed / "tracker_reid_config.yml")
    assert [name for name, _ in maker.attached] == ["tracker"]


def test_what_is_wrong_with_a_run_is_one_line(
    load: Callable[..., ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maker = Maker(WALKS)
    app = load("app", pyservicemaker=maker.module)
    (tmp_path / "out").write_text("a file")
    assert app.main(["/videos/yard.mp4", "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[-1].startswith("error: cannot write")
    with pytest.raises(SystemExit):
        app.main(["gate=/a.mp4", "gate=/b.mp4", "--out", str(tmp_path)])
    assert "two cameras are called gate" in capsys.readouterr().err


class Gst:
    """GStreamer, as far as the probe of pyds uses it."""

    def __init__(self, batches: Sequence[Picture]) -> None:
        self.launched = ""
        self.states: list[str] = []
        probes: list[Any] = []
        pools: dict[int, Any] = {}
        gst = self

        class Buffer:
            def __init__(self, picture: Picture) -> None:
                self.meta = pyds_batch([picture], Pool())
                pools[hash(self)] = self.meta

        def play() -> None:
            for picture in batches:
                buffer = Buffer(picture)
                for probe in probes:
                    assert probe(None, SimpleNamespace(get_buffer=lambda buffer=buffer: buffer)) == "ok"
            for probe in probes:
                assert probe(None, SimpleNamespace(get_buffer=lambda: None)) == "ok"

        pad = SimpleNamespace(add_probe=lambda kind, probe: probes.append(probe))
        element = SimpleNamespace(get_static_pad=lambda name: pad)
        bus = SimpleNamespace(add_signal_watch=lambda: None, connect=lambda signal, heard: None)
        pipeline = SimpleNamespace(get_by_name=lambda name: element, get_bus=lambda: bus, set_state=gst.states.append)

        def launch(text: str) -> Any:
            gst.launched = text
            return pipeline

        found = SimpleNamespace(
            init=lambda argv: None,
            parse_launch=launch,
            State=SimpleNamespace(PLAYING="playing", NULL="null"),
            PadProbeType=SimpleNamespace(BUFFER="buffer"),
            PadProbeReturn=SimpleNamespace(OK="ok"),
        )
        glib = SimpleNamespace(MainLoop=lambda: SimpleNamespace(run=play, quit=lambda: None), timeout_add=lambda *_: 1)
        self.pyds = make_pyds()
        self.pyds.gst_buffer_get_nvds_batch_meta = lambda address: pools[address]
        self.modules = {
            "gi": SimpleNamespace(require_version=lambda name, version: None),
            "gi__repository": SimpleNamespace(Gst=found, GLib=glib),
            "pyds": self.pyds,
        }


def test_the_application_of_pyds_remembers_the_same_people(
    load: Callable[..., ModuleType], deployed: Path, tmp_path: Path
) -> None:
    gst = Gst(WALKS)
    app = load("pyds_app", **gst.modules)
    assert app.main(["gate=/videos/gate.mp4", "yard=/videos/yard.mp4", "--out", str(tmp_path)]) == 0
    assert who_was_there(tmp_path) == SEEN
    assert gst.states == ["playing", "null"]
    order = ["nvstreammux", "pgie_config.txt", "nvtracker", "reid_sgie_config.txt", "identity name=last", "fakesink"]
    places = [gst.launched.index(part) for part in order]
    assert places == sorted(places)
    assert 'nvurisrcbin uri="file:///videos/yard.mp4" ! mux.sink_1' in gst.launched
