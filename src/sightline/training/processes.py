"""One process or many: what a run knows of the others that `torchrun` started beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar, cast

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from sightline.errors import BackendError

Shared = TypeVar("Shared")

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Processes:
    """This process among `world`; alone when torchrun did not start it."""

    rank: int
    world: int
    device: torch.device

    @classmethod
    @contextmanager
    def joined(cls, device: str) -> Iterator[Processes]:
        """Join the others for the length of the block. Raises `BackendError` for a device that is not there."""
        world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
        chosen = _device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
        if world > 1:
            distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
        try:
            yield cls(rank, world, chosen)
        finally:
            if world > 1:
                distributed.destroy_process_group()

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def wrapped(self, net: nn.Module, *, unused: bool) -> nn.Module:
        """The network whose gradients are averaged over the processes; `unused` where some parameters rest."""
        if self.world == 1:
            return net
        places = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(net, device_ids=places, find_unused_parameters=unused)

    def autocast(self, amp: str) -> torch.autocast:
        precision = PRECISIONS.get(amp, torch.bfloat16)
        return torch.autocast(self.device.type, dtype=precision, enabled=amp in PRECISIONS)

    def wait(self) -> None:
        """Until every process has come this far."""
        if self.world > 1:
            distributed.barrier()

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process; every process must ask at the same point."""
        if self.world == 1:
            return flag
        raised = torch.tensor([float(flag)], device=self.device)
        distributed.all_reduce(raised, op=distributed.ReduceOp.MAX)
        return bool(raised.item())

    def shared(self, value: Shared | None) -> Shared:
        """What the first process has, in every process."""
        holder = [value]
        if self.world > 1:
            distributed.broadcast_object_list(holder, src=0)
        return cast(Shared, holder[0])


def _device(name: str, *, local_rank: int) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in {"cpu", "cuda"}:
        raise BackendError(f"no device {name!r} to train on; expected auto, cpu, cuda or e.g. cuda:1")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise BackendError(f"device {name!r} was asked for, but torch sees no GPU; pass --device cpu to train without")
    return torch.device(f"cuda:{local_rank}" if name == "cuda" else name)
