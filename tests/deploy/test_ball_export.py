from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from onnx import numpy_helper

from sightline.card import CARD_KEY, ModelCard
from sightline.cli import main
from sightline.deploy import ball_export
from sightline.deploy.ball_export import BallExportPlan, example_feeds, export_ball, target_file, verify_ball
from sightline.deploy.upsample import Form, sites
from sightline.errors import ConfigError, ExportError, OutputError
from sightline.nets.ball_checkpoint import BallNet, LoadedBall, inpaintnet_card, tracknet_card
from sightline.nets.checkpoint import save_checkpoint
from sightline.nets.inpaintnet import build_inpaintnet
from sightline.nets.osnet import build_osnet
from sightline.nets.tracknet import build_tracknet
from sightline.onnx_file import read_onnx
from sightline.runtime.open import open_session
from sightline.types import Array

HEIGHT, WIDTH = 16, 24  # TrackNet is as wide as the picture is: small pictures make quick tests
ANY = BallExportPlan(batch=None)


@pytest.fixture
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ball_export, "HEIGHT", HEIGHT)
    monkeypatch.setattr(ball_export, "WIDTH", WIDTH)


def tracknet(seq_len: int = 2, bg_mode: str = "concat", *, seed: int = 1) -> LoadedBall:
    """With statistics of its own: fresh norms are 0 and 1, and folding them wrongly would not show."""
    net = build_tracknet(seq_len, bg_mode, width="x0_25", seed=seed).eval()
    random = torch.Generator().manual_seed(5)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=random)
            module.running_var.uniform_(0.5, 1.5, generator=random)
    return LoadedBall(net, tracknet_card(net, bg_mode, weights="untrained"))


def inpaintnet() -> LoadedBall:
    net = build_inpaintnet(seed=1).eval()
    return LoadedBall(net, inpaintnet_card(net, 16, weights="untrained"))


def session_of(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def torch_says(net: BallNet, feeds: dict[str, Array]) -> Array:
    with torch.inference_mode():
        return net(*(torch.from_numpy(array) for array in feeds.values())).numpy()


def planes(ball: LoadedBall, rows: int) -> dict[str, Array]:
    rng = np.random.default_rng(11)
    return {"input": rng.random((rows, ball.net.in_dim, HEIGHT, WIDTH), np.float32)}


# --- what is in the file --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize(("bg_mode", "in_dim"), [("", 6), ("subtract", 2), ("subtract_concat", 8), ("concat", 9)])
def test_a_tracknet_file_has_the_names_shapes_and_metadata_of_the_predecessor(
    tmp_path: Path, bg_mode: str, in_dim: int
) -> None:
    ball = tracknet(2, bg_mode)
    export_ball(ball, tmp_path / "m.onnx", plan=BallExportPlan())
    session = session_of(tmp_path / "m.onnx")
    assert [(each.name, each.shape) for each in session.get_inputs()] == [("input", [1, in_dim, HEIGHT, WIDTH])]
    assert [(each.name, each.shape) for each in session.get_outputs()] == [("output", [1, 2, HEIGHT, WIDTH])]
    metadata = session.get_modelmeta().custom_metadata_map
    assert ModelCard.from_json(metadata.pop(CARD_KEY)) == ball.card
    assert metadata == {
        "model_name": "TrackNet",
        "seq_len": "2",
        "bg_mode": bg_mode,
        "batch_mode": "fixed",
        "batch_size": "1",
    }
    assert read_onnx(tmp_path / "m.onnx").opset == 18


def test_an_inpaintnet_file_has_the_names_shapes_and_metadata_of_the_predecessor(tmp_path: Path) -> None:
    ball = inpaintnet()
    export_ball(ball, tmp_path / "m.onnx", plan=ANY)
    session = session_of(tmp_path / "m.onnx")
    assert {each.name: each.shape for each in session.get_inputs()} == {
        "coords": ["batch_size", 16, 2],
        "mask": ["batch_size", 16, 1],
    }
    assert [(each.name, each.shape) for each in session.get_outputs()] == [("output", ["batch_size", 16, 2])]
    metadata = session.get_modelmeta().custom_metadata_map
    assert ModelCard.from_json(metadata.pop(CARD_KEY)) == ball.card
    assert metadata == {"model_name": "InpaintNet", "seq_len": "16", "batch_mode": "dynamic", "batch_size": "1"}


@pytest.mark.usefixtures("small_pictures")
def test_the_name_given_in_training_goes_with_the_file(tmp_path: Path) -> None:
    ball = tracknet()
    named = replace(ball, card=replace(ball.card, extra={**ball.card.extra, "model_name": "TrackNet-club"}))
    export_ball(named, tmp_path / "m.onnx", plan=BallExportPlan())
    assert read_onnx(tmp_path / "m.onnx").metadata["model_name"] == "TrackNet-club"


@pytest.mark.usefixtures("small_pictures")
def test_it_is_one_file_with_the_norms_folded_in(tmp_path: Path) -> None:
    export_ball(tracknet(), tmp_path / "m.onnx", plan=BallExportPlan())
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    counts = read_onnx(tmp_path / "m.onnx").op_counts
    assert (counts["Conv"], counts["Resize"], counts.get("BatchNormalization", 0)) == (18, 3, 0)


@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("upsample", ["none", "phases", "transposed"])
def test_a_tracknet_with_an_open_batch_answers_as_pytorch_does(tmp_path: Path, upsample: Form, rows: int) -> None:
    ball = tracknet()
    feeds = planes(ball, rows)
    export_ball(ball, tmp_path / "m.onnx", plan=BallExportPlan(batch=None, upsample=upsample))
    expected = torch_says(ball.net, feeds)
    np.testing.assert_allclose(session_of(tmp_path / "m.onnx").run(None, feeds)[0], expected, atol=1e-5)
    compiled = openvino.Core().compile_model(
        str(tmp_path / "m.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    )
    np.testing.assert_allclose(compiled(feeds)[0], expected, atol=1e-5)


@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize("upsample", ["phases", "transposed"])
def test_all_three_doublings_of_tracknet_are_rewritten(tmp_path: Path, upsample: Form) -> None:
    export_ball(tracknet(), tmp_path / "m.onnx", plan=BallExportPlan(upsample=upsample))
    model = onnx.load(str(tmp_path / "m.onnx"))
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Resize") == 0 and sites(model) == ()
    assert kinds.count({"phases": "DepthToSpace", "transposed": "ConvTranspose"}[upsample]) == 3


@pytest.mark.usefixtures("small_pictures")
def test_a_fixed_batch_is_written_and_answers_as_pytorch_does(tmp_path: Path) -> None:
    ball = tracknet()
    feeds = planes(ball, 4)
    export_ball(ball, tmp_path / "m.onnx", plan=BallExportPlan(batch=4))
    file = read_onnx(tmp_path / "m.onnx")
    assert file.inputs[0].shape == (4, 9, HEIGHT, WIDTH)
    assert (file.metadata["batch_mode"], file.metadata["batch_size"]) == ("fixed", "4")
    got = session_of(tmp_path / "m.onnx").run(None, feeds)[0]
    np.testing.assert_allclose(got, torch_says(ball.net, feeds), atol=1e-5)


@pytest.mark.parametrize("rows", [1, 5])
def test_an_inpaintnet_answers_as_pytorch_does(tmp_path: Path, rows: int) -> None:
    ball = inpaintnet()
    feeds = example_feeds(ball.net, ball.card, count=rows)
    export_ball(ball, tmp_path / "m.onnx", plan=ANY)
    got = session_of(tmp_path / "m.onnx").run(None, feeds)[0]
    np.testing.assert_allclose(got, torch_says(ball.net, feeds), atol=1e-6)


def test_at_its_real_size_the_file_is_opened_like_any_model(tmp_path: Path) -> None:
    ball = tracknet(1, "")
    assert export_ball(ball, tmp_path / "m.onnx", plan=BallExportPlan()).passed
    with open_session(tmp_path / "m.onnx", threads=1) as session:
        assert session.inputs[0].shape == (1, 3, 288, 512)
        assert session.card == ball.card


@pytest.mark.usefixtures("small_pictures")
def test_the_same_export_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.onnx", "two.onnx"):
        export_ball(tracknet(), tmp_path / name, plan=BallExportPlan(upsample="phases"))
    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize("opset", [9, 11, 20])
def test_other_opsets_are_written_too(tmp_path: Path, opset: int) -> None:
    export_ball(tracknet(), tmp_path / "m.onnx", plan=BallExportPlan(opset))
    assert read_onnx(tmp_path / "m.onnx").opset == opset


@pytest.mark.usefixtures("small_pictures")
def test_the_network_is_still_what_it_was(tmp_path: Path) -> None:
    ball = tracknet()
    before = {name: tensor.clone() for name, tensor in ball.net.state_dict().items()}
    export_ball(ball, tmp_path / "m.onnx", plan=BallExportPlan())
    assert all(torch.equal(before[name], tensor) for name, tensor in ball.net.state_dict().items())


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_pictures")
@pytest.mark.parametrize("layer", range(18))
def test_one_weight_a_tenth_off_in_any_layer_is_found_out_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: int
) -> None:
    def spoilt(model: onnx.ModelProto) -> onnx.ModelProto:
        banks = [tensor for tensor in model.graph.initializer if len(tensor.dims) == 4]
        values = numpy_helper.to_array(banks[layer]).copy()
        values.flat[np.abs(values).argmax()] *= 1.1
        banks[layer].CopyFrom(numpy_helper.from_array(values, banks[layer].name))
        return model

    whole = _traced_once()
    monkeypatch.setattr(ball_export, "_traced", lambda *_: whole)
    monkeypatch.setattr(ball_export, "_simplified", spoilt)
    (tmp_path / "m.onnx").write_bytes(b"the old model")
    with pytest.raises(ExportError, match=r"m\.onnx was not written: the file disagrees with PyTorch on 3 random"):
        export_ball(tracknet(), tmp_path / "m.onnx", plan=BallExportPlan())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("m.onnx", b"the old model")]


def _traced_once() -> onnx.ModelProto:
    ball = tracknet()
    return ball_export._simplified(ball_export._traced(ball.net, ball.card, BallExportPlan()))


@pytest.mark.usefixtures("small_pictures")
def test_a_network_that_sees_no_ball_anywhere_is_still_verified(tmp_path: Path) -> None:
    """Trained ones answer 0 nearly everywhere; two files that are both 0 must not pass for equal."""
    ball, other = tracknet(), tracknet(seed=2)
    for each in (ball, other):
        each.net.predictor.bias.data.fill_(-25.0)
    export_ball(ball, tmp_path / "m.onnx", plan=ANY)
    feeds = planes(ball, 1)
    assert float(np.abs(torch_says(ball.net, feeds) - torch_says(other.net, feeds)).max()) < 1e-4
    assert verify_ball(tmp_path / "m.onnx", ball).passed
    assert not verify_ball(tmp_path / "m.onnx", other).passed


@pytest.mark.usefixtures("small_pictures")
def test_an_answer_that_is_no_number_does_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ball = tracknet()
    nowhere = np.full((1, 2, HEIGHT, WIDTH), np.nan, np.float32)
    monkeypatch.setattr(ball_export, "_run", lambda _, feeds, **__: nowhere.repeat(len(feeds["input"]), axis=0))
    with pytest.raises(ExportError, match="disagrees with PyTorch"):
        export_ball(ball, tmp_path / "m.onnx", plan=BallExportPlan())


@pytest.mark.parametrize("opset", [8, 21])
def test_an_opset_the_exporter_cannot_write_is_refused_at_once(opset: int) -> None:
    with pytest.raises(ConfigError, match=rf"^cannot write ONNX opset {opset}; expected 9 to 20$"):
        BallExportPlan(opset)


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^batch is 0; expected 1 or more, or none for any$"):
        BallExportPlan(batch=0)


def test_a_network_without_upsampling_has_none_to_rewrite(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^InpaintNet at opset 18 has no upsampling to rewrite; leave --rewrite-up"):
        export_ball(inpaintnet(), tmp_path / "m.onnx", plan=BallExportPlan(upsample="phases"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_pictures")
def test_an_opset_from_before_exact_doubling_has_none_to_rewrite_either(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"^TrackNet at opset 9 has no upsampling to rewrite; expected opset 11 or la"
    ):
        export_ball(tracknet(), tmp_path / "m.onnx", plan=BallExportPlan(9, upsample="phases"))


# --- where it is written --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("plan", "name"), [(BallExportPlan(batch=4), "TrackNet-4"), (ANY, "TrackNet-dynamic")])
def test_into_a_folder_goes_the_layout_of_the_predecessor(tmp_path: Path, plan: BallExportPlan, name: str) -> None:
    assert target_file(tmp_path, tracknet().card, plan) == tmp_path / "TrackNet" / f"{name}.onnx"
    assert (tmp_path / "TrackNet").is_dir()
    assert target_file(tmp_path, inpaintnet().card, plan).parent == tmp_path / "InpaintNet"


def test_a_file_name_is_taken_as_it_is(tmp_path: Path) -> None:
    assert target_file(tmp_path / "m.onnx", tracknet().card, ANY) == tmp_path / "m.onnx"


@pytest.mark.parametrize("name", ["../out", "a/b", "..", "", "a\\b", "a\0b", "n\n"])
def test_a_name_given_in_training_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    card = replace(tracknet().card, extra={**tracknet().card.extra, "model_name": name})
    with pytest.raises(ConfigError, match="cannot be part of a file name; name a file in "):
        target_file(tmp_path, card, ANY)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "TrackNet").touch()
    with pytest.raises(OutputError, match=r"^cannot write .*TrackNet: File exists$"):
        target_file(tmp_path, tracknet().card, ANY)


# --- the command ----------------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Export = Callable[..., Outcome]


@pytest.fixture
def export(capsys: pytest.CaptureFixture[str], small_pictures: None) -> Iterator[Export]:
    level = logging.getLogger("sightline").level

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        return Outcome(main(["export", *map(str, arguments)]), *capsys.readouterr())

    yield run
    logging.getLogger("sightline").setLevel(level)


@dataclass(frozen=True)
class Files:
    published: Path
    own: Path
    inpaint: Path
    person: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("weights")
    names = ("published.pt", "own.pth", "inpaint.pt", "person.pth")
    paths = Files(*(folder / name for name in names))
    ball = tracknet()
    facts = {"seq_len": 2, "bg_mode": "concat", "model_name": "TrackNet"}
    torch.save({"epoch": 3, "model": ball.net.state_dict(), "param_dict": facts}, paths.published)
    save_checkpoint(paths.own, ball.net, card=ball.card)
    torch.save({"model": inpaintnet().net.state_dict(), "param_dict": {"seq_len": 16}}, paths.inpaint)
    save_checkpoint(paths.person, build_osnet("osnet_x0_25", seed=1))
    return paths


def test_the_flags_of_the_predecessor_write_what_its_tool_wrote(export: Export, files: Files, tmp_path: Path) -> None:
    outcome = export("--checkpoint", files.published, "--output", tmp_path, "--bs", "2", "--opset", "17")
    target = tmp_path / "TrackNet" / "TrackNet-2.onnx"
    assert outcome.code == 0, outcome.err
    first, second = outcome.out.splitlines()
    facts = "seq_len '2', bg_mode 'concat', width 'x0_25', model_name 'TrackNet'"
    assert first == f"{target}: tracknet ({facts}), {target.stat().st_size / 1e6:.2f} MB, opset 17, one file"
    assert second.startswith("verified against PyTorch on 3 random and structured inputs, one by one and as a batch: ")
    file = read_onnx(target)
    assert (file.opset, file.inputs[0].shape) == (17, (2, 9, HEIGHT, WIDTH))


def test_a_dynamic_batch_is_named_so(export: Export, files: Files, tmp_path: Path) -> None:
    assert export("--checkpoint", files.inpaint, "--output", tmp_path, "--batch-size", "2", "--dynamic-batch").code == 0
    target = tmp_path / "InpaintNet" / "InpaintNet-dynamic.onnx"
    assert [spec.shape for spec in read_onnx(target).inputs] == [(None, 16, 2), (None, 16, 1)]


def test_a_bare_file_name_is_written_where_one_stands(
    export: Export, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert export("-w", files.own, "-o", "ball.onnx", "--rewrite-upsample", "phases", "--licence", "CC0-1.0").code == 0
    file = read_onnx(tmp_path / "ball.onnx")
    assert file.op_counts["DepthToSpace"] == 3
    assert ModelCard.from_json(file.metadata[CARD_KEY]) == replace(tracknet().card, licence="CC0-1.0")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--fold", "uint8"), "--fold says nothing about a ball network; leave it out"),
        (("--img-height", "288"), "--img-height says nothing about a ball network; leave it out"),
        (("--preset", "ascend"), "--preset says nothing about a ball network; leave it out"),
        (("--partial",), "--partial says nothing about a ball network; leave it out"),
        (("--opset", "21"), "cannot write ONNX opset 21; expected 9 to 20"),
    ],
)
def test_what_cannot_be_had_of_a_ball_network_is_one_line(
    export: Export, files: Files, tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    outcome = export("-w", files.own, "-o", tmp_path / "m.onnx", *flags)
    assert outcome == (1, "", f"sightline: error: {told}\n")
    assert list(tmp_path.iterdir()) == []


def test_random_ball_networks_are_not_exported(export: Export, tmp_path: Path) -> None:
    outcome = export("--untrained", "--task", "ball", "-o", tmp_path / "m.onnx")
    assert outcome == (1, "", "sightline: error: --untrained says nothing about a ball network; leave it out\n")


def test_a_missing_checkpoint_is_told_as_the_predecessor_does(export: Export, tmp_path: Path) -> None:
    outcome = export("--task", "ball", "--checkpoint", tmp_path / "no.pt", "-o", tmp_path / "m.onnx")
    assert outcome == (1, "", f"sightline: error: Checkpoint {tmp_path / 'no.pt'} not found.\n")


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--task", "ball"), "'param_dict' not found in checkpoint. Cannot extract required metadata."),
        (("--rewrite-upsample", "phases"), "--rewrite-upsample says nothing about an OSNet; leave it out"),
    ],
)
def test_a_person_network_is_not_taken_for_a_ball_network(
    export: Export, files: Files, tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    outcome = export("-w", files.person, "-o", tmp_path / "m.onnx", *flags)
    assert outcome == (1, "", f"sightline: error: {told}\n")


def test_a_folder_that_is_not_there_is_named(export: Export, files: Files, tmp_path: Path) -> None:
    outcome = export("-w", files.own, "-o", tmp_path / "none" / "m.onnx")
    told = f"cannot write {tmp_path / 'none' / 'm.onnx'}: the folder does not exist; create it first"
    assert outcome == (1, "", f"sightline: error: {told}\n")
