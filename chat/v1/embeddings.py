"""POST /v1/embeddings: texts as vectors, of a sentence model, or from the last states of a model
that was made to write."""

from __future__ import annotations

import asyncio
import base64
import struct
from typing import Annotated, Any, ClassVar, Literal, Protocol

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _
from pydantic import Field

from chat import engine, filtering
from chat.errors import MAX_TEXT, InputTooLong, InvalidRequest
from chat.v1.bodies import Body, read
from chat.v1.edge import Caller, endpoint, named, request_name
from chat.v1.fields import TokenId
from chat.v1.running import reading
from inference.errors import ContextLengthExceeded

MAX_INPUTS = 2048
"""As OpenAI has it."""
Ids = Annotated[list[TokenId], Field(min_length=1)]


class EmbeddingRequest(Body):
    """dimensions: only the model's own. Its first numbers are not its most important ones: it was
    not trained for that, and shorter vectors would look like good ones."""

    model: str
    input: str | Ids | Annotated[list[str | Ids], Field(min_length=1, max_length=MAX_INPUTS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: str | None = None

    later: ClassVar[dict[str, tuple[Any, ...]]] = {
        "truncate_prompt_tokens": (),
        "add_special_tokens": (True,),
        "priority": (0,),
    }

    def texts(self) -> list[str | list[int]]:
        several = isinstance(self.input, list) and not isinstance(self.input[0], int)
        found: Any = self.input if several else [self.input]
        texts: list[str | list[int]] = found
        return texts

    def written(self, vector: tuple[float, ...]) -> list[float] | str:
        """In fp32; as base64 the least significant byte of each number first."""
        data = struct.pack(f"<{len(vector)}f", *vector)
        if self.encoding_format == "base64":
            return base64.b64encode(data).decode()
        return list(struct.unpack(f"<{len(vector)}f", data))


class Reader(Protocol):
    """Of a text: a `PromptCodec`, or a sentence model."""

    @property
    def context_length(self) -> int: ...
    def encode(self, text: str, *, add_special_tokens: bool = ...) -> list[int]: ...


def tokens(codec: Reader, texts: list[str | list[int]]) -> list[tuple[int, ...]]:
    """Raises InputTooLong, MessageRefused, InvalidRequest, ContextLengthExceeded."""
    length = sum(map(len, texts))
    if length > MAX_TEXT:
        raise InputTooLong("input", length)
    return [_tokens(codec, text, f"input[{index}]") for index, text in enumerate(texts)]


def _tokens(codec: Reader, text: str | list[int], where: str) -> tuple[int, ...]:
    ids = text
    if isinstance(text, str) and text:
        ids = codec.encode(filtering.incoming(text), add_special_tokens=True)
    if not ids:
        raise InvalidRequest(
            _("%(name)s is empty: it has no tokens.") % {"name": where}, param=where
        )
    if len(ids) > codec.context_length:
        error = ContextLengthExceeded(len(ids), codec.context_length)
        error.fields["param"] = where
        raise error
    return tuple(int(id) for id in ids)


@endpoint("POST")
async def embeddings(request: HttpRequest, caller: Caller) -> HttpResponseBase:
    body = read(request, EmbeddingRequest)
    unknown = body.unknown()
    sentences = await asyncio.to_thread(engine.sentence_models().get, body.model)
    codec = sentences or await engine.client().codec(body.model)
    texts = await asyncio.to_thread(tokens, codec, body.texts())
    size = sum(map(len, texts))
    found: list[tuple[float, ...]] = []
    async with reading(request_name(request), tenant=str(caller.owner_id), tokens=size) as done:
        # some texts at a time, so that others' questions have their turn between
        for first in range(0, len(texts), engine.MAX_EMBEDDED):
            some = tuple(texts[first : first + engine.MAX_EMBEDDED])
            found += await vectors(body.model, sentences, some)
            done.append(sum(map(len, some)))
            check_dimensions(body.dimensions, len(found[0]))
    told = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": body.written(vector)}
            for index, vector in enumerate(found)
        ],
        "model": body.model,
        "usage": {"prompt_tokens": size, "total_tokens": size},
    }
    return named(JsonResponse(told), unknown)


async def vectors(
    model: str, sentences: engine.SentenceModel | None, texts: tuple[tuple[int, ...], ...]
) -> tuple[tuple[float, ...], ...]:
    """Raises EngineError."""
    if sentences:
        return tuple(map(tuple, (await sentences.vectors(texts)).tolist()))
    answer = await engine.client().examine(model, engine.Embedding(texts))
    assert isinstance(answer, engine.Embedded)
    return answer.vectors


def check_dimensions(asked: int | None, own: int) -> None:
    """Raises InvalidRequest."""
    if asked not in (None, own):
        raise InvalidRequest(
            _("This model's vectors have %(own)d numbers, not %(asked)d. Leave the field out.")
            % {"own": own, "asked": asked},
            param="dimensions",
        )
