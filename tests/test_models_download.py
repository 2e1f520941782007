"""Pulling from a hub that breaks, lies, hangs or is not there: what arrives is whole or named."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from inference.catalogue import Catalogue, CatalogueEntry, HubSource, Source, UrlSource
from inference.errors import ModelUnavailable
from inference.http_client import HubSettings
from inference.model_store import ModelStore
from inference.types import ModelKind
from tests.hub_server import COMMIT, Fault, Hub, serve
from tests.model_files import model_files

REPO = "someone/tiny"
WEIGHTS = "model.safetensors"
FILES = model_files()
HALF = 400_000


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve({REPO: dict(FILES)}) as hub:
        yield hub


def make_store(tmp_path: Path, hub: Hub, *sources: Source, **settings: object) -> ModelStore:
    entry = CatalogueEntry(
        name="tiny",
        title="Tiny",
        kind=ModelKind.CHAT,
        languages=("en",),
        license="MIT",
        download_mb=1,
        weights="tiny",
        sources=sources or (HubSource(REPO),),
    )
    patience = HubSettings(hub.endpoint, first_timeout_s=5, timeout_s=5, retries=3, backoff_s=0)
    return ModelStore(tmp_path, Catalogue({"tiny": entry}), replace(patience, **settings))  # type: ignore[arg-type]


def assert_whole(store: ModelStore, files: dict[str, bytes] = FILES) -> None:
    assert store.state("tiny") == ("ready", "")
    found = {p.name: p.read_bytes() for p in store.directory("tiny").iterdir()}
    del found[".fingerprint.json"]
    assert found == files
    left = [p.name for p in (store.models_dir / ".partial").iterdir()]
    assert left == ["tiny.lock"]


def parts(store: ModelStore) -> list[Path]:
    return sorted((store.models_dir / ".partial" / "tiny" / "parts").iterdir())


def test_pull_brings_every_file_and_a_second_pull_asks_for_nothing(
    tmp_path: Path, hub: Hub
) -> None:
    store = make_store(tmp_path, hub)
    assert store.pull("tiny") is True
    assert_whole(store)
    hub.log.clear()
    assert store.pull("tiny") is False
    assert hub.log == []


def test_all_files_come_from_the_commit_of_the_first(tmp_path: Path, hub: Hub) -> None:
    make_store(tmp_path, hub).pull("tiny")
    asked = [seen.path.split("/resolve/")[1] for seen in hub.log if "/resolve/" in seen.path]
    assert asked[0] == "main/config.json"
    assert len(asked) == 10
    assert {path.split("/")[0] for path in asked[1:]} == {COMMIT}


def test_the_token_goes_to_the_hub_and_not_to_where_it_redirects(tmp_path: Path, hub: Hub) -> None:
    make_store(tmp_path, hub, token="secret").pull("tiny")
    elsewhere = {seen.authorization for seen in hub.log if seen.path.startswith("/cdn/")}
    at_home = {seen.authorization for seen in hub.log if not seen.path.startswith("/cdn/")}
    assert (at_home, elsewhere) == ({"Bearer secret"}, {None})


def test_a_broken_line_is_resumed_and_only_the_rest_is_sent(tmp_path: Path, hub: Hub) -> None:
    hub.fails("GET", WEIGHTS, Fault(break_after=HALF), Fault(break_after=HALF))
    store = make_store(tmp_path, hub)
    store.pull("tiny")
    assert_whole(store)
    bodies = hub.bodies(WEIGHTS)
    assert [seen.range for seen in bodies] == [None, f"bytes={HALF}-", f"bytes={2 * HALF}-"]
    assert sum(seen.sent for seen in bodies) == len(FILES[WEIGHTS])


def test_an_interrupted_pull_is_continued_by_the_next(tmp_path: Path, hub: Hub) -> None:
    hub.fails("GET", WEIGHTS, Fault(break_after=HALF))
    store = make_store(tmp_path, hub, retries=0)
    with pytest.raises(ModelUnavailable, match="the connection broke at byte 400,000 of"):
        store.pull("tiny")
    assert store.state("tiny") == (
        "missing",
        "Its download was interrupted; `manage.py models pull tiny` continues it.",
    )
    hub.log.clear()
    store.pull("tiny")
    assert_whole(store)
    # The small files had arrived: they are checked where they are and not sent again.
    assert [(s.file, s.range) for s in hub.log if s.method == "GET" and s.sent >= 0] == [
        (WEIGHTS, f"bytes={HALF}-")
    ]


def test_a_server_that_ignores_ranges_is_read_from_the_beginning(tmp_path: Path, hub: Hub) -> None:
    hub.honours_ranges = False
    hub.fails("GET", WEIGHTS, Fault(break_after=HALF))
    store = make_store(tmp_path, hub)
    store.pull("tiny")
    assert_whole(store)
    assert [seen.sent for seen in hub.bodies(WEIGHTS)] == [HALF, len(FILES[WEIGHTS])]


def test_a_damaged_piece_is_thrown_away_and_fetched_from_zero(tmp_path: Path, hub: Hub) -> None:
    hub.fails("GET", WEIGHTS, Fault(break_after=HALF))
    store = make_store(tmp_path, hub, retries=0)
    with pytest.raises(ModelUnavailable):
        store.pull("tiny")
    [piece] = [path for path in parts(store) if path.name.startswith(WEIGHTS)]
    piece.write_bytes(b"\0" * HALF)
    hub.log.clear()
    store.pull("tiny")
    assert_whole(store)
    assert [seen.range for seen in hub.bodies(WEIGHTS)] == [f"bytes={HALF}-", None]


def test_a_piece_longer_than_the_file_is_fetched_from_zero(tmp_path: Path, hub: Hub) -> None:
    hub.fails("GET", WEIGHTS, Fault(break_after=HALF))
    store = make_store(tmp_path, hub, retries=0)
    with pytest.raises(ModelUnavailable):
        store.pull("tiny")
    [piece] = [path for path in parts(store) if path.name.startswith(WEIGHTS)]
    piece.write_bytes(FILES[WEIGHTS] + b"more")
    hub.log.clear()
    store.pull("tiny")
    assert_whole(store)
    assert [seen.range for seen in hub.bodies(WEIGHTS)] == [None]


@pytest.mark.parametrize("file", ["config.json", WEIGHTS])
def test_wrong_bytes_are_removed_and_reported(tmp_path: Path, hub: Hub, file: str) -> None:
    hub.fails("GET", file, *[Fault(corrupt=True)] * 3)
    store = make_store(tmp_path, hub)
    with pytest.raises(ModelUnavailable, match=f"{file} arrived damaged .* it was removed"):
        store.pull("tiny")
    assert not [path for path in parts(store) if path.name.startswith(file)]
    assert store.state("tiny")[0] == "missing"
    assert not store.directory("tiny").exists()


def test_a_pinned_digest_goes_before_the_hubs(tmp_path: Path, hub: Hub) -> None:
    pinned = HubSource(REPO, sha256={WEIGHTS: "0" * 64})
    with pytest.raises(ModelUnavailable, match=f"{WEIGHTS} on the server has sha256"):
        make_store(tmp_path, hub, pinned).pull("tiny")
    assert hub.bodies(WEIGHTS) == []


def test_a_pinned_digest_is_checked_where_the_hub_names_none(tmp_path: Path, hub: Hub) -> None:
    hub.names_digests = False
    pinned = HubSource(REPO, sha256={"config.json": "0" * 64})
    with pytest.raises(ModelUnavailable, match=r"config\.json arrived damaged"):
        make_store(tmp_path, hub, pinned).pull("tiny")
    digest = hashlib.sha256(FILES["config.json"]).hexdigest()
    store = make_store(tmp_path, hub, HubSource(REPO, sha256={"config.json": digest}))
    store.pull("tiny")
    assert_whole(store)


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_server_in_trouble_is_asked_again(tmp_path: Path, hub: Hub, method: str) -> None:
    assert method in ("HEAD", "GET")
    hub.faults[method, "config.json"] += [Fault(status=503), Fault(status=429)]
    store = make_store(tmp_path, hub)
    store.pull("tiny")
    assert_whole(store)


def test_a_server_that_stays_in_trouble_is_given_up(tmp_path: Path, hub: Hub) -> None:
    hub.fails("HEAD", "config.json", *[Fault(status=500)] * 10)
    with pytest.raises(ModelUnavailable, match=r"\(HTTP 500\) \(4 tries\)"):
        make_store(tmp_path, hub).pull("tiny")


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "set HF_TOKEN"), (403, "accept the model's terms"), (404, "no such")]
)
def test_a_refusal_is_not_asked_again(tmp_path: Path, hub: Hub, status: int, hint: str) -> None:
    hub.fails("HEAD", "config.json", Fault(status=status))
    with pytest.raises(ModelUnavailable, match=hint):
        make_store(tmp_path, hub).pull("tiny")
    assert len(hub.log) == 1


def test_a_line_that_falls_silent_is_resumed(tmp_path: Path, hub: Hub) -> None:
    hub.fails("GET", WEIGHTS, Fault(break_after=HALF, hang=True))
    store = make_store(tmp_path, hub, timeout_s=2)
    store.pull("tiny")
    assert_whole(store)
    assert [seen.range for seen in hub.bodies(WEIGHTS)][-1] is not None


def url_source(hub: Hub) -> UrlSource:
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    return UrlSource(f"{hub.endpoint}/{REPO}/resolve/main", digests)


def test_a_hub_that_hangs_is_left_for_the_next_source(tmp_path: Path, hub: Hub) -> None:
    hub.fails("HEAD", "config.json", Fault(hang=True))
    sources = HubSource(REPO), url_source(hub)
    store = make_store(tmp_path, hub, *sources, first_timeout_s=2)
    store.pull("tiny")
    assert_whole(store)
    assert [s.path for s in hub.log[:2]] == [f"/{REPO}/resolve/main/config.json"] * 2


def test_an_unreachable_or_offline_hub_falls_through_to_the_url(tmp_path: Path, hub: Hub) -> None:
    ways: list[dict[str, object]] = [{"endpoint": "http://127.0.0.1:1"}, {"offline": True}]
    for number, settings in enumerate(ways):
        sources = HubSource(REPO), url_source(hub)
        store = make_store(tmp_path / str(number), hub, *sources, **settings)
        store.pull("tiny")
        assert_whole(store)


def test_url_sources_resume_and_check(tmp_path: Path, hub: Hub) -> None:
    hub.fails("GET", WEIGHTS, Fault(break_after=HALF))
    store = make_store(tmp_path, hub, url_source(hub))
    store.pull("tiny")
    assert_whole(store)
    assert [seen.range for seen in hub.bodies(WEIGHTS)] == [None, f"bytes={HALF}-"]


def test_when_all_sources_fail_each_is_named_with_its_reason(tmp_path: Path, hub: Hub) -> None:
    sources = HubSource("no/such"), url_source(hub)
    hub.fails("HEAD", "config.json", Fault(status=404), Fault(status=403))
    with pytest.raises(ModelUnavailable) as caught:
        make_store(tmp_path, hub, *sources).pull("tiny")
    first, second = caught.value.fields["sources"]
    assert first.startswith("hub no/such: config.json: there is no such file")
    assert second.startswith(f"url {hub.endpoint}/{REPO}/resolve/main: config.json: access is")
    assert first in str(caught.value)
    assert second in str(caught.value)
    assert store_is_untouched(tmp_path)


def store_is_untouched(models_dir: Path) -> bool:
    return [path.name for path in models_dir.iterdir()] == [".partial"]
