"""The part of the document about `chat.v1`: bodies from the classes that read them, answers by
example, since their shapes are those that other APIs document."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic.json_schema import models_json_schema

from chat.api_v1.examples import REFUSALS, USAGE, refused
from chat.v1.anthropic import CountRequest, MessagesRequest
from chat.v1.bodies import Body
from chat.v1.chat_completions import ChatRequest
from chat.v1.completions import CompletionRequest
from chat.v1.embeddings import EmbeddingRequest
from chat.v1.responses import ResponseRequest
from chat.v1.tokens import DetokenizeRequest, TemplateRequest, TokenizeRequest

STATUSES = ("400", "401", "403", "404", "413", "415", "429", "500", "503", "504")
_NO_MODEL = refused(
    "invalid_request_error",
    "model_not_found",
    "There is no model called 'gpt-9'. Known models: chat, story.",
    "model",
)
_SAID = {"role": "user", "content": "Hello!"}
_TOKENS = {"prompt_tokens": 31, "completion_tokens": 9, "total_tokens": 40}
_READ = {"input_tokens": 31, "output_tokens": 9}
_MODEL = {
    "id": "chat",
    "object": "model",
    "created": 1795856400,
    "owned_by": "tinyllm",
    "kind": "chat",
    "languages": ["en"],
}
_RESPONSE = {
    "id": "resp_3f1c9a2b7d4e4f6a",
    "object": "response",
    "status": "completed",
    "model": "chat",
    "output": [
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Hello!", "annotations": []}],
        }
    ],
    "usage": {**_READ, "total_tokens": 40},
}


@dataclass(frozen=True, slots=True)
class Address:
    """body: what reads it; None: nothing does. streams: whether it may answer with frames."""

    path: str
    about: str
    answer: dict[str, Any]
    body: type[Body] | None = None
    asked: dict[str, Any] | None = None
    streams: bool = False
    method: str = ""

    @property
    def verb(self) -> str:
        return self.method or ("post" if self.body else "get")


ADDRESSES = (
    Address("/v1/models", "The models whose files are here.", {"object": "list", "data": [_MODEL]}),
    Address("/v1/models/{name}", "One of them.", {**_MODEL, "max_model_len": 8192}),
    Address(
        "/v1/chat/completions",
        "The next message of a conversation, as OpenAI's clients ask for it.",
        {
            "id": "chatcmpl-3f1c9a2b7d4e4f6a",
            "object": "chat.completion",
            "created": 1795856400,
            "model": "chat",
            "system_fingerprint": "fp_5af571cbf0",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Hello!", "refusal": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {**_TOKENS, "prompt_tokens_details": {"cached_tokens": 0}},
            "timings": {"prompt_n": 31, "prompt_ms": 50.0, "predicted_n": 9, "predicted_ms": 210.0},
        },
        ChatRequest,
        {"model": "chat", "messages": [_SAID], "max_tokens": 20},
        streams=True,
    ),
    Address(
        "/v1/completions",
        "Text that goes on, for one prompt or several.",
        {
            "id": "cmpl-3f1c9a2b7d4e4f6a",
            "object": "text_completion",
            "created": 1795856400,
            "model": "story",
            "choices": [{"index": 0, "text": " there was", "finish_reason": "length"}],
            "usage": _TOKENS,
        },
        CompletionRequest,
        {"model": "story", "prompt": "Once upon a time", "max_tokens": 20},
        streams=True,
    ),
    Address(
        "/v1/embeddings",
        "Texts as vectors.",
        {
            "object": "list",
            "model": "chat",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}],
            "usage": {"prompt_tokens": 4, "total_tokens": 4},
        },
        EmbeddingRequest,
        {"model": "chat", "input": "A river in the north."},
    ),
    Address(
        "/v1/responses",
        "OpenAI's newer way of asking; kept unless store is false.",
        _RESPONSE,
        ResponseRequest,
        {"model": "chat", "input": "Hello!", "max_output_tokens": 20},
        streams=True,
    ),
    Address("/v1/responses/{response_id}", "One that is kept.", _RESPONSE),
    Address(
        "/v1/responses/{response_id}",
        "Delete it, with all that was said after it.",
        {"id": "resp_3f1c9a2b7d4e4f6a", "object": "response", "deleted": True},
        method="delete",
    ),
    Address(
        "/v1/responses/{response_id}/cancel",
        "Stop one that is being written.",
        {**_RESPONSE, "status": "cancelled"},
        method="post",
    ),
    Address(
        "/v1/responses/{response_id}/input_items",
        "What its call said.",
        {
            "object": "list",
            "data": [
                {
                    "type": "message",
                    "id": "msg_7d4e4f6a3f1c9a2b",
                    "status": "completed",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "Hello!"}],
                }
            ],
            "has_more": False,
        },
    ),
    Address(
        "/v1/messages",
        "As Anthropic's clients ask.",
        {
            "id": "msg_3f1c9a2b7d4e4f6a",
            "type": "message",
            "role": "assistant",
            "model": "chat",
            "content": [{"type": "text", "text": "Hello!"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": _READ,
        },
        MessagesRequest,
        {"model": "chat", "max_tokens": 20, "messages": [_SAID]},
        streams=True,
    ),
    Address(
        "/v1/messages/count_tokens",
        "How long the prompt would be.",
        {"input_tokens": USAGE["prompt_tokens"]},
        CountRequest,
        {"model": "chat", "messages": [_SAID]},
    ),
    Address(
        "/tokenize",
        "Text as tokens.",
        {"count": 2, "max_model_len": 8192, "tokens": [19556, 17]},
        TokenizeRequest,
        {"model": "chat", "prompt": "Hello!"},
    ),
    Address(
        "/detokenize",
        "Tokens as text.",
        {"prompt": "Hello!", "content": "Hello!"},
        DetokenizeRequest,
        {"model": "chat", "tokens": [19556, 17]},
    ),
    Address(
        "/apply-template",
        "What the model would read.",
        {"prompt": "<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n"},
        TemplateRequest,
        {"model": "chat", "messages": [_SAID]},
    ),
)


def paths_and_schemas() -> tuple[dict[str, Any], dict[str, Any]]:
    kinds = [each.body for each in ADDRESSES if each.body]
    names, made = models_json_schema(
        [(kind, "validation") for kind in kinds],
        ref_template="#/components/schemas/v1.{model}",
    )
    schemas = {f"v1.{name}": schema for name, schema in made["$defs"].items()}
    paths: dict[str, dict[str, Any]] = {}
    for each in ADDRESSES:
        told = _operation(each, names[each.body, "validation"] if each.body else None)
        paths.setdefault(each.path, {})[each.verb] = told
    return paths, schemas


def _operation(address: Address, schema: dict[str, Any] | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": _name_of(address),
        "summary": address.about,
        "tags": ["keeping nothing"],
        "responses": {
            "200": _answer(address),
            **{each: _refusal(address, each) for each in STATUSES},
        },
    }
    if schema is not None:
        content = {"application/json": {"schema": schema, "example": address.asked}}
        told["requestBody"] = {"required": True, "content": content}
    elif named := re.search(r"{(\w+)}", address.path):
        name = {"name": named[1], "in": "path", "required": True, "schema": {"type": "string"}}
        told["parameters"] = [name]
    return told


def _name_of(address: Address) -> str:
    path = address.path.strip("/").replace("/", "_")
    return f"{path}_{address.method}" if address.method else path


def _answer(address: Address) -> dict[str, Any]:
    required = list(address.answer)[:1]
    shape = {"type": "object", "required": required, "additionalProperties": True}
    content: dict[str, Any] = {
        "application/json": {"schema": shape, "example": address.answer},
    }
    if address.streams:
        content["text/event-stream"] = {"example": f"data: {json.dumps(address.answer)}\n\n"}
    return {"description": "OK", "content": content}


def _refusal(address: Address, status: str) -> dict[str, Any]:
    example = _NO_MODEL if status == "404" else REFUSALS[status]
    shape: dict[str, Any] = {"$ref": "#/components/schemas/ErrorOut"}
    if address.path.startswith("/v1/messages"):
        example = {"type": "error", "error": {k: example["error"][k] for k in ("type", "message")}}
        shape = {"type": "object", "required": ["type", "error"], "additionalProperties": True}
    return {
        "description": example["error"]["message"],
        "content": {"application/json": {"schema": shape, "example": example}},
    }
