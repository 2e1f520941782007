"""Answers that obey a grammar, in the engine: on the CPU, and by the GPU runner's bookkeeping."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from inference.constraints import grammars, matcher
from inference.constraints.grammars import Grammars
from inference.engine import Engine
from inference.engine_thread import EngineThread
from inference.engine_wire import Unpacker, pack
from inference.errors import InvalidConstraint, InvalidParameter, RequestFailed
from inference.examination import Inspected, Inspection
from inference.types import Constraint, Finished, GenerateRequest, SamplingParams
from tests.host_runner import MakeRunner, on_host
from tests.threaded_engine import HANG, gate, read, request, store, text, thread, until
from tests.tiny_engine import GREEDY, TinyEngine, engines, poisoned, tiny
from tests.tiny_llama import EOS_ID

__all__ = ["engines", "gate", "on_host", "poisoned", "store", "thread", "tiny"]

pytestmark = pytest.mark.real_engine

Engines = Callable[..., TinyEngine]
PROMPT = [40, 41, 42, 40, 41, 42, 40, 41]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 4},
        "age": {"type": "integer", "minimum": 3, "maximum": 9},
        "tags": {"type": "array", "items": {"enum": ["a", "b", None]}, "maxItems": 3},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
DRAWN = SamplingParams(temperature=1.5, seed=3, max_tokens=80, top_p=0.95, repetition_penalty=1.2)


def bound(constraint: Constraint, sampling: SamplingParams = DRAWN) -> SamplingParams:
    return replace(sampling, constraint=constraint)


def is_valid(said: str) -> bool:
    jsonschema.validate(json.loads(said), SCHEMA)
    return re.search(r"\s", said.replace(" ", "")) is None


FORMS: dict[str, Callable[[str], object]] = {
    "json_schema": is_valid,
    "regex": lambda said: re.fullmatch(r"(ab|cd){2,4}", said),
    "choice": lambda said: said in ('ja "oui"', "nein\n", "日本"),
    "grammar": lambda said: re.fullmatch(r"\d(\+\d){0,9}", said),
}
CONSTRAINTS = {
    "json_schema": Constraint.of_schema(SCHEMA),
    "regex": Constraint("regex", r"(ab|cd){2,4}"),
    "choice": Constraint.of_choice(['ja "oui"', "nein\n", "日本"]),
    "grammar": Constraint("grammar", 'start: n ("+" n){0,9}\nn: /[0-9]/'),
}


@pytest.mark.parametrize("kind", CONSTRAINTS)
def test_an_answer_has_its_form_and_ends_with_it(engines: Engines, kind: str) -> None:
    its = engines()
    for seed in range(6):
        sampling = replace(bound(CONSTRAINTS[kind]), seed=seed, temperature=seed % 3)
        answer = its.answer(PROMPT, sampling)
        assert answer.finished.reason == "stop", answer.text
        assert FORMS[kind](answer.text), answer.text


def test_any_object_is_json(engines: Engines) -> None:
    its, ended = engines(), 0
    for seed in range(8):
        its_sampling = bound(Constraint("json_object"), replace(DRAWN, seed=seed, max_tokens=60))
        answer = its.answer(PROMPT, its_sampling)
        assert answer.text.startswith("{")
        if answer.finished.reason == "stop":
            assert isinstance(json.loads(answer.text), dict)
            ended += 1
    assert ended


def test_the_end_comes_when_the_grammar_allows_it(engines: Engines) -> None:
    its = engines()
    its.runner.says["early"] = [EOS_ID] * 9
    its.add(
        "early", PROMPT, bound(Constraint("regex", "x{3,9}"), replace(GREEDY, ignore_eos=False))
    )
    its.run()
    answer = its.answers["early"]
    assert (answer.text, answer.finished.reason) == ("xxx", "stop")
    assert answer.token_ids[-1] == EOS_ID
    cut = its.answer(PROMPT, bound(Constraint("regex", "x{50}"), GREEDY))
    assert (cut.finished.reason, cut.finished.output_tokens) == ("length", GREEDY.max_tokens)
    stopped = bound(Constraint("regex", "x{50}"), replace(GREEDY, stop=("xxxxx",)))
    answer = its.answer(PROMPT, stopped)
    assert (answer.text, answer.finished.stop_string) == ("", "xxxxx")


def test_an_answer_goes_on_where_it_was_in_its_form(engines: Engines) -> None:
    its = engines()
    sampling = bound(CONSTRAINTS["json_schema"])
    whole = its.answer(PROMPT, sampling)
    for cut in (1, len(whole.token_ids) // 2):
        begun = [*PROMPT, *whole.token_ids[:cut]]
        rest = its.answer(begun, sampling, answer_start=len(PROMPT))
        assert whole.token_ids[:cut] + rest.token_ids == whole.token_ids
    with pytest.raises(InvalidConstraint, match="so far does not obey"):
        its.add("other", [*PROMPT, 40], sampling, answer_start=len(PROMPT))
    assert its.engine.is_idle


def told(its: TinyEngine, name: str) -> tuple[object, ...]:
    answer = its.answers[name]
    return answer.text, answer.token_ids, answer.offsets, answer.finished.reason


MIXED: dict[str, SamplingParams] = {
    "free": replace(DRAWN, max_tokens=40),
    "guessing": replace(GREEDY, max_tokens=40, prompt_lookup=8),
    **{kind: replace(bound(it), prompt_lookup=4) for kind, it in CONSTRAINTS.items()},
    "greedy": bound(CONSTRAINTS["json_schema"], replace(GREEDY, max_tokens=60)),
    "biased": bound(CONSTRAINTS["regex"], replace(DRAWN, logit_bias={9: 5.0}, top_k=3, min_p=0.1)),
}


@pytest.mark.parametrize("room", [1024, 112], ids=["room for all", "put aside"])
def test_company_and_the_runner_of_a_gpu_change_nothing(
    engines: Engines, on_host: MakeRunner, tiny: Path, room: int
) -> None:
    """What is bound waits for its last token there, and is computed beside the others."""
    alone, company = engines(deterministic=True), engines(deterministic=True, kv_tokens=room)
    ahead = engines(deterministic=True, kv_tokens=room)
    ahead.engine = Engine(on_host(tiny, ahead.options), ahead.codec, ahead.options)
    for name, sampling in MIXED.items():
        alone.add(name, PROMPT, sampling)
        alone.run()
    for its in (company, ahead):
        for name, sampling in MIXED.items():
            its.add(name, PROMPT, sampling)
            its.step()
        its.run()
        assert {name: told(its, name) for name in MIXED} == {
            name: told(alone, name) for name in MIXED
        }
        assert (its.engine.look()[1].preemptions > 0) == (room < 1024)
    assert all(told(alone, name)[3] == "stop" for name in CONSTRAINTS)
    assert all(alone.answers[name].finished.drafted_tokens == 0 for name in CONSTRAINTS)
    assert alone.answers["guessing"].finished.drafted_tokens


REFUSED: list[tuple[Callable[[], Constraint], str]] = [
    (lambda: Constraint("regex", "(a"), "unclosed group"),
    (lambda: Constraint("regex", "(?=a)b"), "look-around"),
    (lambda: Constraint("grammar", "start: x"), 'unknown name: "x"'),
    (lambda: Constraint("json_schema", "[1]"), "the schema must be an object"),
    (lambda: Constraint("json_schema", "{"), "json_schema cannot be used"),
    (lambda: Constraint.of_choice([]), "choice"),
    (lambda: Constraint.of_schema({"type": "string", "minLength": 5, "maxLength": 2}), "minLength"),
    (lambda: Constraint.of_schema({"properties": {"a": {"not": {}}}}), "'not'.*/properties/a/not"),
    (lambda: Constraint.of_schema({"type": "string", "format": "iban"}), "'iban'"),
    (lambda: Constraint.of_schema({"format": "date"}), "'format'"),
    (lambda: Constraint.of_schema({"items": [{"type": "string"}]}), "'items' as a list"),
    (lambda: Constraint.of_schema({"$ref": "http://x/y"}), r"\$ref must begin with"),
    (lambda: Constraint.of_schema({"$ref": "#/$defs/a"}), "json_schema cannot be used"),
    *[
        ((lambda name=name: Constraint.of_schema({"anyOf": [{name: 1}]})), f"'{re.escape(name)}'")
        for name in ("uniqueItems", "contains", "nullable", "additionalItems", "x-guidance",
                     "contentEncoding", "propertyNames", "if", "dependentRequired", "$anchor")
    ],
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_cannot_be_obeyed_is_refused_by_name(
    engines: Engines, make: Callable[[], Constraint], said: str
) -> None:
    its = engines()
    with pytest.raises(InvalidConstraint, match=said) as refused:
        its.add("a", PROMPT, bound(make()))
    assert refused.value.fields["param"] == make().kind
    assert "\n" not in str(refused.value)
    assert its.engine.is_idle


def test_a_constraint_has_a_size_and_a_kind() -> None:
    for kind, text_, said in (
        ("regex", "a" * 65_537, "65537 characters"),
        ("regex", "", "a text"),
        ("json_object", "{}", "json_object"),
        ("poem", "a", "poem"),
    ):
        with pytest.raises(InvalidParameter, match=said) as refused:
            Constraint(kind, text_)  # type: ignore[arg-type]
        assert len(str(refused.value)) < 200


def test_a_constraint_travels_to_another_process() -> None:
    asked = GenerateRequest("a", "tiny", (1,), bound(CONSTRAINTS["json_schema"]))
    assert list(Unpacker().feed(pack(asked))) == [asked]
    assert hash(asked.sampling.constraint) == hash(CONSTRAINTS["json_schema"])


def test_a_grammar_that_fails_ends_its_own_answer_only(
    engines: Engines, on_host: MakeRunner, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = matcher.next_mask, [0]

    def third_fails(*args: Any) -> Any:
        asked[0] += 1
        return None if asked[0] % 3 == 0 else real(*args)

    monkeypatch.setattr(matcher, "next_mask", third_fails)
    cpu, ahead = engines(), engines(deterministic=True)
    ahead.engine = Engine(on_host(tiny, ahead.options), ahead.codec, ahead.options)
    for its in (cpu, ahead):
        its.add("free", PROMPT, GREEDY)
        its.add("bound", PROMPT, bound(CONSTRAINTS["json_schema"]))
        its.run()
        assert isinstance(its.answers["bound"].error, RequestFailed)
        assert "became too complex" in str(its.answers["bound"].error)
        assert its.answers["free"].finished.reason == "length"


def test_the_glass_box_shows_what_was_left_to_choose_from(engines: Engines) -> None:
    its = engines()
    sampling = bound(Constraint("regex", "x[yz]x"))
    answer = its.answer(PROMPT, sampling)
    ids = (*PROMPT, *answer.token_ids)
    for first in (len(PROMPT), len(PROMPT) + 1):
        its.engine.examinations.add(1, Inspection(ids, first, len(PROMPT), sampling))
        found: list[Any] = []
        while not found:
            found = [said for _ticket, said in its.engine.examinations.proceed()]
        (inspected,) = found
        assert isinstance(inspected, Inspected)
        chances = [odds.token.sampled for odds in inspected.tokens]
        assert all(chances)
        assert chances[-1] == 1


# The thread of the engine, where a grammar is compiled while others are served.


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Compilation waits for it."""
    ready, compile_ = threading.Event(), Grammars._compile

    def waiting(its: Grammars, constraint: Constraint) -> Any:
        assert ready.wait(HANG)
        return compile_(its, constraint)

    monkeypatch.setattr(grammars.Grammars, "_compile", waiting)
    return ready


async def test_while_a_grammar_is_compiled_others_are_served(
    thread: EngineThread, slow: threading.Event
) -> None:
    constraint = CONSTRAINTS["regex"]
    await read(thread, request("first"))
    waiting = asyncio.create_task(read(thread, request("bound", constraint=constraint)))
    left = asyncio.create_task(read(thread, request("left", constraint=constraint)))
    broken = asyncio.create_task(
        read(thread, request("broken", constraint=Constraint("regex", "(")))
    )

    def waiters() -> int:
        return len(thread_line(thread))

    await until(lambda: waiters() == 3)
    assert isinstance((await read(thread, request("free")))[-1], Finished)
    assert not waiting.done()
    left.cancel()
    await until(lambda: waiters() == 2)
    slow.set()
    events = await waiting
    assert FORMS["regex"](text(events))
    assert isinstance(events[-1], Finished)
    with pytest.raises(InvalidConstraint):
        await broken
    # what was compiled is kept
    slow.clear()
    assert FORMS["regex"](text(await read(thread, request("again", constraint=constraint))))


def thread_line(thread: EngineThread) -> list[Any]:
    return thread._worker._line._aside  # type: ignore[union-attr]
