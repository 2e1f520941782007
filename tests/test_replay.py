"""Replay: a turn of the site, answered by the real engine, is run again from its row alone."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.utils import translation

import kernels
from chat import engine
from chat.database import in_database
from chat.models import Generation
from chat.packing import pack, unpack
from inference.engine_thread import EngineThread
from inference.kv_cache import KVCache
from inference.options import EngineOptions
from inference.replay import logits_after
from inference.runner import ModelRunner
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import GenerateRequest
from tests.chat_client import Page
from tests.fake_engine import FakeEngine
from tests.process_engine import tiny_store
from tests.threaded_engine import Gate, gate
from tests.tiny_llama import write_tiny_llama

__all__ = ["gate"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.real_engine]

GREEDY = {"temperature": 0, "max_tokens": 24}
PENALIZED = {**GREEDY, "repetition_penalty": 1.3, "logit_bias": {"40": 2}}
SAMPLED = {"temperature": 1.2, "top_p": 0.95, "max_tokens": 24}
# No text of so few tokens is whole: the answer ends by its length, whatever seed the site draws.
BOUND = {**SAMPLED, "constraint": {"kind": "regex", "text": "([a-f]{3} ){24,}"}}
KINDS = pytest.mark.parametrize(
    "sampling",
    [GREEDY, PENALIZED, SAMPLED, BOUND],
    ids=["greedy", "penalized", "sampled", "bound by a grammar"],
)
OPTIONS = {"device": "cpu", "threads": 1, "kv_tokens": 2048, "max_batch": 4, "step_tokens": 64}


@pytest.fixture
async def thread(
    site: FakeEngine, settings: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[EngineThread]:
    """The site with a real engine; the indirect parameter changes its options."""
    settings.TINYLLM_DEVICE, settings.TINYLLM_MODELS_DIR = "cpu", tmp_path / "models"
    settings.TINYLLM_THREADS, settings.TINYLLM_KV_TOKENS = 1, 16  # less than any answer needs
    options: dict[str, Any] = {**OPTIONS, **getattr(request, "param", {})}
    its = EngineThread(tiny_store(settings.TINYLLM_MODELS_DIR), EngineOptions(**options))
    await its.start()
    engine.install(its)
    yield its
    await its.stop()
    kernels.use_products(kernels.Products())


async def turn(**sampling: Any) -> Generation:
    """A turn from its frame to its ended row."""
    async with Page() as page:
        await page.submit("Tell me", model="tiny", sampling={"ignore_eos": True, **sampling})
        await page.until("message.end")
    return await newest()


async def newest() -> Generation:
    return await in_database(Generation.objects.latest, "created_at")


async def change(row: Generation, **fields: Any) -> None:
    await in_database(Generation.objects.filter(id=row.id).update, **fields)


async def replayed(name: object, *arguments: str) -> tuple[int, str]:
    """Exit status and output."""

    def call() -> tuple[int, str]:
        out = io.StringIO()
        try:
            call_command("replay", str(name), *arguments, stdout=out)
        except CommandError as error:
            return error.returncode, str(error)
        except SystemExit as ended:
            return int(ended.code or 0), out.getvalue()
        return 0, out.getvalue()

    return await in_database(call)


@pytest.mark.parametrize(
    "thread", [{}, {"deterministic": True}, {"context_tokens": 1024}], indirect=True
)
@KINDS
@pytest.mark.usefixtures("thread")
async def test_a_turn_gives_the_same_tokens_again(sampling: dict[str, Any]) -> None:
    row = await turn(**sampling)
    assert len(unpack(row.output_ids)) == 24
    assert await replayed(row.id) == (0, "identical: 24 tokens\n")
    code, out = await replayed(row.id, "--json")
    report = json.loads(out)
    assert (code, report["identical"], report["tokens"]) == (0, True, 24)
    assert report["made_deterministic"] is row.deterministic
    assert report["replayed_with"]["deterministic"] is row.deterministic


@pytest.mark.usefixtures("thread")
async def test_a_turn_with_guesses_is_recorded_and_guesses_again() -> None:
    row = await turn(**GREEDY, prompt_lookup=16, logit_bias={"100": 90})
    assert row.sampling["prompt_lookup"] == 16
    assert 0 < row.timings["accepted_tokens"] <= row.timings["drafted_tokens"]
    assert await replayed(row.id) == (0, "identical: 24 tokens\n")


@KINDS
@pytest.mark.usefixtures("thread")
async def test_an_altered_token_is_named_with_the_gap(
    sampling: dict[str, Any], settings: Any
) -> None:
    row = await turn(**sampling)
    ids = unpack(row.output_ids)
    altered = [*ids[:7], (ids[7] + 1) % 512, *ids[8:]]
    await change(row, output_ids=pack(altered))
    code, out = await replayed(row.id, "--json")
    report = json.loads(out)["difference"]
    assert (code, report["position"]) == (1, 7)
    assert (report["recorded"]["id"], report["replayed"]["id"]) == (altered[7], ids[7])
    row_of = read_token_by_token(
        settings.TINYLLM_MODELS_DIR / "tiny", [*unpack(row.prompt_ids), *ids[:7]]
    )
    gap = row_of[ids[7]] - row_of[altered[7]]
    assert report["gap"] == pytest.approx(float(gap), abs=1e-4)
    code, out = await replayed(row.id)
    assert code == 1
    assert "different from token 7 on (counted from 0, of 24)" in out
    assert f"recorded: {altered[7]} " in out
    assert "not made in deterministic mode: a small gap" in out
    assert ("the draw came after the logits" in out) is (sampling is not GREEDY)
    with translation.override("zh-hans"):
        assert "从第 7 个 token" in (await replayed(row.id))[1]


def read_token_by_token(directory: Path, tokens: list[int]) -> np.ndarray[Any, Any]:
    """The logits after these tokens, each computed by itself."""
    runner = ModelRunner(directory, EngineOptions(device="cpu", threads=1, kv_tokens=512))
    sequence = Sequence(GenerateRequest("r", "m", tuple(tokens)), len(tokens) + 1, 0, 0)
    KVCache(runner.blocks).grow(sequence, len(tokens))
    rows = [np.zeros(0)]
    for _ in tokens:
        rows = list(runner.run((Chunk(sequence, 1),))) or rows
        sequence.computed += 1
    return rows[-1]


def test_logits_of_a_long_text_are_read_in_pieces(tmp_path: Path) -> None:
    directory = write_tiny_llama(tmp_path / "tiny", context=1024)
    runner = ModelRunner(directory, EngineOptions(device="cpu", threads=1, kv_tokens=1024))
    tokens = [3 + i * i % 500 for i in range(700)]
    row = logits_after(runner, tokens)
    again = logits_after(runner, tokens[:-1])
    assert row.shape == again.shape == (512,)
    assert np.abs(row - again).max() > 0.1
    sequence = Sequence(GenerateRequest("r", "m", tuple(tokens)), 701, 0, 0)
    KVCache(runner.blocks).grow(sequence, 700)
    whole = runner.run((Chunk(sequence, 700),))[0]
    assert np.abs(row - whole).max() < 1e-3


@pytest.mark.usefixtures("thread")
async def test_what_a_stop_and_a_continuation_wrote_are_run_again_for_what_they_have(
    gate: Gate,
) -> None:
    async with Page() as page:
        long = {"temperature": 0, "max_tokens": 100, "ignore_eos": True}
        gate.close()
        gate.allow(20)
        await page.submit("Tell me", model="tiny", sampling=long)
        delta = await page.until("message.delta")
        while len(page.shown.texts[delta["message_id"]]) < 5:
            await page.until("message.delta")
        await page.send("turn.stop", session_id=delta["session_id"])
        end = await page.until("message.end")
        gate.open = True
        gate.allow()
        stopped = await newest()
        where = {"session_id": end["session_id"], "message_id": end["message_id"]}
        await page.send("turn.continue", **where)
        await page.until("message.end")
    continued = await newest()
    assert [stopped.status, continued.status] == ["STOPPED", "DONE"]
    for row in (stopped, continued):
        count = len(unpack(row.output_ids))
        assert await replayed(row.id) == (0, f"identical: {count} tokens\n")
    made = [json.loads((await replayed(row.id, "--json"))[1]) for row in (stopped, continued)]
    assert [report["made_deterministic"] for report in made] == [False, False]
    await change(stopped, sampling={**stopped.sampling, "temperature": 1}, seed=None)
    code, out = await replayed(stopped.id)
    assert (code, "broken off before its seed was known" in out) == (2, True)


@pytest.mark.usefixtures("thread")
async def test_what_ended_an_answer_is_run_again_too() -> None:
    """A token that stops is part of the record, and a shorter one is not gone past."""
    first = unpack((await turn(**GREEDY)).output_ids)
    row = await turn(**GREEDY, stop_token_ids=[first[10]])
    end = first.index(first[10]) + 1
    assert (row.finish_reason, unpack(row.output_ids)) == ("stop", first[:end])
    assert await replayed(row.id) == (0, f"identical: {end} tokens\n")


@pytest.mark.usefixtures("thread")
async def test_what_cannot_be_run_again_is_refused_with_its_name() -> None:
    unknown = uuid.uuid4()
    assert await replayed(unknown) == (2, f"There is no generation {unknown}.")
    assert await replayed("7") == (2, "'7' is not the id of a generation.")
    row = await turn(**GREEDY)
    await change(row, status="RUNNING")
    assert await replayed(row.id) == (2, f"The generation {row.id} is still being written.")
    await change(row, status="DONE", output_ids=b"")
    assert await replayed(row.id) == (2, f"The generation {row.id} has no tokens.")
    await change(row, output_ids=row.output_ids, model="gone")
    code, out = await replayed(row.id)
    assert (code, "no model called 'gone'" in out) == (2, True)


@pytest.mark.usefixtures("thread")
async def test_other_weights_are_refused_and_other_parts_are_named(settings: Any) -> None:
    row = await turn(**GREEDY)
    recorded = row.fingerprint
    await change(row, fingerprint={**recorded, "template": "f" * 64, "dtype": "float16"})
    template = recorded["template"][:12]
    assert await replayed(row.id) == (
        0,
        f"Changed since: template (was ffffffffffff, is {template}).\n"
        "Changed since: dtype (was float16, is auto).\n"
        "identical: 24 tokens\n",
    )
    await change(row, fingerprint=recorded)
    await asyncio.to_thread(write_tiny_llama, settings.TINYLLM_MODELS_DIR / "tiny", seed=1)
    code, out = await replayed(row.id)
    assert (code, f"than the record ({recorded['weights'][:12]})" in out) == (2, True)
    assert out.startswith("tiny has other weights now (")


@pytest.mark.usefixtures("thread")
async def test_the_mode_is_the_row_s_unless_another_is_asked_for(settings: Any) -> None:
    row = await turn(**GREEDY)
    settings.TINYLLM_DETERMINISTIC = True

    async def mode(*arguments: str) -> Any:
        out = (await replayed(row.id, "--json", *arguments))[1]
        return json.loads(out)["replayed_with"]["deterministic"]

    assert [await mode(), await mode("--deterministic")] == [False, True]
    await change(row, status="FAILED", engine={})  # nobody knows, so the settings decide
    assert [await mode(), await mode("--no-deterministic")] == [True, False]
