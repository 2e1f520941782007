"""For `TINYLLM_ENGINE_FACTORY` of a server in another process: it waits a second for a request, and
another one for each byte."""

from __future__ import annotations

from chat import server
from tests.fake_engine import FakeEngine


def build() -> FakeEngine:
    server.ARRIVAL_S, server.BYTES_PER_S = 1.0, 1
    return FakeEngine()
