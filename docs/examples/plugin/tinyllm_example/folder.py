"""A source of models: a folder of this machine or of a disk in the network."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.http_client import SourceError

FILES = ("config.json", "tokenizer.json", "model.safetensors")


@dataclass(frozen=True)
class Folder:
    """In the catalogue: type = "folder", path = "/mnt/models/fox"."""

    path: str

    def __str__(self) -> str:
        return f"folder {self.path}"

    def fill(self, *, parts: Path, build: Path, progress: Any) -> None:
        for name in FILES:
            try:
                shutil.copy(Path(self.path) / name, build / name)
            except OSError as error:
                raise SourceError(f"{name}: {error}") from error
