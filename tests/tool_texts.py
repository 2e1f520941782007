"""Calls of tools as models of several families write them."""

from __future__ import annotations

from typing import Any

WROTE: dict[str, tuple[str, str, list[tuple[str, Any]]]] = {
    "hermes": (
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
        "", [("get_weather", {"city": "Paris"})],
    ),
    "hermes, old order": (
        '<tool_call>\n{"arguments": {"city": "Paris"}, "name": "get_weather"}\n</tool_call>\n',
        "", [("get_weather", {"city": "Paris"})],
    ),
    "qwen, with words and two calls": (
        'I will look.\n\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Pa<ris"}}\n'
        '</tool_call>\n<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>',
        "I will look.", [("get_weather", {"city": "Pa<ris"}), ("get_time", {})],
    ),
    "hermes, unfinished": (
        '<tool_call>\n{"name": "get_time", "arguments": {}}', "", [("get_time", {})],
    ),
    "llama 3.1": (
        '{"name": "get_weather", "parameters": {"city": "Paris"}}',
        "", [("get_weather", {"city": "Paris"})],
    ),
    "llama 3.1, built in": (
        '<|python_tag|>{"type": "function", "name": "get_weather", "parameters": {"city": "P"}}',
        "", [("get_weather", {"city": "P"})],
    ),
    "llama 3.2, two": (
        '{"name": "get_time", "parameters": {}}; {"name": "get_time", "parameters": {"a": 1}}',
        "", [("get_time", {}), ("get_time", {"a": 1})],
    ),
    "mistral 7b": (
        '[TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris, FR"}}]',
        "", [("get_weather", {"city": "Paris, FR"})],
    ),
    "mistral, without its special token": (
        ' [{"name": "get_time", "arguments": {}}, {"name": "get_time", "arguments": {"z": "日"}}]',
        "", [("get_time", {}), ("get_time", {"z": "日"})],
    ),
    "mistral small 3.2": (
        '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]get_time[ARGS]{}',
        "", [("get_weather", {"city": "Paris"}), ("get_time", {})],
    ),
    "openai": (
        '{"type": "function", "function": {"name": "get_time", "arguments": "{\\"a\\": 1}"}}',
        "", [("get_time", {"a": 1})],
    ),
}  # fmt: skip
"""By family: what was written, what of it is text, and the calls."""


def pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]
