"""What products are computed in, and whether torch compiles the model."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import nn

_WORDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """fp32, or mixed: weights and sums in fp32, products in 16 bits. Gradients that fp16 would
    lose are scaled up before."""

    def __init__(self, name: str, device: torch.device) -> None:
        """name: fp32, bf16, fp16, or auto for bf16 on a GPU and fp32 on a CPU."""
        if name == "auto":
            name = "bf16" if device.type == "cuda" else "fp32"
        self.name, self._device = name, device.type
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def autocast(self) -> AbstractContextManager[object]:
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self._device, dtype=_WORDS[self.name])


def compiled(model: nn.Module, mode: str, device: torch.device) -> nn.Module:
    """mode: of torch.compile; off, or auto for "default" on a GPU and off on a CPU, where a
    compiler may be missing."""
    if mode == "auto":
        mode = "default" if device.type == "cuda" else "off"
    if mode == "off":
        return model
    return cast(nn.Module, torch.compile(model, mode=mode, dynamic=False))
