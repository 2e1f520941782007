"""The state of a run on disk: written whole or not at all, checked when it is read, the last two
kept. A file is one line with the sha256 of the rest, and the rest is torch's own format."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from inference.training.errors import CheckpointDamaged, writing

KEPT = 2
_NAME = re.compile(r"step-(\d{8})\.ckpt")
_DIGEST = 64

State = dict[str, Any]


class Checkpoints:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, step: int, state: State) -> Path:
        """Raises TrainingError that says which checkpoint is the last good one."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        payload = buffer.getbuffer()
        digest = hashlib.sha256(payload).hexdigest().encode()
        path, partial = self._path(step), self._directory / "writing.partial"
        with writing(partial, self._kept()):
            self._directory.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                file.write(digest + b"\n")
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        for old in self._steps()[:-KEPT]:
            self._path(old).unlink(missing_ok=True)
        return path

    def latest(self, say: Callable[[str], None]) -> State | None:
        """The newest state that is whole, None where there is no checkpoint yet. Damaged ones are
        named and passed over. Raises CheckpointDamaged where all are."""
        damaged = []
        for step in reversed(self._steps()):
            try:
                state = read_checkpoint(self._path(step))
            except CheckpointDamaged as error:
                damaged.append(str(error))
                say(f"{error} The one before it is used.")
                continue
            return state
        if damaged:
            raise CheckpointDamaged(
                f"No checkpoint in {self._directory} is whole: {' '.join(damaged)} "
                "Remove the folder to begin anew."
            )
        return None

    def last_step(self) -> int | None:
        steps = self._steps()
        return steps[-1] if steps else None

    def _steps(self) -> list[int]:
        names = [path.name for path in self._directory.glob("step-*.ckpt")]
        return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))

    def _path(self, step: int) -> Path:
        return self._directory / f"step-{step:08}.ckpt"

    def _kept(self) -> str:
        step = self.last_step()
        return "No checkpoint was written yet." if step is None else f"Step {step} is kept."


def read_checkpoint(path: Path) -> State:
    """Raises CheckpointDamaged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointDamaged(f"{path} cannot be read: {error}.") from error
    payload = memoryview(data)[_DIGEST + 1 :]
    if hashlib.sha256(payload).hexdigest().encode() != data[:_DIGEST]:
        raise CheckpointDamaged(f"{path} is damaged: its checksum is another one.")
    state: State = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return state
