"""Two branches share what they have in common, and so do a conversation and its summary: it is read
once, by the real engine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chat import engine
from chat.models import Generation, Summary
from chat.packing import unpack
from inference.engine_thread import EngineThread
from inference.options import EngineOptions
from tests.chat_client import Frame, Page
from tests.fake_engine import FakeEngine
from tests.process_engine import tiny_store

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.real_engine]

OPTIONS = EngineOptions(device="cpu", threads=1, kv_tokens=1024, max_batch=2)
SAMPLED = {"temperature": 1.0, "max_tokens": 24, "ignore_eos": True}
TALE = "Tell me of a lighthouse, a dragon and a very patient cat who lived by the sea."


@pytest.fixture
async def real(site: FakeEngine, settings: Any, tmp_path: Path) -> AsyncIterator[None]:
    """The site with a real engine that has room for both branches."""
    settings.TINYLLM_DEVICE, settings.TINYLLM_MODELS_DIR = "cpu", tmp_path / "models"
    its = EngineThread(tiny_store(settings.TINYLLM_MODELS_DIR), OPTIONS)
    await its.start()
    engine.install(its)
    yield
    await its.stop()


async def ended(page: Page) -> tuple[Frame, Generation]:
    end = await page.until("message.end")
    assert end["error"] is None
    return end, await Generation.objects.aget(message_id=end["message_id"])


@pytest.mark.usefixtures("real")
async def test_what_two_branches_have_in_common_is_read_once() -> None:
    async with Page() as page:
        await page.submit(TALE, model="tiny", sampling=SAMPLED)
        first, _row = await ended(page)
        where = {"session_id": first["session_id"], "parent_id": first["message_id"]}
        await page.submit("And then?", model="tiny", sampling=SAMPLED, **where)
        second, row = await ended(page)

        ids = {"session_id": second["session_id"], "message_id": second["message_id"]}
        await page.send("turn.regenerate", **ids, model="tiny", sampling=SAMPLED)
        _end, again = await ended(page)
        assert unpack(again.prompt_ids) == unpack(row.prompt_ids)
        block = len(unpack(row.prompt_ids)) - again.cached_tokens
        assert 0 < block <= 16, "all but the last block"

        await page.submit("And before?", model="tiny", sampling=SAMPLED, **where)
        _end, edited = await ended(page)
        shared = next(
            index
            for index, (one, other) in enumerate(
                zip(unpack(row.prompt_ids), unpack(edited.prompt_ids), strict=False)
            )
            if one != other
        )
        assert 0 < edited.cached_tokens <= shared
        assert shared - edited.cached_tokens < 16


@pytest.mark.usefixtures("real")
async def test_a_summary_is_made_of_what_is_in_the_cache_and_read_once() -> None:
    chosen = {"when_full": "summarise", "max_tokens": 24}
    async with Page() as page:
        where: dict[str, Any] = {"settings": chosen}
        rows: list[Generation] = []
        while not await Summary.objects.aexists():
            assert len(rows) < 20
            await page.submit(f"{len(rows)}. {TALE}", model="tiny", sampling=SAMPLED, **where)
            end, row = await ended(page)
            rows.append(row)
            where = {"session_id": end["session_id"], "parent_id": end["message_id"]}
        summary = await Summary.objects.aget()
        before = next(row for row in rows if row.message_id == summary.message_id)
        known = len(unpack(before.prompt_ids)) + len(unpack(before.output_ids))
        assert known - 16 <= summary.cached_tokens < summary.prompt_tokens
        await page.submit("And then?", model="tiny", sampling=SAMPLED, **where)
        _end, after = await ended(page)
    written = [*unpack(rows[-1].prompt_ids), *unpack(rows[-1].output_ids)]
    assert unpack(after.prompt_ids)[: len(written)] == written
    assert len(written) - 16 <= after.cached_tokens <= len(written)
