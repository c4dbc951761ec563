from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sightline.card import CARD_KEY, ModelCard
from sightline.errors import (
    CardError,
    CheckpointError,
    ConfigError,
    ModelError,
    ModelFormatError,
    UnsafeCheckpointError,
)
from sightline.nets.ball_checkpoint import (
    BallNet,
    ball_arch_in,
    get_model,
    inpaintnet_card,
    load_ball,
    tracknet_card,
)
from sightline.nets.checkpoint import save_checkpoint, weights_fingerprint
from sightline.nets.inpaintnet import InpaintNet, build_inpaintnet
from sightline.nets.osnet import build_osnet
from sightline.nets.tracknet import TrackNet, build_tracknet

MODES = ("", "subtract", "subtract_concat", "concat")


@pytest.fixture(scope="module")
def tracknet() -> TrackNet:
    return build_tracknet(3, "concat", width="x0_25", seed=1)


@pytest.fixture(scope="module")
def inpaintnet() -> InpaintNet:
    return build_inpaintnet(seed=1)


def published(path: Path, net: BallNet, *, prefix: str = "", **facts: object) -> Path:
    """As the predecessor's training writes it: the weights among much else."""
    weights = {prefix + name: tensor for name, tensor in net.state_dict().items()}
    optimizer = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1e-3}]}
    envelope = {
        "epoch": 29,
        "max_val_acc": torch.tensor(0.97).numpy().mean(),  # a number of NumPy's, as a metric comes
        "model": weights,
        "optimizer": optimizer,
        "scheduler": None,
        "param_dict": {"epochs": 30, "alpha": 0.5, **facts},
    }
    torch.save(envelope, path)
    return path


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def assert_refused(path: Path, told: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_ball(path)
    assert str(caught.value) == told


# --- what is read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("bg_mode", MODES)
def test_a_published_envelope_gives_the_network_and_its_card(tmp_path: Path, bg_mode: str, prefix: str) -> None:
    net = build_tracknet(2, bg_mode, width="x0_25", seed=4)
    ball = load_ball(published(tmp_path / "best.pt", net, prefix=prefix, seq_len=2, bg_mode=bg_mode))
    assert same(dict(ball.net.state_dict()), dict(net.state_dict()))
    assert not ball.net.training
    assert ball.card == ModelCard(
        task="ball",
        arch="tracknet",
        fingerprint=weights_fingerprint(net.state_dict()),
        extra={"seq_len": "2", "bg_mode": bg_mode, "width": "x0_25"},
    )


def test_three_frames_with_four_planes_each_or_with_a_background_are_told_apart_by_the_file(tmp_path: Path) -> None:
    """Both are twelve planes, so the tensors alone cannot tell."""
    for bg_mode in ("concat", "subtract_concat"):
        net = build_tracknet(3, bg_mode, width="x0_25", seed=4)
        assert net.in_dim == 12
        path = published(tmp_path / "best.pt", net, seq_len=3, bg_mode=bg_mode)
        assert load_ball(path).card.extra["bg_mode"] == bg_mode


@pytest.mark.parametrize(("width", "channels"), [("x1_0", 64), ("x0_5", 32), ("x0_25", 16)])
def test_the_width_is_told_by_the_tensors_and_written_into_the_card(tmp_path: Path, width: str, channels: int) -> None:
    net = build_tracknet(1, "", width=width, seed=4)
    ball = load_ball(published(tmp_path / "best.pt", net, seq_len=1, bg_mode=None))
    assert isinstance(ball.net, TrackNet)
    assert ball.net.predictor.in_channels == channels
    assert ball.card.extra == {"seq_len": "1", "bg_mode": "", "width": width}


def test_a_published_inpaintnet_needs_no_background(tmp_path: Path, inpaintnet: InpaintNet) -> None:
    ball = load_ball(published(tmp_path / "best.pt", inpaintnet, seq_len=16, model_name="InpaintNet"))
    assert isinstance(ball.net, InpaintNet)
    assert (ball.card.arch, ball.card.extra) == ("inpaintnet", {"seq_len": "16", "model_name": "InpaintNet"})


def test_our_own_checkpoint_comes_back_with_all_its_card_says(tmp_path: Path, tracknet: TrackNet) -> None:
    made = tracknet_card(tracknet, "concat", weights="trained")
    card = replace(made, trained_on="painted rallies", licence="CC0-1.0", extra={**made.extra, "epochs": "30"})
    save_checkpoint(tmp_path / "own.pth", tracknet, card=card)
    ball = load_ball(tmp_path / "own.pth")
    assert ball.card == card
    assert same(dict(ball.net.state_dict()), dict(tracknet.state_dict()))


def test_our_own_inpaintnet_comes_back_too(tmp_path: Path, inpaintnet: InpaintNet) -> None:
    card = inpaintnet_card(inpaintnet, 16, weights="untrained")
    save_checkpoint(tmp_path / "own.pth", inpaintnet, card=card)
    assert load_ball(tmp_path / "own.pth").card == card


def test_which_network_weights_are_of_is_told_by_their_names(tracknet: TrackNet, inpaintnet: InpaintNet) -> None:
    assert ball_arch_in(tracknet.state_dict()) == "tracknet"
    assert ball_arch_in(inpaintnet.state_dict()) == "inpaintnet"
    assert ball_arch_in(build_osnet("osnet_x0_25").state_dict()) is None
    assert ball_arch_in({}) is None


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_missing_checkpoint_is_the_error_the_predecessor_promises(tmp_path: Path) -> None:
    path = tmp_path / "none.pt"
    with pytest.raises(FileNotFoundError) as caught:
        load_ball(path)
    assert str(caught.value) == f"Checkpoint {path} not found."
    assert isinstance(caught.value, ModelError)


@pytest.mark.parametrize(
    ("dropped", "told"),
    [
        ("param_dict", "'param_dict' not found in checkpoint. Cannot extract required metadata."),
        ("model", "'model' state_dict not found in checkpoint."),
    ],
)
def test_a_part_missing_from_the_envelope_is_named_as_the_predecessor_does(
    tmp_path: Path, tracknet: TrackNet, dropped: str, told: str
) -> None:
    path = published(tmp_path / "best.pt", tracknet, seq_len=3, bg_mode="concat")
    envelope = torch.load(path, weights_only=False)
    del envelope[dropped]
    torch.save(envelope, path)
    assert_refused(path, told)


@pytest.mark.parametrize(
    ("facts", "missing"), [({"bg_mode": "concat"}, "seq_len"), ({"seq_len": 3}, "bg_mode")], ids=["seq_len", "bg_mode"]
)
def test_a_fact_missing_from_param_dict_is_named_as_the_predecessor_does(
    tmp_path: Path, tracknet: TrackNet, facts: dict[str, object], missing: str
) -> None:
    path = published(tmp_path / "best.pt", tracknet, **facts)
    assert_refused(path, f"'{missing}' not found in checkpoint's param_dict.")


def test_bare_weights_lack_the_facts_too(tmp_path: Path, tracknet: TrackNet) -> None:
    torch.save(tracknet.state_dict(), tmp_path / "bare.pth")
    assert_refused(tmp_path / "bare.pth", "'param_dict' not found in checkpoint. Cannot extract required metadata.")


@pytest.mark.parametrize("seq_len", ["many", 0, -3, True, 3.0, None, 10**30, "9" * 5000, [3]])
def test_a_length_that_is_none_is_refused(tmp_path: Path, tracknet: TrackNet, seq_len: object) -> None:
    path = published(tmp_path / "best.pt", tracknet, seq_len=seq_len, bg_mode="concat")
    assert_refused(path, f"{path}: its seq_len is {seq_len!r:.40}; expected a whole number, 1 to 4096")


@pytest.mark.parametrize(
    ("bg_mode", "told"),
    [
        (7, "its bg_mode is 7; expected text"),
        ("median", "no bg_mode 'median'; expected one of '', 'subtract', 'subtract_concat', 'concat'"),
    ],
)
def test_a_background_mode_that_is_none_is_refused(
    tmp_path: Path, tracknet: TrackNet, bg_mode: object, told: str
) -> None:
    path = published(tmp_path / "best.pt", tracknet, seq_len=3, bg_mode=bg_mode)
    assert_refused(path, f"{path}: {told}")


@pytest.mark.parametrize(("seq_len", "planes"), [(8, 27), (2, 9), (4096, 12291)])
def test_facts_of_another_network_are_found_out_before_one_of_their_size_is_built(
    tmp_path: Path, tracknet: TrackNet, monkeypatch: pytest.MonkeyPatch, seq_len: int, planes: int
) -> None:
    monkeypatch.setattr("sightline.nets.ball_checkpoint.build_tracknet", lambda *_, **__: pytest.fail("built"))
    path = published(tmp_path / "best.pt", tracknet, seq_len=seq_len, bg_mode="concat")
    assert_refused(
        path,
        f"{path}: says seq_len {seq_len} and bg_mode 'concat', so {planes} planes to {seq_len} heat maps; "
        "its weights take 12 to 3. One of the two is of another network",
    )


def test_another_use_of_the_background_than_the_weights_is_found_out(tmp_path: Path, tracknet: TrackNet) -> None:
    path = published(tmp_path / "best.pt", tracknet, seq_len=3, bg_mode="")
    assert_refused(
        path,
        f"{path}: says seq_len 3 and bg_mode '', so 9 planes to 3 heat maps; "
        "its weights take 12 to 3. One of the two is of another network",
    )


def test_a_width_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    net = build_tracknet(1, "", width="x0_25")
    net.down_block_1[0][0] = torch.nn.Conv2d(3, 24, 3, bias=False)
    path = published(tmp_path / "best.pt", net, seq_len=1, bg_mode="")
    assert_refused(path, f"{path}: 24 channels in its first stage; expected one of 64, 32, 16")


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_weights_that_do_not_fill_the_network_exactly_are_refused(
    tmp_path: Path, tracknet: TrackNet, change: str
) -> None:
    path = published(tmp_path / "best.pt", tracknet, seq_len=3, bg_mode="concat")
    envelope = torch.load(path, weights_only=False)
    if change == "missing":
        del envelope["model"]["up_block_3.conv_2.bn.weight"]
    else:
        envelope["model"]["up_block_4.conv_1.bn.weight"] = torch.ones(16)
    torch.save(envelope, path)
    with pytest.raises(CheckpointError, match=rf"1 {change}; {change}: up_block_[34]\.conv_[12]\.bn\.weight;"):
        load_ball(path)


def test_a_head_that_is_no_convolution_is_refused(tmp_path: Path) -> None:
    torch.save(
        {"model": {"down_block_1.conv_1.conv.weight": torch.ones(3)}, "param_dict": {"seq_len": 1, "bg_mode": ""}},
        tmp_path / "best.pt",
    )
    with pytest.raises(CheckpointError, match=r"its down_block_1\.conv_1\.conv\.weight is no convolution"):
        load_ball(tmp_path / "best.pt")


def test_weights_of_a_person_network_are_refused(tmp_path: Path) -> None:
    net = build_osnet("osnet_x0_25", seed=1)
    torch.save({"model": net.state_dict(), "param_dict": {"seq_len": 8, "bg_mode": ""}}, tmp_path / "foreign.pt")
    save_checkpoint(tmp_path / "told.pth", net, card=ModelCard(task="reid", arch="osnet_x0_25"))
    with pytest.raises(CheckpointError, match=r"weights of neither TrackNet nor InpaintNet; expected one of the two$"):
        load_ball(tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match=r"its card says task 'reid'; expected a checkpoint of a ball network$"):
        load_ball(tmp_path / "told.pth")


@pytest.mark.parametrize(
    "change",
    [
        {"arch": "inpaintnet"},
        {"fingerprint": "ab" * 32},
        {"extra": {"seq_len": "3", "bg_mode": "concat", "width": "x1_0"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_card_that_contradicts_the_weights_is_refused(
    tmp_path: Path, tracknet: TrackNet, change: dict[str, object]
) -> None:
    card = replace(tracknet_card(tracknet, "concat"), **change)
    save_checkpoint(tmp_path / "own.pth", tracknet, card=card)
    with pytest.raises(CardError, match=r"own\.pth: its card says .* of another model$"):
        load_ball(tmp_path / "own.pth")


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("harm was done"),)


def test_no_code_of_a_checkpoint_runs_unless_the_caller_says_so(
    tmp_path: Path, tracknet: TrackNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = published(tmp_path / "best.pt", tracknet, seq_len=3, bg_mode="concat", args=Harmful())
    with pytest.raises(UnsafeCheckpointError, match="--unsafe-pickle only if you trust the file"):
        load_ball(path)
    assert not Path("harm was done").exists()
    assert load_ball(path, allow_pickle=True).card.extra["seq_len"] == "3"


@pytest.mark.parametrize("kept", [0, 1, 1000, -100])
def test_a_damaged_file_is_one_line(tmp_path: Path, tracknet: TrackNet, kept: int) -> None:
    path = published(tmp_path / "best.pt", tracknet, seq_len=3, bg_mode="concat")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelFormatError, match=r"best\.pt") as caught:
        load_ball(path)
    assert "\n" not in str(caught.value)


# --- cards and names -------------------------------------------------------------------------------------------------


def test_a_card_cannot_be_made_for_a_background_the_network_was_not_built_for(tracknet: TrackNet) -> None:
    with pytest.raises(ConfigError, match=r"^bg_mode 'subtract' makes 3 planes; expected 12$"):
        tracknet_card(tracknet, "subtract")


def test_a_card_cannot_be_made_for_no_frames(inpaintnet: InpaintNet) -> None:
    with pytest.raises(ConfigError, match=r"^seq_len is 0; expected 1 frame or more$"):
        inpaintnet_card(inpaintnet, 0)


def test_networks_are_had_by_the_names_of_the_predecessor() -> None:
    tracknet, inpaintnet = get_model("TrackNet", 8, "concat"), get_model("InpaintNet")
    assert sum(parameter.numel() for parameter in tracknet.parameters()) == 11_341_000
    assert sum(parameter.numel() for parameter in inpaintnet.parameters()) == 520_610


def test_a_name_that_is_none_is_refused_as_the_predecessor_does() -> None:
    with pytest.raises(ValueError, match=r"^Invalid model name\.$"):
        get_model("tracknet")


def test_a_tracknet_without_a_length_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^TrackNet needs seq_len"):
        get_model("TrackNet")


def test_a_card_survives_its_journey_as_text(tracknet: TrackNet, tmp_path: Path) -> None:
    card = tracknet_card(tracknet, "concat", weights="trained")
    save_checkpoint(tmp_path / "own.pth", tracknet, card=card)
    assert ModelCard.from_json(torch.load(tmp_path / "own.pth", weights_only=True)[CARD_KEY]) == card
