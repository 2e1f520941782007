"""A Django view of one's own that streams from the engine, in a project of one file.

PYTHONPATH=. python docs/examples/django_view.py models/chat
"""

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from django.conf import settings

settings.configure(SECRET_KEY="example", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])

from django import setup  # noqa: E402 (settings come first)
from django.http import HttpRequest, StreamingHttpResponse  # noqa: E402
from django.test import AsyncClient  # noqa: E402
from django.urls import path  # noqa: E402

from inference.catalogue import Catalogue  # noqa: E402
from inference.engine_thread import EngineThread  # noqa: E402
from inference.model_store import ModelStore  # noqa: E402
from inference.options import EngineOptions  # noqa: E402
from inference.types import Delta, GenerateRequest, SamplingParams  # noqa: E402

folder = Path(sys.argv[1]).resolve()
MODEL = folder.name
engine = EngineThread(ModelStore(folder.parent, Catalogue.load()), EngineOptions(kv_tokens=1024))


async def go_on(request: HttpRequest) -> StreamingHttpResponse:
    prompt = (await engine.codec(MODEL)).encode(request.GET["text"])
    sampling = SamplingParams(max_tokens=20, seed=1, ignore_eos=True)
    asked = GenerateRequest(uuid.uuid4().hex, MODEL, tuple(prompt), sampling)

    async def pieces() -> AsyncIterator[str]:  # who leaves ends the computing
        async for event in engine.stream(asked):
            if isinstance(event, Delta):
                yield event.text

    return StreamingHttpResponse(pieces(), content_type="text/plain; charset=utf-8")


urlpatterns = [path("go-on", go_on)]


async def main() -> None:
    setup()
    await engine.start()
    answer = await AsyncClient().get("/go-on", {"text": "Once upon a time"})
    async for piece in answer.streaming_content:
        print(piece.decode(), end="", flush=True)
    await engine.stop()
    print()


asyncio.run(main())
