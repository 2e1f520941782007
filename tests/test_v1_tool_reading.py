"""Calls of tools, found in what models of several families wrote, in pieces of any size."""

from __future__ import annotations

import json

import pytest

from chat.v1.tool_frames import Message
from chat.v1.tool_prompt import HERMES, LLAMA
from chat.v1.tool_reading import InsistedCall, Reader, bare_calls, reader_of
from chat.v1.tools import Offer, Tool
from tests.tool_texts import WROTE, pieces

NAMES = frozenset({"get_weather", "get_time"})
OFFER = Offer((Tool("get_weather", "", {}), Tool("get_time", "", {})))

TEXTS = [
    "", "Hello.", "{", '{"name": "nobody", "arguments": {}}', '{"name": 1}', "[1, 2]", " {} ",
    "a < b and <tool_cal", "<tool_call>\nI would rather not.\n</tool_call>", "a\n\n b\n",
    '<tool_call>{"name": "nobody"}</tool_call> and more', "[TOOL_CALLS]nobody[ARGS]{}",
    '{"name": "get_time", "arguments": {}} is how one would say it.', '{"name": "get_ti',
]  # fmt: skip


def read(reader: Reader, text: str, size: int) -> Message:
    message = Message()
    for piece in pieces(text, size):
        message.take(reader.push(piece))
    message.take(reader.end())
    return message


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("family", WROTE)
def test_calls_are_read_as_they_were_recorded(family: str, size: int) -> None:
    text, said, calls = WROTE[family]
    message = read(reader_of(OFFER, HERMES), text, size)
    assert message.text.strip() == said
    assert [(name, json.loads(given)) for _id, name, given in message.calls] == calls
    assert len({call[0] for call in message.calls}) == len(calls)


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_what_is_no_call_is_text_and_none_is_lost(text: str, size: int) -> None:
    message = read(reader_of(OFFER, HERMES), text, size)
    assert message.calls == []
    assert message.text.split() == text.split()


def test_text_is_not_held_back_that_cannot_become_a_call() -> None:
    reader = reader_of(OFFER, HERMES)
    told = [reader.push(piece) for piece in ("Hel", "lo <", "b>", " it is <tool", "_time")]
    assert ["".join(getattr(p, "text", "") for p in parts) for parts in told] == [
        "Hel", "lo", " <b>", " it is", " <tool_time",
    ]  # fmt: skip


def test_no_more_calls_than_one_where_one_is_wanted() -> None:
    text = WROTE["qwen, with words and two calls"][0]
    single = Offer(OFFER.tools, single=True)
    assert [call[1] for call in read(reader_of(single, HERMES), text, 5).calls] == ["get_weather"]


def test_a_reader_suits_what_was_asked() -> None:
    assert not isinstance(reader_of(OFFER, HERMES), InsistedCall)
    insisted = Offer(OFFER.tools, OFFER.tools[:1])
    assert isinstance(reader_of(insisted, LLAMA), InsistedCall)
    message = read(reader_of(insisted, LLAMA), '{"name":"get_time","parameters":{}}', 2)
    assert message.calls[0][1:] == ["get_time", "{}"]
    assert bare_calls("[" * 5000, NAMES) is None
