"""The ball networks by name and from files: ours with a card, and the published ones with `model` and `param_dict`.

What the weights alone do not tell (how the background goes in, the length InpaintNet was trained on) is in the card's
`extra`, or in `param_dict`; both are held against the tensors before a network is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from sightline.card import CARD_KEY, ModelCard, WeightsState
from sightline.errors import CardError, CheckpointError, ConfigError, ModelNotFoundError, UnknownArchError
from sightline.files import require_model_file
from sightline.nets.checkpoint import Checkpoint, State, load_into, read_checkpoint, read_saved, weights_fingerprint
from sightline.nets.inpaintnet import InpaintNet, build_inpaintnet
from sightline.nets.tracknet import WIDTHS, TrackNet, build_tracknet, planes_of

TASK = "ball"
TRACKNET, INPAINTNET = "tracknet", "inpaintnet"
MODEL_NAMES = {TRACKNET: "TrackNet", INPAINTNET: "InpaintNet"}  # as `param_dict` and the metadata of ONNX files have it

LONGEST = 4096  # frames; more is no sequence anybody trained on, but a file that wants our memory

_STEM, _HEAD = "down_block_1.conv_1.conv.weight", "predictor.weight"
_TELLING = {TRACKNET: _STEM, INPAINTNET: "buttleneck.conv_1.conv.weight"}

BallNet = TrackNet | InpaintNet


class CheckpointNotFoundError(ModelNotFoundError, FileNotFoundError):
    """No checkpoint at the path. A `FileNotFoundError`, as the predecessor's export tools promise."""


@dataclass(frozen=True, eq=False)
class LoadedBall:
    """A network with its weights, in evaluation mode on the CPU, and the card that says how to feed it."""

    net: BallNet
    card: ModelCard


def get_model(name: str, seq_len: int | None = None, bg_mode: str | None = None, device: str = "cpu") -> nn.Module:
    """A fresh network by the name the predecessors give it, "TrackNet" or "InpaintNet"."""
    if name == MODEL_NAMES[INPAINTNET]:
        return build_inpaintnet().to(device)
    if name != MODEL_NAMES[TRACKNET]:
        raise UnknownArchError("Invalid model name.")
    if seq_len is None:
        raise ConfigError("TrackNet needs seq_len, the number of frames it looks at; e.g. 8")
    return build_tracknet(seq_len, bg_mode).to(device)


def tracknet_card(net: TrackNet, bg_mode: str | None, *, weights: WeightsState = "unknown") -> ModelCard:
    """The card of a TrackNet. Raises `ConfigError` when it was not built for that use of the background."""
    if planes_of(net.out_dim, bg_mode) != net.in_dim:
        raise ConfigError(f"bg_mode {bg_mode!r} makes {planes_of(net.out_dim, bg_mode)} planes; expected {net.in_dim}")
    return _card(net, TRACKNET, weights, seq_len=str(net.out_dim), bg_mode=bg_mode or "", width=net.width)


def inpaintnet_card(net: InpaintNet, seq_len: int, *, weights: WeightsState = "unknown") -> ModelCard:
    """The card of an InpaintNet; `seq_len` is the length it was trained on, which its weights do not show."""
    if seq_len < 1:
        raise ConfigError(f"seq_len is {seq_len}; expected 1 frame or more")
    return _card(net, INPAINTNET, weights, seq_len=str(seq_len))


def _card(net: nn.Module, arch: str, weights: WeightsState, **extra: str) -> ModelCard:
    fingerprint = weights_fingerprint(net.state_dict())
    return ModelCard(task=TASK, arch=arch, weights=weights, fingerprint=fingerprint, extra=extra)


def ball_arch_in(state: State) -> str | None:
    """Which of the two networks these weights are of, "tracknet" or "inpaintnet"; None when of neither."""
    return next((arch for arch, name in _TELLING.items() if name in state), None)


def load_ball(path: Path, *, allow_pickle: bool = False) -> LoadedBall:
    """The network in a checkpoint, filled in full.

    Raises `CheckpointNotFoundError`; `CheckpointError` for weights or facts that make none of the two networks; what
    `read_checkpoint` raises for files that are no checkpoints.
    """
    facts = _facts_beside(_contents(path, allow_pickle=allow_pickle))
    checkpoint = read_checkpoint(path, allow_pickle=allow_pickle)
    card = checkpoint.card
    if card is not None and card.task != TASK:
        raise CheckpointError(f"{path}: its card says task {card.task!r}; expected a checkpoint of a ball network")
    said = _Facts(path, facts if card is None else card.extra)
    net, described = _filled(checkpoint, said)
    described = replace(described, extra={**described.extra, **said.model_name})
    return LoadedBall(net.eval(), described if card is None else _confirmed(card, described, origin=path))


def _contents(path: Path, *, allow_pickle: bool) -> object:
    try:
        require_model_file(path)
    except ModelNotFoundError as exc:
        raise CheckpointNotFoundError(f"Checkpoint {path} not found.") from exc
    return read_saved(path, allow_pickle=allow_pickle)


def _facts_beside(saved: object) -> Mapping[str, object]:
    """`param_dict`, which the published envelope must have; nothing for a file with a card. Texts are a contract."""
    if not isinstance(saved, Mapping) or CARD_KEY in saved:
        return {}
    facts = saved.get("param_dict")
    if not isinstance(facts, Mapping):
        raise CheckpointError("'param_dict' not found in checkpoint. Cannot extract required metadata.")
    if "seq_len" not in facts:
        raise CheckpointError("'seq_len' not found in checkpoint's param_dict.")
    if "model" not in saved:
        raise CheckpointError("'model' state_dict not found in checkpoint.")
    return facts


@dataclass(frozen=True)
class _Facts:
    """What a file says of its network, as it says it: numbers in a `param_dict`, texts in a card."""

    origin: Path
    said: Mapping[str, object]

    @property
    def seq_len(self) -> int:
        value = self.said.get("seq_len")
        number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) <= 4 else value
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= LONGEST:
            raise CheckpointError(
                f"{self.origin}: its seq_len is {value!r:.40}; expected a whole number, 1 to {LONGEST}"
            )
        return number

    @property
    def bg_mode(self) -> str:
        if "bg_mode" not in self.said:
            raise CheckpointError("'bg_mode' not found in checkpoint's param_dict.")
        value = self.said["bg_mode"]
        if not (value is None or isinstance(value, str)):
            raise CheckpointError(f"{self.origin}: its bg_mode is {value!r:.40}; expected text")
        return value or ""

    @property
    def model_name(self) -> dict[str, str]:
        """The name training gave the network, for `ModelCard.extra`, where it gave one."""
        value = self.said.get("model_name")
        return {"model_name": value} if isinstance(value, str) and value else {}


def _filled(checkpoint: Checkpoint, facts: _Facts) -> tuple[BallNet, ModelCard]:
    arch = ball_arch_in(checkpoint.state)
    if arch == TRACKNET:
        return _filled_tracknet(checkpoint, facts)
    if arch == INPAINTNET:
        net = build_inpaintnet(seed=0)
        load_into(net, checkpoint)
        return net, inpaintnet_card(net, facts.seq_len)
    raise CheckpointError(f"{checkpoint.origin}: weights of neither TrackNet nor InpaintNet; expected one of the two")


def _filled_tracknet(checkpoint: Checkpoint, facts: _Facts) -> tuple[TrackNet, ModelCard]:
    seq_len, bg_mode = facts.seq_len, facts.bg_mode
    said = (seq_len, _planes(facts.origin, seq_len, bg_mode))
    base, in_dim = _dims(checkpoint, _STEM)
    out_dim, _ = _dims(checkpoint, _HEAD)
    if (out_dim, in_dim) != said:  # before a network of the size that a file claims is built
        raise CheckpointError(
            f"{checkpoint.origin}: says seq_len {seq_len} and bg_mode {bg_mode!r}, so {said[1]} planes to {said[0]} "
            f"heat maps; its weights take {in_dim} to {out_dim}. One of the two is of another network"
        )
    width = next((name for name, channels in WIDTHS.items() if channels == base), None)
    if width is None:
        known = ", ".join(map(str, WIDTHS.values()))
        raise CheckpointError(f"{checkpoint.origin}: {base} channels in its first stage; expected one of {known}")
    net = build_tracknet(seq_len, bg_mode, width=width, seed=0)
    load_into(net, checkpoint)
    return net, tracknet_card(net, bg_mode)


def _planes(origin: Path, seq_len: int, bg_mode: str) -> int:
    try:
        return planes_of(seq_len, bg_mode)
    except ConfigError as exc:
        raise CheckpointError(f"{origin}: {exc}") from exc


def _dims(checkpoint: Checkpoint, name: str) -> tuple[int, int]:
    """Channels out of and into a convolution."""
    tensor = checkpoint.state.get(name)
    if tensor is None or tensor.ndim != 4:
        raise CheckpointError(f"{checkpoint.origin}: its {name} is no convolution; expected weights of TrackNet")
    return tensor.shape[0], tensor.shape[1]


def _confirmed(card: ModelCard, described: ModelCard, *, origin: Path) -> ModelCard:
    """The file's own card, once it is known to be of these very weights."""
    for fact in ("arch", "fingerprint"):
        said, found = getattr(card, fact), getattr(described, fact)
        if said and said != found:
            raise CardError(f"{origin}: its card says {fact} {said}; the weights are {found}. One is of another model")
    wrong = {key: value for key, value in described.extra.items() if card.extra.get(key, value) != value}
    if wrong:
        raise CardError(f"{origin}: its card says {dict(card.extra)}; the weights say {wrong}. One is of another model")
    return replace(card, fingerprint=described.fingerprint, extra={**card.extra, **described.extra})
