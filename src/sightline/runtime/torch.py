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

    from sightline.nets.osnet import OSNet

INPUT, OUTPUT = "input", "features"
CPU_CHUNK = 8
ACCELERATOR_CHUNK = 64


def missing() -> str:
    return missing_package("torch", "'sightline[export]'")


def open_model(path: Path, request: Request) -> tuple[Engine, ModelCard]:
    from sightline.nets.checkpoint import load_into, read_checkpoint
    from sightline.nets.reid import rebuild

    checkpoint = read_checkpoint(path, allow_pickle=request.allow_pickle)
    try:
        net = rebuild(checkpoint.state, {} if checkpoint.card is None else checkpoint.card.extra)
    except CheckpointError as exc:
        raise CheckpointError(f"{path}: {exc}") from exc
    load_into(net, checkpoint)
    card = checkpoint.card or vector_card(net)
    return TorchEngine(net, request), with_claims(card, request.claims, origin=str(path))


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


class TorchEngine:
    """An OSNet module in evaluation mode."""

    inputs = (TensorSpec(INPUT, (None, 3, None, None), "float32"),)
    lanes = 1  # torch spreads one call over all threads by itself

    def __init__(self, net: OSNet, request: Request) -> None:
        import torch

        self._target, self.fell_back = _choose(request)
        if request.threads is not None:
            torch.set_num_threads(request.threads)
        self.precision = require_precision(request, ("float32",), "export it, then use openvino or quantise it")
        self._net = net.eval().to(self._target)
        self.outputs = (TensorSpec(OUTPUT, (None, net.feature_dim), "float32"),)
        self.device = str(self._target)
        self.chunk = CPU_CHUNK if self._target.type == "cpu" else ACCELERATOR_CHUNK

    def run(self, feeds: Feeds) -> dict[str, Array]:
        import torch

        images = np.require(feeds[INPUT], requirements="W")  # torch has no tensors that are only read
        try:
            with torch.inference_mode():
                vectors = self._net(torch.from_numpy(images).to(self._target))
        except RuntimeError as exc:
            raise BackendError(f"torch failed to run {self._net.spec.name} on {list(images.shape)}: {exc}") from exc
        return {OUTPUT: np.asarray(vectors.cpu().numpy())}

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
