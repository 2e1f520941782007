"""What lies between the site and an engine process: messages, what waits to be sent, restarts."""

from __future__ import annotations

import inspect
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from inference import errors
from inference.child_process import in_words
from inference.device_check import raise_if_lost
from inference.engine_child import Outbox
from inference.engine_commands import Delivery, Report, Said
from inference.engine_wire import Unpacker, pack
from inference.errors import ContextLengthExceeded, DeviceLost, EngineError
from inference.examination import Embedded
from inference.latencies import Latencies
from inference.logprobs import TokenLogprobs
from inference.restarts import HEALTHY_S, LONGEST_PAUSE_S, Restarts
from inference.types import (
    Began,
    Delta,
    EngineSetup,
    Finished,
    Loading,
    PromptProgress,
    Queued,
    Timings,
)
from tests.server_process import ROOT

# Messages


def kinds_of_errors() -> list[Any]:
    found = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    return [each for each in found if issubclass(each, EngineError)]


@pytest.mark.parametrize("kind", kinds_of_errors())
def test_an_error_travels_whole(kind: Any) -> None:
    values = {"int": 1, "float": 1.5, "list[str]": ["x"]}
    given, named = [], {}
    for parameter in inspect.signature(kind).parameters.values():
        value = values.get(str(parameter.annotation), "y")
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = value
        elif parameter.kind is not parameter.VAR_KEYWORD:
            given.append(value)
    error = kind(*given, **named)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(again) is kind
    assert (str(again), again.message, again.fields) == (str(error), error.message, error.fields)


@pytest.mark.parametrize("size", [1, 3, 4, 7, 10**6])
def test_messages_come_out_of_pieces_of_any_size(size: int) -> None:
    messages = ["", {"a": 1}, "x" * 1000, [], (1, 2)]
    stream = b"".join(map(pack, messages))
    unpacker, got = Unpacker(), []
    for start in range(0, len(stream), size):
        got += list(unpacker.feed(stream[start : start + size]))
    assert got == messages


def test_a_delivery_comes_out_as_it_went_in() -> None:
    """Deltas travel as plain tuples, and are deltas again: also where there is nothing in them."""
    told = (TokenLogprobs(65, -0.25, 1, ((65, -0.25), (66, -2.5))), TokenLogprobs(66, -9.0, 7, ()))
    setup = EngineSetup("cpu", "ours", "float32", "fp32")
    report = Report((), (Path("models/tiny"), 7), {}, "cpu", 10**9, Latencies())
    said: list[Said] = [
        Queued(2),
        Began(setup, deterministic=False),
        Delta("AB", (65, 66), (0, 1), told),
        Delta("é", (195, 169), (2, 2)),
        Delta("", (), ()),
        PromptProgress(1, 2),
        report,
        Embedded(((0.5, 1.0),)),
        Finished("stop", 1, 4, 0, 0, Timings()),
    ]
    error = ContextLengthExceeded(9, 8)
    delivery: Delivery = [(ticket, each) for ticket, each in enumerate([*said, error])]
    before = pickle.dumps(delivery)
    ((*got, (last, failure)),) = Unpacker().feed(pack(delivery))
    assert got == list(enumerate(said))
    assert [type(each) for _, each in got] == [type(each) for each in said]
    assert (last, type(failure), failure.fields) == (len(said), type(error), error.fields)
    logprobs = got[2][1].logprobs
    assert [type(each) for each in logprobs] == [TokenLogprobs] * 2
    assert got[3][1].joined(Delta("!", (33,), (3,))) == Delta("é!", (195, 169, 33), (2, 2, 3))
    assert pickle.dumps(delivery) == before, "who sends it may look at it still"


def test_there_is_no_torch_in_the_site_beside_an_engine_process() -> None:
    code = "import sys, inference.engine_process; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# What waits to be sent


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a socket that holds little."""
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with ours, theirs:
        yield ours, theirs


def received(end: socket.socket, tickets: int) -> tuple[dict[int, list[Said]], int]:
    """What was said by ticket, until that many have finished; and in how many messages."""
    unpacker, said, count = Unpacker(), {n: list[Said]() for n in range(tickets)}, 0
    while not all(each and isinstance(each[-1], Finished) for each in said.values()):
        for delivery in unpacker.feed(end.recv(1 << 16)):
            count += 1
            for ticket, event in delivery:
                said[ticket].append(event)
    return said, count


def test_a_full_socket_holds_nobody_up_and_loses_nothing(
    line: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = line
    outbox, steps, tickets = Outbox(ours), 5000, 3
    for ticket in range(tickets):
        waiting = (Queued(2), Queued(1), Loading(1, 4), Loading(3, 4), PromptProgress(1, 2))
        outbox.put([(ticket, event) for event in waiting])
    for step in range(steps):  # far more than the socket holds, and nobody reads
        outbox.put([(t, Delta(f"{step} ", (step,), (t,))) for t in range(tickets)])
    outbox.put([(t, Finished("stop", 1, steps, 0, 0, Timings())) for t in range(tickets)])
    closing = threading.Thread(target=outbox.close)
    closing.start()
    said, messages = received(theirs, tickets)
    closing.join()
    assert messages < steps / 10
    for ticket, events in said.items():
        deltas = [event for event in events if isinstance(event, Delta)]
        assert "".join(d.text for d in deltas) == "".join(f"{n} " for n in range(steps))
        assert [t for d in deltas for t in d.token_ids] == list(range(steps))
        assert [o for d in deltas for o in d.offsets] == [ticket] * steps
        assert events[:3] == [Queued(1), Loading(3, 4), PromptProgress(1, 2)]


# Restarts


def test_restarts_are_quick_twice_and_then_slower_and_slower() -> None:
    restarts = Restarts()
    pauses = [restarts.pause_after(1) for _ in range(8)]
    assert pauses == [0, 0, 5, 10, 20, 40, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    assert restarts.pause_after(HEALTHY_S) == 0
    assert [restarts.pause_after(1) for _ in range(2)] == [0, 5]
    assert [restarts.pause_after(0) for _ in range(5000)][-1] == LONGEST_PAUSE_S


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "its process stopped answering"),
        (-9, "its process was ended by signal 9 (Killed)"),
        (7, "its process ended with status 7"),
    ],
)
def test_the_end_of_a_process_in_words(status: int | None, words: str) -> None:
    assert in_words(status) == words


# Devices


def test_a_device_that_refuses_further_work_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: torch.device) -> None:
        raise RuntimeError("CUDA error: unspecified launch failure\nCompile with ...")

    trapped, cuda = ValueError("something else"), torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "synchronize", refuse)
    raise_if_lost(torch.device("cpu"), trapped)
    with pytest.raises(DeviceLost, match=r"\(CUDA error: unspecified launch failure\)") as lost:
        raise_if_lost(cuda, trapped)
    assert lost.value.__cause__ is trapped
    assert (lost.value.status, lost.value.retryable, lost.value.code) == (
        503,
        True,
        "engine_crashed",
    )
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    raise_if_lost(cuda, trapped)
