"""Random visitors of a real engine thread: they ask for much or too much, stay, leave, come late.

Everything about them is drawn from one seed before the first comes; when each comes follows from
when others have left, so there is no clock but that of the deadlines.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from inference.engine_commands import Cancel, Command, Delivery, Submit
from inference.engine_thread import EngineThread
from inference.errors import EngineError
from inference.options import EngineOptions
from inference.types import Delta, Finished, GenerateRequest, SamplingParams
from tests.process_engine import tiny_store

CONTEXT, VOCABULARY = 512, 512  # of `write_tiny_llama`
ENDS = ("stop", "length", "left", "deadline_exceeded")
REFUSED_S = 0.01  # before the next one comes
REFUSALS = ("context_length_exceeded", "invalid_parameter", "queue_full")


@dataclass(frozen=True)
class Visitor:
    """leaves: after so many tokens; None: stays to the end. ends: how it may end; where the request
    is impossible, only with that refusal."""

    request: GenerateRequest
    leaves: int | None
    ends: tuple[str, ...]


class WatchedThread(EngineThread):
    """Knows of every request that is submitted how often it was ended, and by whom."""

    def __init__(self, folder: Path, options: EngineOptions) -> None:
        super().__init__(tiny_store(folder), options)
        self.ends: dict[int, list[str]] = {}
        self.tickets: dict[str, int] = {}

    def _tell(self, command: Command) -> bool:
        if isinstance(command, Submit):
            self.ends[command.ticket] = []
            self.tickets[command.request.request_id] = command.ticket
        elif isinstance(command, Cancel):
            self.ends[command.ticket].append("cancelled")
        return super()._tell(command)

    def _deliver(self, delivery: Delivery) -> None:
        for ticket, said in delivery:
            ends = self.ends.get(ticket)
            if ends is not None:
                assert ends in ([], ["cancelled"]), f"{said} was said after {ends}"
                if isinstance(said, Finished | EngineError):
                    ends.append("told")
        super()._deliver(delivery)

    def let_go(self, name: str) -> list[str]:
        """How a request ended: "told" by the engine, "cancelled" by its reader."""
        return self.ends.pop(self.tickets.pop(name))


def draw_visitors(draw: random.Random, options: EngineOptions, count: int) -> Iterator[Visitor]:
    """Those who ask for what cannot be are one in sixteen."""
    room = min(CONTEXT, options.kv_tokens)
    for number in range(count):
        kind = draw.randrange(32)
        longest = min(60, room - 2)
        length = draw.randint(1, longest) if kind else room + draw.randint(0, 300)
        text, own = draw.randrange(4), draw.randrange(3, VOCABULARY)
        prompt = [3 + (text + 7 * i * i) % 500 for i in range(length - 1)] + [own]
        if kind == 1:
            prompt[draw.randrange(length)] = VOCABULARY + draw.randrange(9)
        impossible = {0: REFUSALS[:1], 1: REFUSALS[1:2]}.get(kind)
        request = GenerateRequest(
            f"visitor-{number}",
            "tiny",
            tuple(prompt),
            _draw_sampling(draw),
            answer_start=draw.choice((None, None, draw.randint(1, length))),
            tenant=draw.choice("abc"),
            priority=draw.choice((0, 0, 1, 2)),
            deadline_s=draw.choice((None, None, None, 10.0 ** draw.uniform(-4, -1))),
        )
        leaves = draw.choice((None, None, None, draw.randint(0, 20)))
        yield Visitor(request, leaves, impossible or (*ENDS, "queue_full"))


def _draw_sampling(draw: random.Random) -> SamplingParams:
    return SamplingParams(
        temperature=draw.choice((0.0, 0.7, 1.3)),
        top_p=draw.choice((1.0, 0.9)),
        repetition_penalty=draw.choice((1.0, 1.2)),
        seed=draw.choice((None, draw.randrange(1000))),
        max_tokens=draw.choice((1, *(draw.randint(2, 40) for _ in range(6)), None)),
        stop=draw.choice(((), (), ("e", "th"))),
        stop_token_ids=draw.choice(((), (), tuple(range(300, 320)))),
        ignore_eos=draw.random() < 0.5,
    )


async def visit(thread: WatchedThread, visitor: Visitor) -> str:
    """How it ended: one of ENDS or of REFUSALS."""
    name, count, end = visitor.request.request_id, 0, ""
    try:
        async with aclosing(thread.stream(visitor.request)) as events:
            async for event in events:
                assert not end, f"{name} goes on after its end"
                if isinstance(event, Delta):
                    count += len(event.token_ids)
                elif isinstance(event, Finished):
                    assert event.output_tokens == count, f"{name} lacks tokens"
                    end = event.reason
                    continue
                if visitor.leaves is not None and count >= visitor.leaves:
                    end = "left"
                    break
    except EngineError as error:
        assert not end, f"{name} fails after its end"
        end = error.code
    told = thread.let_go(name)
    # whoever leaves may have an end in the mailbox that is never read
    known = (["cancelled"], ["told", "cancelled"]) if end == "left" else (["told"],)
    assert told in known, f"{name} is {end}, {told}"
    assert end in visitor.ends, f"{name} ended as {end}"
    return end


async def play(
    thread: WatchedThread,
    visitors: Iterable[Visitor],
    *,
    together: int,
    on_end: Callable[[int], None] = lambda ended: None,
) -> Counter[str]:
    """How often each end came; `on_end` hears how many have ended. So many visitors are there at a
    time; when one goes the next comes. Afterwards the engine is as empty as before."""
    counts: Counter[str] = Counter()
    coming = iter(visitors)

    async def seat() -> None:
        for visitor in coming:
            end = await visit(thread, visitor)
            counts[end] += 1
            on_end(counts.total())
            await asyncio.sleep(REFUSED_S if end == "queue_full" else 0)

    async with asyncio.TaskGroup() as seats:
        for _ in range(together):
            seats.create_task(seat())
    await thread.stop()
    assert not thread.ends
    assert not thread._mailboxes
    for engine in thread.engines():
        engine.cache.check_integrity()
        assert engine.is_idle
        assert engine.cache.free_blocks == engine.cache.total_blocks
        assert not engine._active
        assert not engine._scheduler._turns
    return counts
