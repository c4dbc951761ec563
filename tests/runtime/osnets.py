"""OSNets whose weights nobody trained but in which every part matters, as checkpoints and as ONNX files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from tiny_models import Model, images
from torch import nn

from sightline.nets.checkpoint import save_checkpoint
from sightline.nets.osnet import OSNet, build_osnet
from sightline.types import Array, TensorSpec

SMALL_HW = (64, 32)


class Osnets:
    """Networks by arch and their files, each made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._nets: dict[str, OSNet] = {}

    def net(self, arch: str) -> OSNet:
        if arch not in self._nets:
            self._nets[arch] = stirred(build_osnet(arch, seed=0)).eval()
        return self._nets[arch]

    def checkpoint(self, arch: str) -> Path:
        path = self._folder / f"{arch}.pth"
        if not path.exists():
            save_checkpoint(path, self.net(arch))
        return path

    def onnx(self, arch: str, *, size_hw: tuple[int, int] = (256, 128)) -> Path:
        path = self._folder / f"{arch}_{size_hw[0]}x{size_hw[1]}.onnx"
        return path if path.exists() else export_onnx(self.net(arch), path, size_hw=size_hw)

    def untrained_onnx(self, arch: str, *, seed: int) -> Path:
        path = self._folder / f"untrained_{arch}_{seed}.onnx"
        return path if path.exists() else export_onnx(build_osnet(arch, seed=seed).eval(), path, size_hw=SMALL_HW)


def stirred(net: OSNet, *, seed: int = 1) -> OSNet:
    """Norms that do something: a fresh batch norm is the identity, and would hide one that is folded wrongly."""
    random = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0.0, 0.1, generator=random)
            module.running_var.uniform_(0.5, 2.0, generator=random)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.InstanceNorm2d):
            module.weight.data.uniform_(0.5, 1.5, generator=random)
            module.bias.data.normal_(0.0, 0.2, generator=random)
    return net


def export_onnx(net: OSNet, path: Path, *, size_hw: tuple[int, int], batch: int | None = None) -> Path:
    """The network as PyTorch itself exports it, with an open batch unless one is given."""
    axes = None if batch else {"input": {0: "batch"}, "features": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this exporter is the older of two, and talks about it
        torch.onnx.export(
            net,
            (torch.zeros(batch or 1, 3, *size_hw),),
            str(path),
            input_names=["input"],
            output_names=["features"],
            dynamic_axes=axes,
            dynamo=False,
        )
    return path


def checkpoint_model(path: Path, reference: Path) -> Model:
    """A model that PyTorch runs, and whose answer is ONNX Runtime's on the same weights exported."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # its threads would spin in the way of PyTorch's
    peer = onnxruntime.InferenceSession(str(reference), options, providers=["CPUExecutionProvider"])

    def answer(feeds: Mapping[str, Array]) -> dict[str, Array]:
        rows = [peer.run(["features"], {"input": row[None]})[0] for row in feeds["input"]]
        return {"features": np.concatenate([np.empty((0, 512), np.float32), *rows])}

    return Model(
        path,
        (TensorSpec("input", (None, 3, None, None), "float32"),),
        (TensorSpec("features", (None, 512), "float32"),),
        lambda rows: {"input": images(rows, SMALL_HW)},
        answer,
    )
