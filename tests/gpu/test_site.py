"""The real site beside a GPU: `manage.py serve`, a question to each default model."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.chat_client import Shown
from tests.server_process import ServerProcess
from tests.test_chat_serve import until

pytestmark = [pytest.mark.gpu, pytest.mark.real_engine]

DEVICE = "cuda"
# Enough for several frames of the page, which come every 25 ms.
TOKENS = {"chat": 800, "story": 400}  # the story model reads 512
SAMPLING = {"ignore_eos": True, "seed": 1}
QUESTIONS = {
    "chat": "What is the capital of France?",
    "story": "Once upon a time there was a dragon who",
}
ROWS = """
    select message.content, generation.status, generation.output_tokens, generation.timings
    from chat_message message join chat_generation generation on generation.message_id = message.id
    where message.id = :id
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    its = ServerProcess(
        tmp_path_factory.mktemp("data"),
        TINYLLM_ENGINE_FACTORY="chat.engine.build",
        TINYLLM_DEVICE=DEVICE,
    )
    yield its.migrate().start()
    assert its.end() == 0


def test_its_engine_is_the_gpus(server: ServerProcess) -> None:
    log = (server.directory / "log").read_text().splitlines()
    (told,) = (json.loads(line) for line in log if '"engine.backend"' in line)
    assert told["device"] == DEVICE


@pytest.mark.parametrize("model", QUESTIONS)
async def test_an_answer_streams_is_kept_and_comes_with_its_numbers(
    server: ServerProcess, model: str
) -> None:
    shown = Shown()
    frame = {"v": 1, "type": "turn.submit", "client_id": uuid.uuid4().hex, "session_id": None}
    sampling = {**SAMPLING, "max_tokens": TOKENS[model]}
    said = {"text": QUESTIONS[model], "model": model, "sampling": sampling}
    async with connect(server.socket_url) as line:
        await line.send(json.dumps(frame | said))
        end = await until(line, shown, "message.end")
    assert end["status"] == "DONE"
    assert len(shown.seqs) > 4  # turn.started, deltas, message.end
    ((content, status, tokens, timings),) = server.rows(
        ROWS, {"id": uuid.UUID(end["message_id"]).hex}
    )
    assert content == shown.texts[end["message_id"]] != ""
    assert (status, tokens) == ("DONE", TOKENS[model])
    assert end["usage"]["output_tokens"] == TOKENS[model]
    assert json.loads(timings) == end["timings"]
    assert end["timings"]["first_token_s"] > 0
    assert end["timings"]["tokens_per_s"] > 0


async def test_an_answer_that_had_company_is_replayed_token_by_token(tmp_path: Path) -> None:
    its = ServerProcess(
        tmp_path,
        TINYLLM_ENGINE_FACTORY="chat.engine.build",
        TINYLLM_DEVICE=DEVICE,
        TINYLLM_DETERMINISTIC="1",
    )
    its.migrate().start()
    try:
        ends = await asyncio.gather(*(_answer(its, question) for question in QUESTIONS.values()))
    finally:
        assert its.end() == 0
    for end in ends:
        ((generation, record),) = its.rows(
            "select id, engine from chat_generation where message_id = :id",
            {"id": uuid.UUID(end["message_id"]).hex},
        )
        assert json.loads(record)["device"] == DEVICE
        told = its.manage("replay", str(uuid.UUID(generation)))
        assert told.returncode == 0, told.stderr
        assert "identical" in told.stdout.lower()


async def _answer(server: ServerProcess, question: str) -> dict[str, Any]:
    frame = {"v": 1, "type": "turn.submit", "client_id": uuid.uuid4().hex, "session_id": None}
    said = {"text": question, "model": "chat", "sampling": {**SAMPLING, "max_tokens": 200}}
    async with connect(server.socket_url) as line:
        await line.send(json.dumps(frame | said))
        return await until(line, Shown(), "message.end")
