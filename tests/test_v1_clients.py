"""The clients that people have, against a started server whose model computes."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from typing import Any

import anthropic
import httpx
import openai
import pytest
from httpx_sse import connect_sse
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.server_process import PATIENCE_S, ROOT, ServerProcess

pytestmark = pytest.mark.real_engine

HELLO: Any = [{"role": "user", "content": "Hello, hello! What a time it was. " * 3}]
DOCUMENT = (ROOT / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
USAGE: Any = {"include_usage": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("v1")
    made = ServerProcess(
        folder,
        TINYLLM_ENGINE_FACTORY="tests.served_engines.build",
        TINYLLM_MODELS_DIR=str(folder),
    )
    yield made.migrate().start()
    made.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def counted(server: ServerProcess, name: str) -> float:
    """A number of the model that computes."""
    told = httpx.get(f"{server.url}/metrics", timeout=PATIENCE_S).text
    found = re.search(rf'^tinyllm_{name}model_name="tiny"}} (\S+)$', told, re.MULTILINE)
    assert found
    return float(found[1])


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "tale"]
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="no model called 'gpt-9'"):
        client.models.retrieve("gpt-9")


def test_a_chat_whole_and_streamed_is_the_same(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "messages": HELLO, "max_tokens": 12, "seed": 7}
    whole = client.chat.completions.create(**asked)
    said = whole.choices[0].message.content
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 12

    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options=USAGE))
    assert chunks[0].choices[0].delta.role == "assistant"
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == said
    assert chunks[-2].choices[0].finish_reason == "length"
    numbers = chunks[-1].usage
    assert numbers is not None
    assert (chunks[-1].choices, numbers.completion_tokens) == ([], 12)
    # what was read the first time is not read again
    assert numbers.prompt_tokens_details is not None
    assert numbers.prompt_tokens_details.cached_tokens == numbers.prompt_tokens // 16 * 16


def test_answers_to_one_prompt_read_it_once(client: openai.OpenAI, server: ServerProcess) -> None:
    fresh: Any = [{"role": "user", "content": "The cat sat on the mat; the cats sat. " * 3}]
    before = counted(server, "prefix_cache_hits_total{")
    answer = client.chat.completions.create(
        model="tiny", messages=fresh, n=3, seed=1, max_tokens=5,
        extra_headers={"x-request-id": "three-at-once"},
    )  # fmt: skip
    assert answer.id == "chatcmpl-three-at-once"
    assert len({choice.message.content for choice in answer.choices}) == 3
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 15
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    found = counted(server, "prefix_cache_hits_total{") - before
    assert found == 2 * (answer.usage.prompt_tokens // 16 * 16)
    named = {line["request_id"] for line in server.logged("request.finished")}
    assert {"three-at-once", "three-at-once-1", "three-at-once-2"} <= named


def test_a_stop_string_ends_an_answer(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tale", "prompt": "Once upon a time", "max_tokens": 20, "seed": 3}
    text = client.completions.create(**asked).choices[0].text
    stop = text[6:8]
    stopped = client.completions.create(**asked, stop=[stop]).choices[0]
    assert (stopped.text, stopped.finish_reason) == (text[: text.index(stop)], "stop")
    echoed = client.completions.create(**asked, echo=True).choices[0].text
    assert echoed == "Once upon a time" + text


def test_errors_are_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="none", messages=HELLO)
    assert missing.value.code == "model_not_found"
    long: Any = [{"role": "user", "content": "cat " * 2000}]
    with pytest.raises(openai.BadRequestError) as too_long:
        client.chat.completions.create(model="tiny", messages=long, stream=True)
    assert too_long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as later:
        client.chat.completions.create(model="tiny", messages=HELLO, modalities=["audio"])
    assert (later.value.code, later.value.param) == ("unsupported_parameter", "modalities")


def langchain(server: ServerProcess, **more: Any) -> ChatOpenAI:
    fields = {"model": "tiny", "max_tokens": 8, "temperature": 0, "max_retries": 0}
    return ChatOpenAI(base_url=f"{server.url}/v1", api_key=SecretStr("none"), **{**fields, **more})


def test_langchain(server: ServerProcess) -> None:
    model = langchain(server)
    asked = [("system", "Be kind."), ("human", "Hello!")]
    answer = model.invoke(asked)
    assert isinstance(answer.content, str)
    assert answer.response_metadata["finish_reason"] == "length"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 8
    chunks = list(langchain(server, stream_usage=True).stream(asked))
    assert "".join(str(chunk.content) for chunk in chunks) == answer.content
    usage = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    assert [each["output_tokens"] for each in usage] == [8]
    first, second = model.batch([asked, [("human", "Hello!"), ("ai", "Hi."), ("human", "Bye!")]])
    assert (first.content, bool(second.content)) == (answer.content, True)


def test_langchains_log_probabilities(server: ServerProcess) -> None:
    model = langchain(server, logprobs=True, top_logprobs=3)
    told = model.invoke("Hello!").response_metadata["logprobs"]["content"]
    assert [len(each["top_logprobs"]) for each in told] == [3] * 8
    whole = None
    for chunk in model.stream("Hello!"):
        whole = chunk if whole is None else whole + chunk
    assert whole is not None
    assert whole.response_metadata["logprobs"]["content"] == told


def test_langchains_errors_are_openais(server: ServerProcess) -> None:
    with pytest.raises(openai.NotFoundError, match="no model called 'none'"):
        langchain(server, model="none").invoke("Hello!")
    with pytest.raises(openai.BadRequestError, match="reads at most 512"):
        list(langchain(server).stream("cat " * 2000))
    with pytest.raises(openai.BadRequestError, match="top_logprobs"):
        langchain(server, logprobs=True, top_logprobs=21).invoke("Hello!")


def test_responses(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "input": "Hello!", "max_output_tokens": 8, "temperature": 0}
    asked["store"] = False
    whole = client.responses.create(**asked)
    assert (whole.status, whole.usage and whole.usage.output_tokens) == ("incomplete", 8)
    with client.responses.stream(**asked) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
    assert "".join(deltas) == whole.output_text


def test_responses_that_are_kept(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "max_output_tokens": 8, "temperature": 0}
    first = client.responses.create(**asked, input="Hello! What a time it was, what a time.")
    on: Any = {**asked, "input": "And then?", "previous_response_id": first.id}
    second = client.responses.create(**on)
    assert first.usage is not None
    assert second.usage is not None
    # the first call's prompt and answer stand in front, and are not computed again
    known = first.usage.input_tokens + first.usage.output_tokens
    assert second.usage.input_tokens > known
    assert second.usage.input_tokens_details.cached_tokens >= (known - 1) // 16 * 16 > 0
    with client.responses.stream(**on) as stream:
        final = next(event.response for event in stream if event.type == "response.incomplete")
    assert final.output_text == second.output_text
    assert final.id != second.id
    for each in (first, second, final):
        got = client.responses.retrieve(each.id)
        assert (got.output_text, got.status) == (each.output_text, "incomplete")
        assert got.previous_response_id == (None if each is first else first.id)
    listed = client.responses.input_items.list(second.id).data
    told = [item.model_dump()["content"][0]["text"] for item in listed]
    assert told == ["And then?"]
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(**on)
    passing = client.responses.create(**asked, input="Hello!", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(passing.id)


def test_anthropics_client(server: ServerProcess) -> None:
    asked: Any = {"model": "tiny", "messages": HELLO, "max_tokens": 12}
    asked["extra_body"] = {"temperature": 0}
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as client:
        whole = client.messages.create(**asked)
        assert (whole.stop_reason, whole.usage.output_tokens) == ("max_tokens", 12)
        with client.messages.stream(**asked) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert text == getattr(whole.content[0], "text", None)
        assert text == getattr(final.content[0], "text", None)
        assert final.usage.cache_read_input_tokens
        tokens = client.messages.count_tokens(model="tiny", messages=HELLO).input_tokens
        assert tokens == final.usage.input_tokens + final.usage.cache_read_input_tokens
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(**{**asked, "model": "none"})


@pytest.mark.parametrize("example", EXAMPLES, ids=[text.splitlines()[0] for text in EXAMPLES])
def test_the_examples_of_the_document(server: ServerProcess, example: str, capsys: Any) -> None:
    code = example.replace("http://localhost:3000", server.url).replace('"chat"', '"tiny"')
    exec(compile(code, "docs/api.md", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def freed(server: ServerProcess) -> set[str]:
    return {line["request_id"] for line in server.logged("request.freed")}


def test_who_leaves_frees_the_engine(server: ServerProcess) -> None:
    body = {"model": "tiny", "messages": HELLO, "n": 2, "ignore_eos": True}
    address = f"{server.url}/v1/chat/completions"
    with (
        httpx.Client(headers={"x-request-id": "leaver"}, timeout=PATIENCE_S) as client,
        connect_sse(client, "POST", address, json={**body, "stream": True}) as source,
    ):
        indexes = set()
        for event in source.iter_sse():
            indexes.add(json.loads(event.data)["choices"][0]["index"])
            if len(indexes) == 2:
                break
    until(lambda: freed(server) >= {"leaver", "leaver-1"})
    line = HTTPConnection("localhost", server.port, timeout=PATIENCE_S)
    headers = {"x-request-id": "impatient", "content-type": "application/json"}
    line.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    until(lambda: counted(server, "num_requests_running{") == 2)
    line.close()
    until(lambda: freed(server) >= {"impatient", "impatient-1"})
    assert counted(server, 'request_success_total{finished_reason="abort",') == 4
    metrics = httpx.get(f"{server.url}/metrics", timeout=PATIENCE_S).text
    assert re.search(r"^tinyllm_cancel_latency_seconds_count 4\.0$", metrics, re.MULTILINE)
    assert counted(server, "num_preemptions_total{") == 0


def test_nothing_was_kept(server: ServerProcess) -> None:
    assert server.rows("SELECT count(*) FROM chat_session") == [(0,)]
    assert server.rows("SELECT count(*) FROM chat_message") == [(0,)]
