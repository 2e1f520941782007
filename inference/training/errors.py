"""What can go wrong in training, in words for the person who started it. No torch here."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class TrainingError(Exception):
    """Training cannot begin or go on. The message names what is wrong and what is kept."""


class CheckpointDamaged(TrainingError):
    """A checkpoint's bytes are not those that were written."""


class LossNotFinite(TrainingError):
    """The loss, or its gradient, became NaN or infinite, at the named step."""


@contextmanager
def writing(path: Path, kept: str = "") -> Iterator[None]:
    """Turns what the disk refuses into a TrainingError that names the path, the free space and,
    in the caller's words, what is kept."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise TrainingError(f"{path} cannot be written: {error}. {kept}".rstrip()) from error
        free = shutil.disk_usage(path.parent).free // 1_000_000
        raise TrainingError(
            f"The disk is full: {path} cannot be written, {free:,} MB are free. {kept}".rstrip()
        ) from error
