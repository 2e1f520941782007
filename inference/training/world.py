"""The processes of one run: one, or one for each GPU, started by torchrun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True, slots=True)
class World:
    """rank: of this process, of `size`. The first one writes."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def shared(self, model: nn.Module) -> nn.Module:
        """The model, with gradients averaged over the processes."""
        if self.size == 1:
            return model
        return DistributedDataParallel(model)

    def apart(self, model: nn.Module) -> AbstractContextManager[None]:
        """Gradients of passes in here are not joined yet."""
        assert isinstance(model, DistributedDataParallel)
        return model.no_sync()

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process: all of them call it and get the same answer."""
        if self.size == 1:
            return flag
        value = torch.tensor([float(flag)], device=self.device)
        distributed.all_reduce(value, distributed.ReduceOp.MAX)
        return bool(value.item())

    def total(self, value: torch.Tensor) -> torch.Tensor:
        """The sum over the processes."""
        if self.size > 1:
            distributed.all_reduce(value)
        return value

    def least(self, value: torch.Tensor) -> int:
        """The smallest of the processes' integers."""
        if self.size > 1:
            distributed.all_reduce(value, distributed.ReduceOp.MIN)
        return int(value.item())

    def wait(self) -> None:
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Iterator[World]:
    """device: "auto" takes a GPU where there is one."""
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if not distributed.is_torchelastic_launched():
        yield World(0, 1, torch.device(kind))
        return
    place = torch.device(kind)
    if kind == "cuda":
        place = torch.device("cuda", distributed.get_node_local_rank())
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if kind == "cuda" else "gloo")
    try:
        yield World(distributed.get_rank(), distributed.get_world_size(), place)
    finally:
        distributed.destroy_process_group()
