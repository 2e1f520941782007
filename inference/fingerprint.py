"""The sha256 of a model's weights, remembered beside them so that a start does not read them all.

No torch here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

_SIDECAR = ".fingerprint.json"
_CHUNK_BYTES = 1 << 20


def fingerprint(directory: Path) -> str:
    """Hex sha256 over the content of the *.safetensors files, in the order of their names.

    Of one file it is that file's own sha256. Computed again when a size or a modification time
    has changed. Raises FileNotFoundError when there are no weights.
    """
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{directory} has no .safetensors file")
    key = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    sidecar = directory / _SIDECAR
    try:
        remembered = json.loads(sidecar.read_text())
        if remembered["files"] == key:
            return str(remembered["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never written, or damaged: it is only a memory
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK_BYTES):
                digest.update(chunk)
    with contextlib.suppress(OSError):  # a folder that we may only read is no fault
        sidecar.write_text(json.dumps({"files": key, "sha256": digest.hexdigest()}))
    return digest.hexdigest()
