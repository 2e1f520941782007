"""The models on this disk: which are whole, how the others come, where each one lies.

A model is `<models_dir>/<name>/`. It is built below `<models_dir>/.partial/` and renamed, so that
a directory in its place is a complete one. No torch at import.
"""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from inference.catalogue import Catalogue, CatalogueEntry, ProjectSource
from inference.downloads import Progress, Silent
from inference.errors import ModelNotFound, ModelNotGenerative, ModelUnavailable
from inference.fingerprint import fingerprint
from inference.http_client import HubSettings, SourceError
from inference.paths import is_file
from inference.prompt_codec import has_chat_template
from inference.safetensors_file import DamagedFileError, read_header
from inference.sentence_layout import is_sentence_model
from inference.sources import INDEX, WEIGHTS, fill, shards
from inference.types import ModelInfo, ModelKind, SamplingParams

State = Literal["ready", "missing", "invalid"]

_PARTIAL = ".partial"


class ModelStore:
    """The catalogue's models in one directory. A name that borrows another's files is as good."""

    def __init__(
        self, models_dir: Path, catalogue: Catalogue, hub: HubSettings | None = None
    ) -> None:
        self.models_dir = models_dir
        self.catalogue = catalogue
        self._hub = hub or HubSettings()

    def directory(self, name: str) -> Path:
        """Where a model's files are or will be: by catalogue name, by the name of a directory in
        `models_dir`, or, written with a slash, by path. Raises ModelNotFound."""
        if name in self.catalogue.entries:
            return self.models_dir / self.catalogue.entries[name].weights
        if "/" in name or not name.startswith("."):
            path = Path(name) if "/" in name else self.models_dir / name
            if name and is_file(path / "config.json"):
                return path
        raise ModelNotFound(name, list(self.catalogue.entries))

    def kind(self, name: str) -> ModelKind:
        """How a model is talked to; one that is not in the catalogue chats if it has a template.
        Raises ModelNotFound."""
        if name in self.catalogue.entries:
            return self.catalogue.entries[name].kind
        has_template = has_chat_template(self.directory(name))
        return ModelKind.CHAT if has_template else ModelKind.COMPLETION

    def state(self, name: str) -> tuple[State, str]:
        """Whether the files are there and whole, and if not, what to do. Reads headers only."""
        directory = self.directory(name)
        pull = f"`manage.py models pull {name}`"
        if not directory.is_dir():
            if any((self._partial(directory.name) / "parts").glob("*")):
                return "missing", f"Its download was interrupted; {pull} continues it."
            return "missing", f"Not downloaded yet: run {pull}."
        try:
            check_files(directory)
        except (DamagedFileError, OSError) as error:
            advice = f" Fetch it again: {pull}." if name in self.catalogue.entries else ""
            return "invalid", f"{error}.{advice}"
        return "ready", ""

    def ready_directory(self, name: str) -> Path:
        """Where the files of a whole model that writes are. Raises ModelNotFound, ModelUnavailable,
        ModelNotGenerative."""
        if is_sentence_model(self.directory(name)):
            raise ModelNotGenerative(name)
        state, detail = self.state(name)
        if state != "ready":
            raise ModelUnavailable(f"The model {name} cannot be used: {detail}", model=name)
        return self.directory(name)

    def defaults(self, name: str) -> SamplingParams:
        """The sampling values a model is best used with."""
        entry = self.catalogue.entries.get(name)
        return entry.defaults if entry else SamplingParams()

    def infos(self) -> list[ModelInfo]:
        """The catalogue with the state of each model."""
        return [self._info(entry) for entry in self.catalogue.entries.values()]

    def size(self, name: str) -> int:
        """Bytes on disk, 0 when there is nothing."""
        return sum(p.stat().st_size for p in self.directory(name).glob("*") if p.is_file())

    def pull(self, name: str, progress: Progress | None = None) -> bool:
        """Fetch a model from the first source that can deliver it; False if it was here already.

        Raises ModelNotFound, or ModelUnavailable naming each source and why it failed. What has
        arrived is kept for the next time.
        """
        entry = self.catalogue.get(self.catalogue.get(name).weights)
        if self.state(name)[0] == "ready":
            return False
        try:
            with self._locked(entry.name):
                if self.state(name)[0] == "ready":
                    return False  # whoever held the lock has fetched it
                self._fetch(entry, progress or Silent())
        except OSError as error:
            raise ModelUnavailable(self._disk_trouble(name, error), model=name) from error
        return True

    def remove(self, name: str) -> None:
        """Delete a model's files, half-downloaded ones too. Raises ModelNotFound,
        ModelUnavailable when there are none or they belong to another model."""
        directory = self.directory(name)
        if "/" in name or directory.name != name:
            raise ModelUnavailable(
                f"{name} uses the files of {directory.name}: remove {directory.name} instead.",
                model=name,
            )
        if self._comes_with_the_project(name):
            raise ModelUnavailable(f"{name} is part of the project and stays.", model=name)
        partial = self._partial(name)
        if not directory.exists() and not partial.exists():
            raise ModelUnavailable(f"{name} is not downloaded.", model=name)
        try:
            with self._locked(name):
                if directory.exists():
                    # Out of its place first: a removal that is interrupted leaves no half model.
                    shutil.rmtree(partial / "old", ignore_errors=True)
                    directory.rename(partial / "old")
                shutil.rmtree(partial)
        except OSError as error:
            raise ModelUnavailable(f"{name} cannot be removed: {error}.", model=name) from error

    def _comes_with_the_project(self, name: str) -> bool:
        entry = self.catalogue.entries.get(name)
        return entry is not None and any(
            isinstance(source, ProjectSource) and source.path == self.directory(name).resolve()
            for source in entry.sources
        )

    def _fetch(self, entry: CatalogueEntry, progress: Progress) -> None:
        partial = self._partial(entry.name)
        build, parts = partial / "build", partial / "parts"
        parts.mkdir(exist_ok=True)
        failures = []
        for source in entry.sources:
            shutil.rmtree(build, ignore_errors=True)
            build.mkdir()
            try:
                fill(
                    source,
                    parts=parts,
                    build=build,
                    dtype=entry.dtype,
                    hub=self._hub,
                    progress=progress,
                )
                check_files(build)
            except (SourceError, DamagedFileError) as error:
                failures.append(f"{source}: {error}")
                progress.note(f"{source}: {error}")
                continue
            fingerprint(build)
            self._put_in_place(build, self.models_dir / entry.name, partial / "old")
            shutil.rmtree(partial, ignore_errors=True)
            return
        reasons = "\n".join(f"  - {failure}" for failure in failures)
        raise ModelUnavailable(
            f"{entry.name} could not be fetched. Sources tried:\n{reasons}",
            model=entry.name,
            sources=failures,
        )

    @staticmethod
    def _put_in_place(build: Path, directory: Path, aside: Path) -> None:
        if directory.exists():
            shutil.rmtree(aside, ignore_errors=True)
            directory.rename(aside)
        build.rename(directory)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Hold the model's corner of .partial/, which exists inside. Raises ModelUnavailable."""
        partial = self._partial(name)
        partial.mkdir(parents=True, exist_ok=True)
        with (self.models_dir / _PARTIAL / f"{name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ModelUnavailable(
                    f"{name} is being fetched or removed by another process.", model=name
                ) from error
            partial.mkdir(exist_ok=True)  # the last holder may have cleaned up in between
            yield

    def _partial(self, name: str) -> Path:
        return self.models_dir / _PARTIAL / name

    def _disk_trouble(self, name: str, error: OSError) -> str:
        if error.errno == errno.ENOSPC:
            free = shutil.disk_usage(self.models_dir).free // 1_000_000
            need = self.catalogue.get(name).download_mb
            return (
                f"The disk is full: {self.models_dir} has {free:,} MB free, and {name} needs "
                f"about {2 * need:,} MB while it is fetched. What has arrived is kept."
            )
        return f"{name} cannot be stored in {self.models_dir}: {error}."

    def _info(self, entry: CatalogueEntry) -> ModelInfo:
        state, detail = self.state(entry.name)
        return ModelInfo(
            name=entry.name,
            title=entry.title,
            kind=entry.kind,
            languages=entry.languages,
            license=entry.license,
            state=state,
            detail=detail,
            defaults=entry.defaults,
        )


def check_files(directory: Path) -> None:
    """Is this a whole model, as far as sizes and headers tell? Raises DamagedFileError."""
    for name in ("config.json", "tokenizer.json"):
        path = directory / name
        if not path.is_file():
            raise DamagedFileError(f"{name} is missing from {directory}")
        _check_json(path)
    index = directory / INDEX
    try:
        names = shards(index) if index.is_file() else [WEIGHTS]
    except SourceError as error:
        raise DamagedFileError(str(error)) from error
    for name in names:
        if not (directory / name).is_file():
            raise DamagedFileError(f"{name} is missing from {directory}")
        read_header(directory / name)


def _check_json(path: Path) -> None:
    """config.json is read; of a tokenizer's megabytes only the end, which truncation loses."""
    if path.name == "config.json":
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DamagedFileError(f"{path.name} is not JSON ({error})") from error
        if not isinstance(config, dict):
            raise DamagedFileError(f"{path.name} is not a JSON object")
        return
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        if not file.read().rstrip().endswith(b"}"):
            raise DamagedFileError(f"{path.name} is truncated")
