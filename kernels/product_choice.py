"""How products are to be computed, and a table of what was measured to be fastest on CUDA."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

BACKENDS = ("auto", "ours")


@dataclass(frozen=True, slots=True)
class Products:
    """backend: "auto" takes what was measured to be fastest, our kernels or torch's (cuBLAS);
    "ours" never calls torch's. invariant: a row's result depends neither on how many rows there
    are nor on what is in them; ours only. fp16_sums: with fp16 weights, what is summed within a
    part of k is kept in fp16; ours only.
    """

    backend: str = "auto"
    invariant: bool = False
    fp16_sums: bool = False

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f"products: backend is {self.backend!r}, expected one of {BACKENDS}")

    def sums_in_fp16(self, dtype: torch.dtype) -> bool:
        return self.fp16_sums and dtype == torch.float16

    def may_differ_for_one_row(self, dtype: torch.dtype) -> bool:
        """Whether one row alone may be summed in another way than the same row among others."""
        return not self.invariant and not self.sums_in_fp16(dtype)

    def may_be_torchs(self, dtype: torch.dtype) -> bool:
        return self.backend == "auto" and self.may_differ_for_one_row(dtype)


class WayTable:
    """The fastest way for each kind of product that was measured. Kept from start to start,
    because a way that changed between two starts would change the last bits of results."""

    def __init__(self, ways: Mapping[str, str] | None = None) -> None:
        self._ways = dict(ways or {})

    @classmethod
    def load(cls, path: Path) -> WayTable:
        """Empty if the file is missing or damaged."""
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return cls()
        whole = isinstance(known, dict) and all(isinstance(way, str) for way in known.values())
        return cls(known if whole else None)

    def save(self, path: Path) -> None:
        """In one move: another process may be reading. What cannot be kept is measured again, and
        where nothing was measured there is nothing to keep."""
        if not self._ways:
            return
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_name(f"{path.name}.{os.getpid()}")
            new.write_text(json.dumps(self._ways, indent=1, sort_keys=True), encoding="utf-8")
            new.replace(path)

    def find(self, key: str) -> str | None:
        return self._ways.get(key)

    def choose(
        self,
        key: str,
        runs: Mapping[str, Callable[[], object]],
        seconds: Callable[[Callable[[], object]], float],
    ) -> None:
        """Take the fastest of runs for key, unless one of them was taken before."""
        if self._ways.get(key) not in runs:
            times = {way: seconds(run) for way, run in runs.items()}
            self._ways[key] = min(times, key=times.__getitem__)


class _Chosen(threading.local):
    def __init__(self) -> None:
        self.products, self.table = Products(), WayTable()


_chosen = _Chosen()


def products() -> Products:
    """What this thread set last."""
    return _chosen.products


def way_table() -> WayTable:
    """The one that this thread set last, empty at first."""
    return _chosen.table


def use_products(chosen: Products, table: WayTable | None = None) -> None:
    """For the calling thread, which is the one that computes, and before kernels are captured into
    a graph, which keeps what it was captured with. Without a table the present one stays."""
    _chosen.products, _chosen.table = chosen, table or _chosen.table
