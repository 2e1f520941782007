"""The real chat model held to a form: random JSON schemas, and calls of tools."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest

from chat.v1.tool_frames import Message
from chat.v1.tool_prompt import HERMES, insisted, tool_prompt
from chat.v1.tool_reading import reader_of
from chat.v1.tools import Offer, Tool
from inference.errors import EngineError, InvalidConstraint
from inference.offline import OfflineModel, run_to_end
from inference.options import EngineOptions
from inference.types import (
    Constraint,
    Delta,
    Finished,
    GenerateRequest,
    ModelKind,
    SamplingParams,
)
from tests.random_schemas import Schema, random_schemas

pytestmark = pytest.mark.real_engine

CHAT = Path(__file__).resolve().parent.parent / "models" / "chat"
SEED = 20261128
MAX_TOKENS = 512
Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def model() -> Iterator[OfflineModel]:
    options = EngineOptions(device="cpu", threads=1, kv_tokens=32 * 1024, max_batch=64)
    its = OfflineModel(CHAT, ModelKind.CHAT, options)
    yield its
    its.engine.close()


def answers(model: OfflineModel, asked: list[GenerateRequest]) -> dict[str, tuple[str, str]]:
    """Text and end of each."""
    texts, ends = dict.fromkeys((each.request_id for each in asked), ""), dict[str, str]()

    def take(events: list[tuple[str, object]]) -> None:
        for name, event in events:
            if isinstance(event, EngineError):
                raise event
            if isinstance(event, Delta):
                texts[name] += event.text
            elif isinstance(event, Finished):
                ends[name] = event.reason

    # the first one alone: the others find in the cache what their prompts have in common
    for part in (asked[:1], asked[1:]):
        run_to_end(model.engine, part, take)  # type: ignore[arg-type]
    return {name: (text, ends[name]) for name, text in texts.items()}


def held_to(model: OfflineModel, schemas: list[Schema]) -> Counter[str]:
    """How answers that were held to each schema ended. Every one that ended well is valid."""
    said = [{"role": "user", "content": "Give me an example, as JSON."}]
    ids = tuple(model.codec.encode(model.codec.render(said, add_generation_prompt=True)))
    asked = []
    counts: Counter[str] = Counter()
    for index, schema in enumerate(schemas):
        sampling = SamplingParams(
            seed=index, max_tokens=MAX_TOKENS, constraint=Constraint.of_schema(schema)
        )
        asked.append(GenerateRequest(str(index), "chat", ids, sampling))
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    for name, (text, end) in answers(model, asked).items():
        counts[end] += 1
        if end == "stop":
            jsonschema.validate(json.loads(text), schemas[int(name)], format_checker=checker)
    return counts


def test_answers_to_random_schemas_are_valid(model: OfflineModel) -> None:
    counts = held_to(model, random_schemas(100, SEED))
    assert counts["stop"] + counts["length"] == 100
    assert counts["length"] <= 2, counts


@pytest.mark.soak
def test_answers_to_many_random_schemas_are_valid(
    model: OfflineModel, record_property: Record
) -> None:
    schemas = random_schemas(1000, SEED + 1)
    counts: Counter[str] = Counter()
    for start in range(0, len(schemas), 100):
        counts += held_to(model, schemas[start : start + 100])
    assert counts["stop"] + counts["length"] == len(schemas) == 1000
    assert counts["length"] <= 20, counts
    distinct = len({json.dumps(schema, sort_keys=True) for schema in schemas})
    for name, value in (
        ("seed", SEED + 1),
        ("schemas", len(schemas)),
        ("distinct schemas", distinct),
        ("ended with length", counts["length"]),
    ):
        record_property(name, value)


WEATHER = Tool(
    "get_weather",
    "The weather of a city",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "unit": {"enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
)
ADD = Tool(
    "add",
    "Adds numbers",
    {
        "$defs": {"N": {"type": "integer", "minimum": 0, "maximum": 99}},
        "type": "object",
        "properties": {"numbers": {"type": "array", "items": {"$ref": "#/$defs/N"}, "maxItems": 3}},
        "required": ["numbers"],
        "additionalProperties": False,
    },
)


def test_a_tool_that_is_insisted_on_is_called_fifty_times_of_fifty(model: OfflineModel) -> None:
    required = Offer((WEATHER, ADD), called=(WEATHER, ADD))
    named = Offer((WEATHER, ADD), called=(ADD,))
    asked, offers = [], {}
    for index in range(50):
        offer = named if index % 2 else required
        question = f"What is the weather in city {index}, and what is {index} + 2?"
        ids = tool_prompt(model.codec, [{"role": "user", "content": question}], offer)
        sampling = insisted(SamplingParams(seed=index, max_tokens=64), offer, model.codec)
        asked.append(GenerateRequest(f"call-{index}", "chat", tuple(ids), sampling))
        offers[f"call-{index}"] = offer
    called: Counter[str] = Counter()
    for name, (text, end) in answers(model, asked).items():
        message = Message.of(reader_of(offers[name], HERMES), text)
        ((_id, tool, arguments),) = message.calls
        assert (end, message.text) == ("stop", "")
        schema = {each.name: each.parameters for each in offers[name].called}[tool]
        jsonschema.validate(json.loads(arguments), schema)
        called[tool] += 1
    assert sum(called.values()) == 50
    assert called["add"] >= 25


def test_a_schema_that_could_not_be_obeyed_is_refused(model: OfflineModel) -> None:
    unclear = Constraint.of_schema({"type": "array", "uniqueItems": True})
    ids = tuple(model.codec.encode("a"))
    with pytest.raises(InvalidConstraint, match="'uniqueItems'"):
        model.engine.add(GenerateRequest("a", "chat", ids, SamplingParams(constraint=unclear)))
