"""Forms and tools, as openai's and anthropic's clients ask for them, against a started server whose
model computes."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import anthropic
import openai
import pytest
from langchain_core.messages import ToolMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

from tests.plugin_projects import EXAMPLE, install_example
from tests.server_process import ServerProcess

pytestmark = pytest.mark.real_engine

HELLO: Any = [{"role": "user", "content": "Hello"}]
Short = Annotated[str, Field(max_length=3)]


class Person(BaseModel):
    class Pet(BaseModel):
        kind: Literal["cat", "dog"]
        name: Short

    name: Short
    age: Annotated[int, Field(ge=0, le=120)]
    pets: Annotated[list[Pet], Field(max_length=1)]


TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "x",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}},
                "required": ["a"],
                "additionalProperties": False,
            },
        },
    }
    for name in ("one", "two")
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("v1")
    made = ServerProcess(
        folder,
        TINYLLM_ENGINE_FACTORY="tests.served_engines.build_roomy",
        TINYLLM_MODELS_DIR=str(folder),
        TINYLLM_TOOLS="letters",
        PYTHONPATH=f"{EXAMPLE}:{install_example(folder / 'plugins')}",
    )
    yield made.migrate().start()
    made.end(signal.SIGKILL)


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_a_class_is_what_the_answer_is_an_object_of(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tiny", "messages": HELLO, "max_tokens": 200, "seed": 4}
    answer = client.chat.completions.parse(**asked, response_format=Person)
    assert answer.choices[0].finish_reason == "stop"
    assert isinstance(answer.choices[0].message.parsed, Person)
    response = client.responses.parse(
        model="tiny", input="Hello", text_format=Person, max_output_tokens=200
    )
    assert isinstance(response.output_parsed, Person)
    with pytest.raises(openai.BadRequestError, match="'uniqueItems' is not supported"):
        client.chat.completions.create(
            **asked, extra_body={"guided_json": {"type": "array", "uniqueItems": True}}
        )
    chosen = client.completions.create(
        model="tale", prompt="Once", extra_body={"structured_outputs": {"choice": ["yes", "no"]}}
    )
    assert chosen.choices[0].text in ("yes", "no")


def test_a_call_whole_and_streamed_is_the_same(client: openai.OpenAI) -> None:
    asked: Any = {
        "model": "tiny", "messages": HELLO, "max_tokens": 100, "seed": 7,
        "tools": TOOLS, "tool_choice": "required",
    }  # fmt: skip
    choice = client.chat.completions.create(**asked).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert call.function.name in ("one", "two")
    assert 0 <= json.loads(call.function.arguments)["a"] <= 9

    with client.chat.completions.stream(**asked) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion().choices[0]
    assert "tool_calls.function.arguments.delta" in kinds
    assert final.message.tool_calls
    assert final.message.tool_calls[0].function.arguments == call.function.arguments
    assert final.message.tool_calls[0].function.name == call.function.name

    result: Any = {"role": "tool", "tool_call_id": call.id, "content": "7"}
    said = [*HELLO, choice.message.model_dump(exclude_none=True), result]
    named: Any = {"type": "function", "function": {"name": "two"}}
    again = client.chat.completions.create(**{**asked, "messages": said, "tool_choice": named})
    assert again.choices[0].message.tool_calls
    (call,) = again.choices[0].message.tool_calls
    assert call.type == "function"
    assert call.function.name == "two"
    free = client.chat.completions.create(**{**asked, "tool_choice": "auto", "max_tokens": 9})
    assert free.choices[0].finish_reason == "length"


RESPONSE: Any = {
    "model": "tiny", "max_output_tokens": 100, "temperature": 0, "tool_choice": "required",
    "tools": [{"type": "function", **tool["function"]} for tool in TOOLS],
}  # fmt: skip


def test_langchains_tools_and_forms(server: ServerProcess) -> None:
    key: Any = "none"
    model = ChatOpenAI(base_url=f"{server.url}/v1", api_key=key, model="tiny", temperature=0)
    called = model.bind_tools(TOOLS, tool_choice="required").invoke("Hello")
    (call,) = called.tool_calls
    assert call["name"] in ("one", "two")
    assert 0 <= call["args"]["a"] <= 9
    after: Any = [("human", "Hello"), called, ToolMessage("7", tool_call_id=call["id"])]
    streamed: Any = None
    for chunk in model.bind_tools(TOOLS, tool_choice="two").stream(after):
        streamed = chunk if streamed is None else streamed + chunk
    assert [each["name"] for each in streamed.tool_calls] == ["two"]
    formed = model.with_structured_output(Person, method="json_schema").invoke("Hello")
    assert isinstance(formed, Person)


def test_a_function_on_responses_whole_and_streamed(client: openai.OpenAI) -> None:
    first = client.responses.create(input="Hello", **RESPONSE)
    (call,) = first.output
    assert call.type == "function_call"
    assert call.name in ("one", "two")
    assert 0 <= json.loads(call.arguments)["a"] <= 9

    for store in (True, False):
        with client.responses.stream(input="Hello", store=store, **RESPONSE) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_response()
        assert {
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
        } <= kinds
        (again,) = final.output
        assert again.type == "function_call"
        assert (again.name, again.arguments) == (call.name, call.arguments)

    assert client.responses.retrieve(first.id).output == first.output


def test_what_a_function_gave_is_the_next_input(client: openai.OpenAI) -> None:
    first = client.responses.create(input="Hello", **RESPONSE)
    (call,) = first.output
    assert call.type == "function_call"
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "7"}
    named: Any = {"type": "function", "name": "two"}
    second = client.responses.create(
        input=[result], previous_response_id=first.id, **{**RESPONSE, "tool_choice": named}
    )
    assert [(each.type, each.name) for each in second.output if each.type == "function_call"] == [
        ("function_call", "two")
    ]
    (item,) = client.responses.input_items.list(second.id).data
    assert item.type == "function_call_output"
    assert (item.call_id, item.output) == (call.call_id, "7")
    assert second.usage
    assert second.usage.input_tokens_details.cached_tokens > 0

    conversation: Any = [{"role": "user", "content": "Hello"}, *first.output, result]
    free = client.responses.create(
        input=conversation, **{**RESPONSE, "tool_choice": "auto", "max_output_tokens": 9}
    )
    assert free.status == "incomplete"


def test_a_tool_that_the_site_runs(client: openai.OpenAI) -> None:
    offered: Any = {
        "type": "mcp", "server_label": "tinyllm", "allowed_tools": ["letters"],
        "require_approval": "never",
    }  # fmt: skip
    asked: Any = {**RESPONSE, "input": "Hello", "tools": [offered], "max_output_tokens": 200}
    whole = client.responses.create(**asked)
    call = whole.output[0]
    assert call.type == "mcp_call"
    assert set(json.loads(call.arguments)) == {"word", "letter"}
    assert call.output
    assert "times in" in call.output
    with client.responses.stream(**asked) as stream:
        events: list[Any] = list(stream)
    assert "response.mcp_call.completed" in {event.type for event in events}
    final = events[-1].response  # its words mean nothing, so it may have no end
    assert client.responses.retrieve(final.id).output == final.output
    (first, *_) = final.output
    assert first.type == "mcp_call"
    assert first.output == call.output


def test_log_probabilities_of_a_response_that_is_kept(client: openai.OpenAI) -> None:
    told = client.responses.create(
        model="tiny", input="Hello", include=["message.output_text.logprobs"], max_output_tokens=9
    )
    (message,) = told.output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    assert part.logprobs
    assert len(part.logprobs) == 9


def test_anthropics_client_has_calls_too(server: ServerProcess) -> None:
    own = TOOLS[0]["function"]
    tool = {"name": "one", "description": "x", "input_schema": own["parameters"]}
    asked: Any = {
        "model": "tiny", "messages": HELLO, "max_tokens": 100, "extra_body": {"temperature": 0},
        "tools": [tool], "tool_choice": {"type": "tool", "name": "one"},
    }  # fmt: skip
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as client:
        whole = client.messages.create(**asked)
        assert whole.stop_reason == "tool_use"
        (block,) = whole.content
        assert block.type == "tool_use"
        assert set(block.input) == {"a"}
        with client.messages.stream(**asked) as stream:
            final = stream.get_final_message()
        assert [each.input for each in final.content if each.type == "tool_use"] == [block.input]
        result: Any = {"type": "tool_result", "tool_use_id": block.id, "content": "7"}
        said = [
            *HELLO,
            {"role": "assistant", "content": whole.content},
            {"role": "user", "content": [result]},
        ]
        again = client.messages.create(**{**asked, "messages": said})
        assert again.stop_reason == "tool_use"
