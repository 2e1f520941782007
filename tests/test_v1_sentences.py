"""/v1/ with a sentence model: OpenAI's client, what is listed and refused, and what it costs."""

from __future__ import annotations

import base64
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from django.test import AsyncClient

from chat import engine
from chat.database import in_database
from chat.models import Quota, Usage
from inference import sentence_models
from inference.catalogue import Catalogue
from inference.engine_thread import EngineThread
from inference.model_store import ModelStore
from inference.options import EngineOptions
from tests.fake_engine import FakeEngine
from tests.server_process import ServerProcess
from tests.tiny_sentences import LENGTH, TEXTS, peer_vectors, write_sentence_model
from tests.v1_client import HELLO, error_of, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.real_engine]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sentence_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def site(site: FakeEngine, folder: Path, settings: Any) -> FakeEngine:
    """With a sentence model."""
    settings.TINYLLM_MODELS_DIR = folder.parent
    return site


@pytest.fixture
def client(folder: Path, tmp_path: Path) -> Iterator[openai.OpenAI]:
    server = ServerProcess(tmp_path, TINYLLM_MODELS_DIR=str(folder.parent)).migrate().start()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made
    server.end(signal.SIGKILL)


async def embed(**body: Any) -> Any:
    return await post("embeddings", {"model": "tiny", "input": "Hello", **body})


def test_the_client_that_people_have(client: openai.OpenAI, folder: Path) -> None:
    assert [model.id for model in client.models.list()][-1] == "tiny"
    answer = client.embeddings.create(model="tiny", input=list(TEXTS))
    found = np.array([each.embedding for each in answer.data])
    np.testing.assert_allclose(found, peer_vectors(folder, list(TEXTS)).numpy(), atol=1e-5)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    with pytest.raises(openai.BadRequestError, match=f"reads at most {LENGTH}"):
        client.embeddings.create(model="tiny", input="bread " * LENGTH)


async def test_it_is_listed_with_its_kind(site: FakeEngine) -> None:
    told = (await AsyncClient().get("/v1/models")).json()["data"]
    assert told[-1].items() >= {"id": "tiny", "kind": "embedding"}.items()
    one = (await AsyncClient().get("/v1/models/tiny")).json()
    assert one == {**told[-1], "max_model_len": LENGTH}
    assert (await AsyncClient().get("/v1/models/none")).status_code == 404


async def test_base64_and_token_ids(site: FakeEngine) -> None:
    plain, coded = (await embed()).json(), (await embed(encoding_format="base64")).json()
    (vector,) = (each["embedding"] for each in plain["data"])
    data = base64.b64decode(coded["data"][0]["embedding"])
    assert list(struct.unpack(f"<{len(vector)}f", data)) == vector
    assert site.questions == [], "the engine is left alone"
    sentences = engine.sentence_models().get("tiny")
    assert sentences
    again = (await embed(input=sentences.encode("Hello"))).json()
    assert again == plain


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": ["a", ""]}, "input[1]", "invalid_request"),
        ({"input": ["a", "bread " * LENGTH]}, "input[1]", "context_length_exceeded"),
        ({"input": [99_999]}, "input", "invalid_parameter"),
        ({"dimensions": 8}, "dimensions", "invalid_request"),
    ],
)
async def test_a_wrong_value_is_named(
    site: FakeEngine, fields: dict[str, Any], param: str, code: str
) -> None:
    error = error_of(await embed(**fields), 400)
    assert (error["param"], error["code"]) == (param, code)


async def test_it_is_charged(site: FakeEngine) -> None:
    used = (await embed(input=list(TEXTS))).json()["usage"]["prompt_tokens"]
    row = await in_database(Usage.objects.get)
    assert (row.prompt_tokens, row.output_tokens, row.reserved_tokens) == (used, 0, 0)
    await in_database(lambda: Quota.objects.create(user_id=row.user_id, tokens_per_day=used))
    assert error_of(await embed(), 429)["code"] == "quota_exceeded"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("chat/completions", {"messages": HELLO}),
        ("completions", {"prompt": "Once"}),
        ("responses", {"input": "Hello"}),
        ("/tokenize", {"prompt": "Hello"}),
    ],
)
async def test_it_writes_nothing(
    site: FakeEngine, folder: Path, path: str, body: dict[str, Any]
) -> None:
    engine.install(EngineThread(ModelStore(folder.parent, Catalogue({})), EngineOptions()))
    error = error_of(await post(path, {"model": "tiny", **body}), 400)
    assert (error["code"], error["param"]) == ("model_not_generative", "model")
    assert "tiny is a sentence model" in error["message"]


async def test_without_transformers_it_says_what_to_install(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentence_models, "find_spec", lambda _: None)
    error = error_of(await embed(), 503)
    assert (error["code"], error["param"]) == ("model_unavailable", "model")
    assert "pip install transformers" in error["message"]
    told = (await AsyncClient().get("/v1/models")).json()["data"]
    assert "tiny" not in [each["id"] for each in told]
    assert (await embed(model="chat")).status_code == 200
