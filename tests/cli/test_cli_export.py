from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from running import environment, error_line, sightline

from sightline.card import CARD_KEY, PIXELS, ImageInput, ModelCard, Threshold, VectorOutput
from sightline.cli import export as export_verb
from sightline.cli import main
from sightline.deploy import export as export_library
from sightline.nets.checkpoint import save_checkpoint, weights_fingerprint
from sightline.nets.osnet import OSNet, build_osnet
from sightline.onnx_file import read_onnx
from sightline.reid.embedder import Embedder
from sightline.reid.probe import Probe
from sightline.runtime.open import open_session

ARCH = "osnet_x0_25"
SMALL = ("--size", "64x32")
X0_25_TENSORS = 485  # but for the classifier and the step counters; counted by hand in tests/nets/test_checkpoint.py


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Export = Callable[..., Outcome]


@pytest.fixture
def export(capsys: pytest.CaptureFixture[str]) -> Iterator[Export]:
    """`sightline export …` in this process, which already has torch."""
    level = logging.getLogger("sightline").level

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = main(["export", *map(str, arguments)])
        return Outcome(code, *capsys.readouterr())

    yield run
    logging.getLogger("sightline").setLevel(level)


@pytest.fixture(scope="module")
def net() -> OSNet:
    return build_osnet(ARCH, seed=1).eval()


@pytest.fixture(scope="module")
def bare(net: OSNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that says nothing of itself."""
    path = tmp_path_factory.mktemp("weights") / "best.pth"
    save_checkpoint(path, net)
    return path


TOLD = ModelCard(
    task="reid",
    arch=ARCH,
    image=ImageInput("input", (64, 32), PIXELS["face"]),
    output=VectorOutput("features", 512),
    weights="trained",
    trained_on="a set of its own",
    licence="CC0-1.0",
    thresholds=(Threshold(0.7, far=0.001, aggregation="averaged", pairs=5000),),
)


@pytest.fixture(scope="module")
def told(net: OSNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a card."""
    path = tmp_path_factory.mktemp("weights") / "told.pth"
    save_checkpoint(path, net, card=TOLD)
    return path


def card_in(path: Path) -> ModelCard:
    return ModelCard.from_json(read_onnx(path).metadata[CARD_KEY])


# --- checkpoints without a card --------------------------------------------------------------------------------------


def test_what_a_bare_checkpoint_does_not_say_is_taken_by_default_and_said(
    export: Export, net: OSNet, bare: Path, tmp_path: Path
) -> None:
    outcome = export("-w", bare, "-o", tmp_path / "m.onnx", *SMALL, "--trained-on", "msmt17", "--licence", "MIT")
    assert outcome.code == 0
    first, second, third, last = outcome.out.splitlines()
    assert first == f"{bare}: {ARCH}, {X0_25_TENSORS} of {X0_25_TENSORS} tensors matched (100 %)"
    size = (tmp_path / "m.onnx").stat().st_size / 1e6
    assert second == f"{tmp_path / 'm.onnx'}: {ARCH}, {size:.2f} MB, opset 13, one file"
    assert third.startswith("verified against PyTorch on 9 random and structured images at batch 1 and 3: ")
    assert last == "feed it NCHW float32, RGB, (x - 123.675/116.28/103.53) / 58.395/57.12/57.375"
    assert "taken as trained on torchreid pixels" in outcome.err
    assert card_in(tmp_path / "m.onnx") == ModelCard(
        task="reid",
        arch=ARCH,
        image=ImageInput("input", (64, 32), PIXELS["torchreid"]),
        output=VectorOutput("reid_features", 512, normalised=True),
        fingerprint=weights_fingerprint(net.state_dict()),
        trained_on="msmt17",
        licence="MIT",
    )
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]


def test_weights_nobody_vouches_for_are_probed_and_random_ones_are_not_called_trained(
    export: Export, bare: Path, tmp_path: Path
) -> None:
    outcome = export("-w", bare, "-o", tmp_path / "m.onnx", *SMALL, "--pixels", "torchreid")
    (line,) = outcome.err.splitlines()
    assert line.startswith("probe: 24 unlike figures have mean cosine ")
    assert line.endswith("(these weights do NOT tell people apart: untrained, or trained on something else)")
    assert card_in(tmp_path / "m.onnx").weights == "unknown"


def test_weights_that_tell_people_apart_are_called_trained(
    export: Export, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_library, "probe_network", lambda *_: Probe(mean_cosine=0.5, lowest_cosine=0.1))
    outcome = export("-w", bare, "-o", tmp_path / "m.onnx", *SMALL, "--pixels", "torchreid")
    assert outcome.err == ""
    assert "probe: 24 unlike figures have mean cosine 0.50 (these weights tell people apart)\n" in outcome.out
    assert card_in(tmp_path / "m.onnx").weights == "trained"


def test_a_file_named_after_imagenet_holds_imagenet_weights_and_embedding_warns(
    export: Export, bare: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    weights = tmp_path / "osnet_x0_25_ImageNet.pth"
    weights.write_bytes(bare.read_bytes())
    assert export("-w", weights, "-o", tmp_path / "m.onnx", *SMALL).code == 0
    assert card_in(tmp_path / "m.onnx").weights == "imagenet"
    with open_session(tmp_path / "m.onnx") as session, caplog.at_level(logging.WARNING, "sightline"):
        Embedder(session)
    assert "m.onnx has imagenet weights, which do not tell people apart" in caplog.messages


@pytest.mark.parametrize(
    ("flags", "size_hw"),
    [
        (("--img-height", "96", "--img-width", "48"), (96, 48)),
        (("--size", "64x32", "--img-width", "48"), (64, 48)),
    ],
)
def test_the_flags_of_older_scripts_are_understood(
    export: Export, bare: Path, tmp_path: Path, flags: tuple[str, ...], size_hw: tuple[int, int]
) -> None:
    older = ("--verify", "--num-classes", "751", "--reid-dim", "512", "--arch", ARCH)
    assert export("--weights", bare, "--output", tmp_path / "m.onnx", *older, *flags).code == 0
    assert read_onnx(tmp_path / "m.onnx").inputs[0].shape == (None, 3, *size_hw)


# --- checkpoints with one ------------------------------------------------------------------------------------------


def test_a_checkpoint_with_a_card_keeps_its_facts(export: Export, net: OSNet, told: Path, tmp_path: Path) -> None:
    outcome = export("-w", told, "-o", tmp_path / "m.onnx")
    assert outcome.code == 0
    assert outcome.err == ""
    assert "probe" not in outcome.out
    assert card_in(tmp_path / "m.onnx") == replace(
        TOLD,
        output=VectorOutput("reid_features", 512, normalised=True),
        fingerprint=weights_fingerprint(net.state_dict()),
    )


def test_flags_add_to_a_card_and_may_repeat_it(export: Export, told: Path, tmp_path: Path) -> None:
    outcome = export("-w", told, "-o", tmp_path / "m.onnx", "--licence", "MIT", "--pixels", "face", "--img-width", "32")
    assert outcome.code == 0
    card = card_in(tmp_path / "m.onnx")
    assert (card.licence, card.trained_on) == ("MIT", "a set of its own")


@pytest.mark.parametrize(
    ("flags", "what"),
    [(("--pixels", "torchreid"), "pixels"), (("--size", "256x128"), "size"), (("--img-height", "9"), "size")],
)
def test_a_flag_against_the_card_is_refused(
    export: Export, told: Path, tmp_path: Path, flags: tuple[str, ...], what: str
) -> None:
    outcome = export("-w", told, "-o", tmp_path / "m.onnx", *flags)
    assert outcome.code == 1
    assert error_line(outcome.err).startswith(f"{told}: the model itself says its {what} is ")
    assert list(tmp_path.iterdir()) == []


# --- weights that do not fit ---------------------------------------------------------------------------------------


def test_weights_of_another_network_are_refused_with_the_arch_they_are_of(
    export: Export, bare: Path, tmp_path: Path
) -> None:
    outcome = export("-w", bare, "-o", tmp_path / "m.onnx", "--arch", "osnet_ain_x0_25")
    assert outcome.code == 1
    assert error_line(outcome.err).endswith(f"these are {ARCH} weights: use --arch {ARCH}")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def holed(net: OSNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose card calls it trained, and which lacks two tensors."""
    state = dict(net.state_dict())
    del state["conv5.conv.weight"], state["conv2.0.gate.fc1.bias"]
    path = tmp_path_factory.mktemp("weights") / "holed.pth"
    torch.save({"state_dict": state, CARD_KEY: TOLD.to_json()}, path)
    return path


def test_weights_with_holes_are_refused_by_name(export: Export, holed: Path, tmp_path: Path) -> None:
    outcome = export("-w", holed, "-o", tmp_path / "m.onnx")
    assert outcome.code == 1
    line = error_line(outcome.err)
    assert f"{X0_25_TENSORS - 2} of {X0_25_TENSORS} tensors matched" in line
    assert "missing: conv2.0.gate.fc1.bias, conv5.conv.weight" in line


def test_partial_weights_are_exported_on_request_but_no_longer_called_trained(
    export: Export, holed: Path, tmp_path: Path
) -> None:
    outcome = export("-w", holed, "-o", tmp_path / "m.onnx", "--partial", "--seed", "5")
    assert outcome.code == 0
    assert f"{X0_25_TENSORS - 2} of {X0_25_TENSORS} tensors matched (99.5 %), 2 missing" in outcome.out
    assert "do NOT tell people apart" in outcome.err
    card = card_in(tmp_path / "m.onnx")
    assert (card.weights, card.thresholds) == ("unknown", ())
    assert (card.trained_on, card.licence) == (TOLD.trained_on, TOLD.licence)
    seeded = build_osnet(ARCH, seed=5).state_dict()
    filled = {**seeded, **torch.load(holed)["state_dict"]}
    assert card.fingerprint == weights_fingerprint(filled)  # what was missing is of that seed, and nothing else is


def test_the_width_of_the_vectors_is_told_from_the_checkpoint(export: Export, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "narrow.pth", build_osnet(ARCH, feature_dim=128, num_classes=7, seed=0))
    assert export("-w", tmp_path / "narrow.pth", "-o", tmp_path / "m.onnx", *SMALL).code == 0
    assert read_onnx(tmp_path / "m.onnx").outputs[0].shape == (None, 128)
    assert card_in(tmp_path / "m.onnx").output == VectorOutput("reid_features", 128, normalised=True)
    outcome = export("-w", tmp_path / "narrow.pth", "-o", tmp_path / "m.onnx", *SMALL, "--reid-dim", "512")
    assert outcome.code == 1
    assert "fc.0.bias: file (128,), network (512,)" in error_line(outcome.err)


# --- what is written -----------------------------------------------------------------------------------------------


def test_the_presets_named_here_are_those_of_the_library() -> None:
    assert set(export_verb.PRESETS) == set(export_library.PRESETS)


def test_each_flag_overrules_the_preset(export: Export, told: Path, tmp_path: Path) -> None:
    flags = ("--preset", "ascend", "--fold", "uint8", "--l2", "--opset", "12", "--batch", "2")
    outcome = export("-w", told, "-o", tmp_path / "m.onnx", *flags)
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == "feed it NHWC uint8, BGR 0..255 as they are"
    file = read_onnx(tmp_path / "m.onnx")
    assert file.opset == 12
    assert str(file.inputs[0]) == "image uint8[2, 64, 32, 3]"
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    (vectors,) = session.run(["feature"], {"image": np.full((2, 64, 32, 3), 90, np.uint8)})
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


UNTRAINED = ("--untrained", "-a", ARCH, "--seed", "4", "--no-l2", *SMALL)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("untrained") / "m.onnx"
    assert main(["export", *UNTRAINED, "-o", str(path)]) == 0
    return path


def test_the_l2_normalisation_of_a_preset_can_be_left_out(untrained: Path) -> None:
    assert card_in(untrained).output == VectorOutput("reid_features", 512, normalised=False)
    assert "ReduceL2" not in read_onnx(untrained).op_counts


def test_untrained_weights_are_drawn_by_the_seed_and_called_untrained(untrained: Path) -> None:
    card = card_in(untrained)
    assert card.weights == "untrained"
    assert card.fingerprint == weights_fingerprint(build_osnet(ARCH, seed=4).state_dict())


def test_another_process_writes_the_same_bytes(untrained: Path, tmp_path: Path) -> None:
    done = sightline("export", *UNTRAINED, "-o", tmp_path / "m.onnx", PYTHONHASHSEED="7")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "m.onnx").read_bytes() == untrained.read_bytes()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--untrained",), "--untrained needs --arch, the network to draw; e.g. --arch osnet_x0_25"),
        (("--untrained", "-a", "osnet_x0_26"), "did you mean osnet_x0_25?"),
        (("--untrained", "-a", ARCH, "--opset", "99"), "cannot write ONNX opset 99; expected 9 to 20"),
        (("--untrained", "-a", ARCH, "--size", "8x8"), f"torch cannot trace {ARCH} on (8, 8) images: "),
        (("-w", "none.pth"), "model file not found: none.pth"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    export: Export, tmp_path: Path, flags: tuple[str, ...], reason: str
) -> None:
    outcome = export(*flags, "-o", tmp_path / "m.onnx")
    assert outcome.code == 1
    assert outcome.out == ""
    assert reason in error_line(outcome.err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "flags", [(), ("--untrained", "-w", "a.pth"), ("--untrained", "--batch", "0"), ("--untrained", "--size", "64")]
)
def test_wrong_usage_is_exit_code_2(export: Export, tmp_path: Path, flags: tuple[str, ...]) -> None:
    assert export(*flags, "-o", tmp_path / "m.onnx").code == 2
    assert list(tmp_path.iterdir()) == []


# --- one file of two -----------------------------------------------------------------------------------------------


def test_a_file_with_its_weights_beside_it_becomes_one_with_the_same_answers(
    export: Export, untrained: Path, tmp_path: Path
) -> None:
    split, whole = tmp_path / "split.onnx", tmp_path / "whole.onnx"
    onnx.save(onnx.load(str(untrained)), str(split), save_as_external_data=True, location="split.data")
    outcome = export("--embed-weights", split, "-o", whole)
    assert outcome == Outcome(0, f"{whole}: one file of {whole.stat().st_size / 1e6:.2f} MB\n", "")
    (tmp_path / "split.data").unlink()
    assert card_in(whole) == card_in(untrained)
    images = np.random.default_rng(0).normal(size=(3, 3, 64, 32)).astype(np.float32)
    answers = [
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"input": images})[0]
        for path in (untrained, whole)
    ]
    assert np.array_equal(*answers)
    gone = export("--embed-weights", split, "-o", whole)
    assert gone.code == 1
    assert "weights file split.data is missing" in error_line(gone.err)


# --- machines that only run models -----------------------------------------------------------------------------------

WITHOUT = """
import sys
for name in {absent!r}:
    sys.modules[name] = None  # Python's own way to say that there is no such module
from sightline.cli import main
sys.exit(main(sys.argv[1:]))
"""


def sightline_without(absent: tuple[str, ...], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(absent=absent), *map(str, arguments)],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("absent", ["torch", "onnx", "onnxslim"])
def test_exporting_without_what_it_needs_says_what_to_install(bare: Path, tmp_path: Path, absent: str) -> None:
    done = sightline_without((absent,), "export", "-w", bare, "-o", tmp_path / "m.onnx")
    assert done.returncode == 1
    assert error_line(done.stderr) == (
        f"exporting needs more than running: {absent} is not installed: pip install 'sightline[export]'"
    )


def test_making_one_file_of_two_needs_onnx_and_nothing_else(tmp_path: Path) -> None:
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["x", "w"], ["y"])],
        "net",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4])],
        [onnx.numpy_helper.from_array(np.ones(4, np.float32), "w")],
    )
    opsets = [onnx.helper.make_opsetid("", 13)]
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8),
        str(tmp_path / "m.onnx"),
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )
    arguments = ("export", "--embed-weights", tmp_path / "m.onnx", "-o", tmp_path / "whole.onnx")
    done = sightline_without(("torch", "onnxslim"), *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert read_onnx(tmp_path / "whole.onnx").external_data == ()
    refused = sightline_without(("onnx",), *arguments)
    assert error_line(refused.stderr).startswith("exporting needs more than running: onnx is not installed")
