"""Where there is no time to render, text goes out all the same, and the end makes good for it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from chat import live_blocks
from chat.live_blocks import LiveBlocks
from chat.rendering import render_blocks
from tests.chat_client import Page
from tests.fake_engine import FakeEngine

PIECES = [f"word{number} **bold** and\n\n" for number in range(12)]


@pytest.mark.django_db(transaction=True)
@pytest.mark.fake_engine
async def test_frames_without_blocks_carry_their_text(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LONGEST_REST_S", "LONGEST_WAIT_S"):
        monkeypatch.setattr(live_blocks, name, 1e9)
    monkeypatch.setattr(live_blocks, "SHARE", 1e-9)
    monkeypatch.setattr(LiveBlocks, "_free_at", 0.0)
    site.script, site.delay = lambda request: PIECES, 0.03
    async with Page() as page:
        await page.submit("Go")
        frames = [await page.receive()]
        while frames[-1]["type"] != "message.end":
            frames.append(await page.receive())
    deltas = [frame for frame in frames if frame["type"] == "message.delta"]
    assert "blocks" in deltas[0]
    assert len(deltas) > 2
    assert not any("blocks" in delta for delta in deltas[1:])
    ((name, text),) = page.shown.texts.items()
    assert text == "".join(PIECES)
    assert page.shown.blocks[name] == render_blocks(text)


def test_each_answer_gets_its_part_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            self.now += 0.01  # each look takes as long as half a rendering
            return self.now

    clock = Clock()
    monkeypatch.setattr(live_blocks, "time", clock)
    monkeypatch.setattr(LiveBlocks, "_in_use", 3)
    monkeypatch.setattr(LiveBlocks, "_free_at", 0.0)
    its, other = LiveBlocks("", 1), LiveBlocks("", 1)
    dues = [(its.are_due, other.are_due)]
    its.changed("Some text", 2, None)
    # 10 ms for rendering, a twentieth of the time: 200 ms, and for each of three answers 600 ms
    for wait in (0.0, 0.15, 0.03, 0.3, 0.1):
        clock.now += wait
        dues.append((its.are_due, other.are_due))
    none, others, both = (False, False), (False, True), (True, True)
    assert dues == [both, none, none, others, others, both]


def test_one_rendering_that_takes_long_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(live_blocks, "time", clock)
    monkeypatch.setattr(LiveBlocks, "_in_use", 100)
    monkeypatch.setattr(LiveBlocks, "_free_at", 0.0)
    its, other = LiveBlocks("", 1), LiveBlocks("", 1)
    push = its._renderer.push

    def slow(text: str) -> tuple[int, list[str]]:
        now[0] += 1.0
        return push(text)

    monkeypatch.setattr(its._renderer, "push", slow)
    its.changed("Some text", 2, None)
    now[0] += live_blocks.LONGEST_REST_S
    assert (its.are_due, other.are_due) == (False, True)
    now[0] += live_blocks.LONGEST_WAIT_S
    assert its.are_due
