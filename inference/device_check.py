"""After an error on a GPU: is the device still there for this process?"""

from __future__ import annotations

import torch

from inference.errors import DeviceLost


def raise_if_lost(device: torch.device, error: Exception) -> None:
    """Raises DeviceLost, from `error`, if the device refuses all further work.

    Some errors leave a CUDA context whole (memory that is not there), others end it (a kernel
    that traps), and their types do not say which: so the device is asked. It answers when all
    that was launched before has ended.
    """
    if device.type != "cuda":
        return
    try:
        torch.cuda.synchronize(device)
    except Exception as refusal:
        said = (str(refusal) or str(error)).partition("\n")[0]
        raise DeviceLost(f"the GPU is lost to its process ({said})") from error
