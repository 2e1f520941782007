"""Log probabilities as OpenAI's and vLLM's clients read them."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from django.utils.translation import gettext as _
from pydantic import Field

from chat import engine, filtering
from chat.errors import InvalidRequest
from chat.glass.token_text import token_bytes
from inference.types import MAX_LOGPROBS, TokenLogprobs

Top = Annotated[int, Field(ge=0, le=MAX_LOGPROBS)]
LOWEST = -9999.0
"""JSON knows no infinity: what vLLM says in its place."""


def check_filters(param: str) -> None:
    """Raises InvalidRequest: tokens are told as the model wrote them, and others beside them."""
    if filtering.filters():
        raise InvalidRequest(
            _("%(name)s would show what this site's filters keep back. Leave it out.")
            % {"name": param},
            param=param,
        )


def of_chat(codec: engine.PromptCodec, tokens: Iterable[TokenLogprobs]) -> list[dict[str, Any]]:
    """As in choices[].logprobs.content. A token that is no whole character is written in hex, as
    \\xe4; its bytes are right."""
    return [
        {
            **_entry(codec, each.id, each.logprob),
            "top_logprobs": [_entry(codec, id, value) for id, value in each.top],
        }
        for each in tokens
    ]


def of_completion(
    codec: engine.PromptCodec, tokens: Sequence[TokenLogprobs], offsets: Sequence[int]
) -> dict[str, Any]:
    """As in choices[].logprobs of a completion: lists of one length. A token that is no whole
    character is called bytes:\\xe4."""
    return {
        "tokens": [_name(codec, each.id) for each in tokens],
        "token_logprobs": [_finite(each.logprob) for each in tokens],
        "top_logprobs": [_top(codec, each) for each in tokens],
        "text_offset": list(offsets),
    }


def of_echo(
    codec: engine.PromptCodec, ids: Sequence[int], text: str, tokens: Sequence[TokenLogprobs]
) -> dict[str, Any]:
    """The same of a prompt that was read from this text. Nothing was before its first token, so
    nothing is told of that."""
    told = of_completion(codec, tokens, ())
    return {
        "tokens": [_name(codec, ids[0]), *told["tokens"]],
        "token_logprobs": [None, *told["token_logprobs"]],
        "top_logprobs": [None, *told["top_logprobs"]],
        "text_offset": offsets_of(codec, ids, text),
    }


def joined(first: dict[str, Any] | None, then: dict[str, Any]) -> dict[str, Any]:
    return {name: first[name] + then[name] for name in then} if first else then


def of_prompt(
    codec: engine.PromptCodec, tokens: Sequence[TokenLogprobs], top: int
) -> list[dict[str, Any] | None]:
    """vLLM's prompt_logprobs: of each token itself and the `top` likeliest, by id."""
    told: list[dict[str, Any] | None] = [None]
    for each in tokens:
        ranked = [(each.id, each.logprob, each.rank)]
        ranked += [(id, value, place) for place, (id, value) in enumerate(each.top[:top], 1)]
        told.append(
            {
                str(id): {
                    "logprob": _finite(value),
                    "rank": rank,
                    "decoded_token": token_bytes(codec, id).decode(errors="replace"),
                }
                for id, value, rank in reversed(ranked)
            }
        )
    return told


def offsets_of(codec: engine.PromptCodec, ids: Sequence[int], text: str) -> list[int]:
    """Where each token of a text begins in it, in characters. One that does not stand there, as a
    mark that was put before it, takes no room."""
    decoder, at, found = getincrementaldecoder("utf-8")(errors="replace"), 0, []
    for id in ids:
        found.append(at)
        piece = decoder.decode(token_bytes(codec, id))
        # some vocabularies put a space before the first word
        for said in (piece, piece.removeprefix(" ")):
            if text.startswith(said, at):
                at += len(said)
                break
    return found


def _entry(codec: engine.PromptCodec, id: int, logprob: float) -> dict[str, Any]:
    data = token_bytes(codec, id)
    return {"token": _text(data), "logprob": _finite(logprob), "bytes": list(data)}


def _top(codec: engine.PromptCodec, each: TokenLogprobs) -> dict[str, float]:
    """The token itself is always among them."""
    told: dict[str, float] = {}
    for id, value in (*each.top, (each.id, each.logprob)):
        told.setdefault(_name(codec, id), _finite(value))
    return told


def _name(codec: engine.PromptCodec, id: int) -> str:
    data = token_bytes(codec, id)
    text = _text(data)
    return text if text.encode() == data else f"bytes:{text}"


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in data)


def _finite(logprob: float) -> float:
    return max(logprob, LOWEST)
