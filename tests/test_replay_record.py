"""Replay in deterministic mode of answers that took a crooked way, and of foreign records."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import AsyncClient

import kernels
from chat import engine
from chat.models import Generation, Message
from chat.packing import pack, unpack
from inference.engine_thread import EngineThread
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.scheduler import Chunk, Scheduler
from inference.sequence import Sequence
from tests.chat_client import Page
from tests.fake_engine import FakeEngine
from tests.process_engine import tiny_store
from tests.test_replay import change, newest, read_token_by_token, replayed
from tests.threaded_engine import Gate, gate, until

__all__ = ["gate"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.real_engine]

# Room for two of four answers.
OPTIONS = EngineOptions(
    device="cpu", threads=1, kv_tokens=192, max_batch=4, step_tokens=32, deterministic=True
)
ENGINE = {"device": "cpu", "backend": "auto", "dtype": "float32", "compute": "fp32"}
SAMPLED = {"temperature": 1.2, "top_p": 0.95, "presence_penalty": 0.8, "ignore_eos": True}


@pytest.fixture
async def crowded(site: FakeEngine, settings: Any, tmp_path: Path) -> AsyncIterator[EngineThread]:
    """The site with a real engine in deterministic mode that has little room."""
    settings.TINYLLM_DEVICE, settings.TINYLLM_MODELS_DIR = "cpu", tmp_path / "models"
    settings.TINYLLM_THREADS, settings.TINYLLM_DETERMINISTIC = 1, True
    its = EngineThread(tiny_store(settings.TINYLLM_MODELS_DIR), OPTIONS)
    await its.start()
    engine.install(its)
    yield its
    await its.stop()
    kernels.use_products(kernels.Products())


async def ask(text: str, tokens: int, **where: Any) -> dict[str, Any]:
    """The end of a turn."""
    async with Page() as page:
        sampling = {**SAMPLED, "max_tokens": tokens}
        await page.submit(text, model="tiny", sampling=sampling, **where)
        return await page.until("message.end")


async def row_of(end: dict[str, Any]) -> Generation:
    return await Generation.objects.aget(message_id=end["message_id"])


async def test_put_aside_or_begun_from_the_cache_it_is_replayed(
    crowded: EngineThread, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    aside: list[str] = []
    put_aside = Scheduler._put_aside

    def counted(scheduler: Scheduler, sequence: Sequence) -> None:
        aside.append(sequence.request.request_id)
        put_aside(scheduler, sequence)

    monkeypatch.setattr(Scheduler, "_put_aside", counted)
    gate.close()
    asking = asyncio.gather(*(ask(f"Tell me of {n}", 50) for n in range(4)))
    await until(lambda: len(crowded._mailboxes) == 4)  # all want the little room at once
    gate.open = True
    gate.allow()
    ends = await asking
    rows = [await row_of(end) for end in ends]
    assert aside
    assert set(aside) <= {row.request_id for row in rows}
    first = await ask("Tell me", 20)  # read last, so it is still there
    where = {"session_id": first["session_id"], "parent_id": first["message_id"]}
    second = await row_of(await ask("And?", 20, **where))
    assert second.cached_tokens > 0
    for row in (*rows, second):
        assert (row.deterministic, row.engine) == (True, ENGINE)
        tokens = len(unpack(row.output_ids))
        assert await replayed(row.id) == (0, f"identical: {tokens} tokens\n")


async def test_an_altered_token_behind_a_cached_beginning_is_named_with_its_gap(
    crowded: EngineThread, settings: Any
) -> None:
    first = await ask("Tell me", 40)
    where = {"session_id": first["session_id"], "parent_id": first["message_id"]}
    row = await row_of(await ask("And?", 20, **where))
    ids = unpack(row.output_ids)
    altered = [*ids[:19], (ids[19] + 1) % 512]
    await change(row, output_ids=pack(altered))
    code, out = await replayed(row.id, "--json")
    report = json.loads(out)
    found = report["difference"]
    assert (code, found["position"], row.cached_tokens > 0) == (1, 19, True)
    assert (found["recorded"]["id"], found["replayed"]["id"]) == (altered[19], ids[19])
    logits = read_token_by_token(
        settings.TINYLLM_MODELS_DIR / "tiny", [*unpack(row.prompt_ids), *ids[:19]]
    )
    gap = float(logits[ids[19]] - logits[altered[19]])
    assert found["gap"] == pytest.approx(gap, abs=1e-4)
    assert report["made_with"] == ENGINE
    assert report["replayed_with"] == {**ENGINE, "deterministic": True}


@pytest.mark.usefixtures("crowded")
async def test_stopped_and_continued_it_is_replayed(gate: Gate) -> None:
    async with Page() as page:
        gate.close()
        gate.allow(20)
        await page.submit("Tell me", model="tiny", sampling={**SAMPLED, "max_tokens": 130})
        delta = await page.until("message.delta")
        await page.send("turn.stop", session_id=delta["session_id"])
        end = await page.until("message.end")
        gate.open = True
        gate.allow()
        stopped = await newest()
        ids = {name: end[name] for name in ("session_id", "message_id")}
        await page.send("turn.continue", **ids)
        await page.until("message.end")
    continued = await newest()
    assert (stopped.status, stopped.engine) == ("STOPPED", ENGINE)
    assert (continued.status, continued.engine) == ("DONE", ENGINE)
    for row in (stopped, continued):
        code, out = await replayed(row.id)
        assert (code, out.startswith("identical: ")) == (0, True), out


@pytest.mark.usefixtures("crowded")
async def test_gone_on_with_from_another_token_it_is_replayed() -> None:
    """Penalties count the tokens that the answer was given as its own, here as there; and the
    glass box tells the odds of all."""
    first = await ask("Tell me", 16)
    ids = {"session_id": first["session_id"], "message_id": first["message_id"]}
    async with Page() as page:
        await page.send("turn.branch_token", **ids, index=6, token_id=300)
        end = await page.until("message.end")
    old, row = await row_of(first), await row_of(end)
    assert unpack(row.prompt_ids) == [*unpack(old.prompt_ids), *unpack(old.output_ids)[:6], 300]
    assert len(unpack(row.output_ids)) == 16
    assert await replayed(row.id) == (0, "identical: 16 tokens\n")
    path = f"/api/messages/{end['message_id']}/tokens"
    listed = (await AsyncClient().get(path)).json()["tokens"]
    text = (await Message.objects.aget(id=end["message_id"])).content
    assert "".join(token["text"] for token in listed) == text
    odds = (await AsyncClient().get(f"{path}/0?count=23")).json()
    assert odds["changed"] == []
    assert [token["given"] for token in odds["tokens"]] == [True] * 7 + [False] * 16
    assert all(token["token"]["sampled"] > 0 for token in odds["tokens"] if not token["given"])


def breaks(its: EngineThread) -> None:
    raise RuntimeError("the step broke")


def an_hour_passes(its: EngineThread) -> None:
    for active in its.engines()[0]._active.values():
        active.arrived -= 3600


@pytest.mark.parametrize(
    ("what_happens", "code"), [(breaks, "request_failed"), (an_hour_passes, "deadline_exceeded")]
)
async def test_however_it_ends_its_record_says_what_computed_it(
    crowded: EngineThread,
    monkeypatch: pytest.MonkeyPatch,
    settings: Any,
    what_happens: Callable[[EngineThread], None],
    code: str,
) -> None:
    settings.TINYLLM_DEADLINE_S = 3600
    steps, run = itertools.count(), ModelRunner.run

    def run_until_it_happens(runner: ModelRunner, chunks: tuple[Chunk, ...]) -> Any:
        if next(steps) == 9:
            what_happens(crowded)
        return run(runner, chunks)

    with monkeypatch.context() as patched:
        patched.setattr(ModelRunner, "run", run_until_it_happens)
        row = await row_of(await ask("Tell me", 60))
    assert row.error
    assert (row.status, row.error["code"]) == ("FAILED", code)
    assert (row.deterministic, row.engine) == (True, ENGINE)
    tokens = len(unpack(row.output_ids))
    assert 0 < tokens < 60
    assert await replayed(row.id) == (0, f"identical: {tokens} tokens\n")


@pytest.mark.usefixtures("crowded")
async def test_a_record_from_another_machine_says_what_is_different_here() -> None:
    row = await row_of(await ask("Tell me", 24))
    await change(row, engine={**ENGINE, "device": "cuda", "dtype": "float16"})
    expected = (
        "Changed since: device (was cuda, is cpu).\n"
        "Changed since: dtype (was float16, is float32).\n"
    )
    assert await replayed(row.id) == (0, f"{expected}identical: 24 tokens\n")
    ids = unpack(row.output_ids)
    await change(row, output_ids=pack([*ids[:-1], (ids[-1] + 1) % 512]))
    code, out = await replayed(row.id)
    assert (code, out.startswith(expected)) == (1, True)
    made = "device cuda, backend auto, dtype float16, compute fp32"
    now = "device cpu, backend auto, dtype float32, compute fp32, deterministic True"
    assert f"Made with {made}; replayed with {now}." in out
    await change(row, engine={})
    assert f"Replayed with {now}; the record does not say" in (await replayed(row.id))[1]
