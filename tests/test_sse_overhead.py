"""What HTTP costs beside the engine: a request over server-sent events, its client included, and
the same one on the offline engine, in turn, each on one thread. Part of `make soak`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import openai
import pytest

from inference.offline import OfflineModel
from inference.options import EngineOptions
from inference.types import ModelKind, SamplingParams
from tests.server_process import ROOT, ServerProcess

pytestmark = [pytest.mark.real_engine, pytest.mark.soak]

SAID: Any = [{"role": "user", "content": "Tell me of a river in the north."}]
TOKENS, PAIRS = 64, 24
SAMPLING = SamplingParams(temperature=0, max_tokens=TOKENS, ignore_eos=True)
"""All of it is said to the server: a model of the catalogue has defaults of its own."""
SHARE = 0.9
"""Of the offline engine's tokens a second, at least; the median of the pairs."""


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    server = ServerProcess(
        tmp_path_factory.mktemp("sse"),
        TINYLLM_ENGINE_FACTORY="chat.engine.build",
        TINYLLM_MODELS_DIR=str(ROOT / "models"),
        TINYLLM_DEVICE="cpu",
        TINYLLM_THREADS="1",
    )
    server.migrate().start()
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:

        def said() -> str:
            asked: Any = {"model": "chat", "messages": SAID, "stream": True}
            chunks = client.chat.completions.create(**asked, extra_body=asdict(SAMPLING))
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

        yield said
    server.end()


@pytest.fixture
def offline() -> Iterator[Callable[[], str]]:
    options = EngineOptions(device="cpu", threads=1)
    model = OfflineModel(ROOT / "models" / "chat", ModelKind.CHAT, options)
    ids = model.codec.encode(model.codec.render(SAID, add_generation_prompt=True))
    yield lambda: model.generate(ids, SAMPLING).text
    model.engine.close()


def seconds(say: Callable[[], str]) -> float:
    began = time.perf_counter()
    assert say()
    return time.perf_counter() - began


def test_a_stream_has_nine_tenths_of_the_engines_speed(
    served: Callable[[], str],
    offline: Callable[[], str],
    record_property: Callable[[str, object], None],
) -> None:
    assert served() == offline()  # and both have compiled and read all that they need
    pairs = [(seconds(offline), seconds(served)) for _ in range(PAIRS)]
    shares = [alone / whole for alone, whole in pairs]
    share = statistics.median(shares)
    record_property("tokens", TOKENS)
    record_property("pairs", PAIRS)
    for name, times in zip(("offline", "sse"), zip(*pairs, strict=True), strict=True):
        record_property(f"{name}_tokens_per_s", round(TOKENS / statistics.median(times), 2))
    record_property("share", round(share, 3))
    assert share >= SHARE, sorted(shares)
