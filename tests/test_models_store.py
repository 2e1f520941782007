"""The store on disk: what is ready, what a pull stores, what is damaged, and removal."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file, save

from inference.errors import ModelNotFound, ModelUnavailable
from inference.fingerprint import fingerprint
from inference.http_client import HubSettings
from inference.model_store import ModelStore
from inference.types import ModelKind
from tests.hub_server import Hub, serve
from tests.model_files import load_catalogue, model_files, weights, write_files

FILES = model_files()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve({"someone/tiny": dict(FILES), "someone/half": dict(FILES)}) as hub:
        yield hub


@pytest.fixture
def store(tmp_path: Path, hub: Hub) -> ModelStore:
    settings = HubSettings(hub.endpoint, retries=0, backoff_s=0)
    return ModelStore(tmp_path / "models", load_catalogue(tmp_path), settings)


def test_a_model_that_borrows_weights_is_ready_when_they_are(store: ModelStore, hub: Hub) -> None:
    assert store.directory("tale") == store.directory("tiny")
    missing = "Not downloaded yet: run `manage.py models pull tale`."
    assert store.state("tale") == ("missing", missing)
    assert store.pull("tale") is True
    hub.log.clear()
    assert store.pull("tiny") is False
    assert hub.log == []
    assert [(i.name, i.state, i.kind) for i in store.infos()] == [
        ("tiny", "ready", ModelKind.CHAT),
        ("half", "missing", ModelKind.COMPLETION),
        ("tale", "ready", ModelKind.COMPLETION),
    ]
    assert store.infos()[0].defaults.temperature == 0.5


def test_directories_by_name_and_by_path(store: ModelStore, tmp_path: Path) -> None:
    write_files(store.models_dir / "mine", dict(FILES))
    assert store.directory("mine") == store.models_dir / "mine"
    assert store.directory(str(store.models_dir / "mine")) == store.models_dir / "mine"
    assert store.state("mine") == ("ready", "")
    for unknown in ("nothing", str(tmp_path), "", ".partial", "..", "/", "x" * 300):
        with pytest.raises(ModelNotFound, match="Known models: tiny, half, tale"):
            store.directory(unknown)


def damage(directory: Path, file: str, content: bytes | None) -> None:
    (directory / file).unlink()
    if content is not None:
        (directory / file).write_bytes(content)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "config.json is missing from"),
        ("config.json", b'{"model_type": "ll', "config.json is not JSON"),
        ("config.json", b"[]", "config.json is not a JSON object"),
        ("tokenizer.json", None, "tokenizer.json is missing from"),
        ("tokenizer.json", b'{"version": ', "tokenizer.json is truncated"),
        ("model.safetensors", None, "model.safetensors is missing from"),
        ("model.safetensors", FILES["model.safetensors"][:-1], "but its header promises"),
        ("model.safetensors", FILES["model.safetensors"] + b"x", "but its header promises"),
        ("model.safetensors", FILES["model.safetensors"][:20], "ends inside its header"),
        ("model.safetensors", b"", "too short to be safetensors"),
        ("model.safetensors", b"\x08" + b"\0" * 7 + b"not json", "an unreadable header"),
    ],
)
def test_damage_is_found_named_and_mended_by_a_pull(
    store: ModelStore, file: str, content: bytes | None, message: str
) -> None:
    store.pull("tiny")
    damage(store.directory("tiny"), file, content)
    state, detail = store.state("tiny")
    assert state == "invalid"
    assert message in detail
    assert detail.endswith("Fetch it again: `manage.py models pull tiny`.")
    assert store.pull("tiny") is True
    assert store.state("tiny") == ("ready", "")
    assert (store.directory("tiny") / file).read_bytes() == FILES[file]


def sharded(names: tuple[str, str]) -> dict[str, bytes]:
    files = {name: content for name, content in FILES.items() if name != "model.safetensors"}
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    for tensor, name in zip("ab", names, strict=True):
        files[name] = save({tensor: torch.full((3,), 1.5, dtype=torch.float16)})
    return files


def test_sharded_weights_come_whole(store: ModelStore, hub: Hub) -> None:
    hub.files["someone/tiny"] = sharded(("one.safetensors", "two.safetensors"))
    store.pull("tiny")
    assert store.state("tiny") == ("ready", "")
    (store.directory("tiny") / "two.safetensors").unlink()
    assert "two.safetensors is missing" in store.state("tiny")[1]


def test_an_index_cannot_name_a_file_elsewhere(store: ModelStore, hub: Hub) -> None:
    hub.files["someone/tiny"] = sharded(("../../evil.safetensors", "two.safetensors"))
    with pytest.raises(ModelUnavailable, match=r"evil\.safetensors', which is no plain file name"):
        store.pull("tiny")


@pytest.mark.parametrize("shards", [False, True])
def test_weights_are_stored_in_the_entrys_precision(
    store: ModelStore, hub: Hub, shards: bool
) -> None:
    files = sharded(("one.safetensors", "two.safetensors")) if shards else dict(FILES)
    hub.files["someone/half"] = files
    store.pull("half")
    directory = store.directory("half")
    found = load_file(directory / "model.safetensors")
    tensors: dict[str, torch.Tensor] = {}
    for name, content in files.items():
        tensors |= load(content) if name.endswith(".safetensors") else {}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor.half())
    assert json.loads((directory / "config.json").read_text())["torch_dtype"] == "float16"
    assert [p.name for p in directory.glob("*.safetensors*")] == ["model.safetensors"]


def test_weights_that_do_not_fit_the_precision_are_refused(store: ModelStore, hub: Hub) -> None:
    big = save({"big.weight": torch.tensor([1e6])})
    hub.files["someone/half"] = FILES | {"model.safetensors": big}
    with pytest.raises(ModelUnavailable, match=r"big\.weight holds 1e\+06, which float16 cannot"):
        store.pull("half")
    assert not store.directory("half").exists()


def test_the_fingerprint_is_written_by_pull_and_follows_the_weights(store: ModelStore) -> None:
    store.pull("tiny")
    directory = store.directory("tiny")
    expected = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
    sidecar = directory / ".fingerprint.json"
    assert json.loads(sidecar.read_text())["sha256"] == expected
    assert fingerprint(directory) == expected
    # It is believed while size and time are the same...
    remembered = json.loads(sidecar.read_text()) | {"sha256": "remembered"}
    sidecar.write_text(json.dumps(remembered))
    assert fingerprint(directory) == "remembered"
    # ...and computed again after a change, or when it is damaged.
    (directory / "model.safetensors").write_bytes(weights(elements=9))
    changed = hashlib.sha256(weights(elements=9)).hexdigest()
    assert fingerprint(directory) == changed
    sidecar.write_text("{")
    assert fingerprint(directory) == changed
    with pytest.raises(FileNotFoundError):
        fingerprint(directory.parent)


def test_remove_deletes_files_and_pieces(store: ModelStore) -> None:
    store.pull("tiny")
    pieces = store.models_dir / ".partial" / "tiny" / "parts"
    pieces.mkdir(parents=True)
    (pieces / "config.json.part").write_text("{")
    with pytest.raises(ModelUnavailable, match="tale uses the files of tiny: remove tiny instead"):
        store.remove("tale")
    assert store.state("tiny")[0] == "ready"
    store.remove("tiny")
    assert not store.directory("tiny").exists()
    assert not pieces.exists()
    with pytest.raises(ModelUnavailable, match="tiny is not downloaded"):
        store.remove("tiny")
    assert store.pull("tiny") is True


def test_two_pulls_of_one_model_do_not_mix(store: ModelStore) -> None:
    (store.models_dir / ".partial").mkdir(parents=True)
    with (store.models_dir / ".partial" / "tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ModelUnavailable, match="tiny is being fetched or removed by another"):
            store.pull("tiny")
    assert store.pull("tiny") is True


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, hub: Hub) -> None:
    (tmp_path / "models").write_text("a file where the directory should be")
    store = ModelStore(tmp_path / "models", load_catalogue(tmp_path), HubSettings(hub.endpoint))
    with pytest.raises(ModelUnavailable, match=f"tiny cannot be stored in {tmp_path}/models: "):
        store.pull("tiny")
