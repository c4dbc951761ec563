"""PyTorch: checkpoints as they are, without an export. Slower than the others, and needs torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sightline.card import ImageInput, ModelCard, VectorOutput
from sightline.errors import BackendError, CheckpointError
from sightline.runtime.backend import Request, missing_package, require_precision, split_device
from sightline.runtime.cards import with_claims
from sightline.runtime.session import Engine, Feeds
from sightline.types import Array, TensorSpec

if TYPE_CHECKING:
    import torch
    from torch import nn

    from sightline.nets.osnet import OSNet

INPUT, OUTPUT = "input", "features"
BALL_OUTPUT = "output"
CPU_CHUNK = 8
ACCELERATOR_CHUNK = 64


def missing() -> str:
    return missing_package("torch", "'sightline[export]'")


def open_model(path: Path, request: Request) -> tuple[Engine, ModelCard]:
    from sightline.nets.ball_checkpoint import ball_arch_in
    from sightline.nets.checkpoint import load_into, read_checkpoint
    from sightline.nets.reid import rebuild

    checkpoint = read_checkpoint(path, allow_pickle=request.allow_pickle)
    if ball_arch_in(checkpoint.state):
        return _open_ball(path, request)
    try:
        net = rebuild(checkpoint.state, {} if checkpoint.card is None else checkpoint.card.extra)
    except CheckpointError as exc:
        raise CheckpointError(f"{path}: {exc}") from exc
    load_into(net, checkpoint)
    card = checkpoint.card or vector_card(net)
    return vector_engine(net, request), with_claims(card, request.claims, origin=str(path))


def _open_ball(path: Path, request: Request) -> tuple[Engine, ModelCard]:
    from sightline.nets.ball_checkpoint import load_ball
    from sightline.nets.tracknet import TrackNet

    loaded = load_ball(path, allow_pickle=request.allow_pickle)
    if isinstance(loaded.net, TrackNet):
        inputs: tuple[TensorSpec, ...] = (TensorSpec(INPUT, (None, loaded.net.in_dim, None, None), "float32"),)
        outputs = (TensorSpec(BALL_OUTPUT, (None, loaded.net.out_dim, None, None), "float32"),)
    else:
        frames = int(loaded.card.extra["seq_len"])
        inputs = tuple(TensorSpec(name, (None, frames, dims), "float32") for name, dims in (("coords", 2), ("mask", 1)))
        outputs = (TensorSpec(BALL_OUTPUT, (None, frames, 2), "float32"),)
    return TorchEngine(loaded.net, request, inputs=inputs, outputs=outputs), loaded.card


def vector_card(net: OSNet) -> ModelCard:
    """The card of a checkpoint without one: its network is known, what it was trained on is not."""
    from sightline.nets.checkpoint import weights_fingerprint

    image = ImageInput(INPUT, size_hw=None)
    return ModelCard(
        task="reid",
        arch=net.spec.name,
        image=image,
        output=VectorOutput(OUTPUT, net.feature_dim, normalised=False),
        fingerprint=weights_fingerprint(net.state_dict()),
    )


def vector_engine(net: OSNet, request: Request) -> TorchEngine:
    """An engine for a network from images to vectors."""
    inputs = (TensorSpec(INPUT, (None, 3, None, None), "float32"),)
    return TorchEngine(net, request, inputs=inputs, outputs=(TensorSpec(OUTPUT, (None, net.feature_dim), "float32"),))


class TorchEngine:
    """A module in evaluation mode, with one output; it is called with its inputs in their order."""

    lanes = 1  # torch spreads one call over all threads by itself

    def __init__(
        self, net: nn.Module, request: Request, *, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]
    ) -> None:
        import torch

        self._target, self.fell_back = _choose(request)
        if request.threads is not None:
            torch.set_num_threads(request.threads)
        self.precision = require_precision(request, ("float32",), "export it, then use openvino or quantise it")
        self._net = net.eval().to(self._target)
        self._name = str(getattr(getattr(net, "spec", None), "name", type(net).__name__))
        self.inputs, self.outputs = inputs, outputs
        self.device = str(self._target)
        self.chunk = CPU_CHUNK if self._target.type == "cpu" else ACCELERATOR_CHUNK

    def run(self, feeds: Feeds) -> dict[str, Array]:
        import torch

        # torch has no tensors that are only read
        arrays = [np.require(feeds[spec.name], requirements="W") for spec in self.inputs]
        try:
            with torch.inference_mode():
                answer = self._net(*(torch.from_numpy(array).to(self._target) for array in arrays))
        except RuntimeError as exc:
            shapes = " and ".join(str(list(array.shape)) for array in arrays)
            raise BackendError(f"torch failed to run {self._name} on {shapes}: {exc}") from exc
        return {self.outputs[0].name: np.asarray(answer.cpu().numpy())}

    def run_lane(self, feeds: Feeds) -> dict[str, Array]:
        return self.run(feeds)

    def close(self) -> None:
        """Nothing to give back before the module itself goes."""


def _choose(request: Request) -> tuple[torch.device, str]:
    import torch

    gpus = torch.cuda.device_count()
    kind, index = ("cuda" if gpus else "cpu", 0) if request.device == "auto" else split_device(request.device)
    if kind == "cpu":
        return torch.device("cpu"), ""
    if kind == "cuda" and index < gpus:
        return torch.device("cuda", index), ""
    return torch.device("cpu"), f"this torch sees {gpus} CUDA devices, and serves no others"
