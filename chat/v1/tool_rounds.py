"""A response whose calls the site runs: each answer with calls in it is a turn, what they gave is
the message of the next one, and all of them are one response, named after the first answer."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from chat.live import LiveTurn
from chat.site_tools.kinds import Ran
from chat.site_tools.process import run
from chat.submission import Submission
from chat.v1.course import Course
from chat.v1.kept_turn import begin, said
from chat.v1.replies import Answer
from chat.v1.response_frames import ResponseShape
from chat.v1.response_output import Output, call_id
from chat.v1.response_prompt import Told
from chat.v1.running import Said
from chat.v1.tool_prompt import in_words, syntax_of
from chat.v1.tool_reading import kept_reading, reader_again
from chat.v1.tool_wording import wording
from chat.v1.tools import Offer

MOST = 8
"""Answers of one response."""


class ToolRounds:
    """From the turn that was begun with `submission` on."""

    def __init__(
        self, turn: LiveTurn, submission: Submission, told: Told, *, owner_id: uuid.UUID
    ) -> None:
        assert told.offer is not None
        self.course, self._first, self._codec = Course(turn), submission, told.codec
        self._owner_id = owner_id
        # insisted on once: else the model would never come to say something
        self._offer = Offer(told.offer.tools, single=told.offer.single)
        self._earlier: list[str] = []
        self._results: list[dict[str, Any]] = []

    def goes_on(self, answer: Answer, output: Output) -> bool:
        """Whether calls are to be run now."""
        ended = answer.finished is not None and answer.finished.reason == "stop"
        if not ended or not output.waiting or len(self._earlier) + 1 == MOST:
            return False
        self.course.pause()
        return True

    async def run(self, item: dict[str, Any]) -> Ran:
        """Raises Stopped."""
        ran = await self.course.run(item["id"], run(item["name"], item["arguments"]))
        content = f"Error: {ran.text}" if ran.failed else ran.text
        its = {"tool_call_id": call_id(item["id"]), "name": item["name"]}
        self._results.append({"role": "tool", "content": content, **its})
        return ran

    async def next(self, shape: ResponseShape, answer: Answer) -> AsyncGenerator[Said, None]:
        """The answer to what `answer` called. Raises Stopped, ChatError, EngineError."""
        started, results = self.course.turn.started, tuple(self._results)
        self._earlier.append(started.message_id.hex)
        self._results.clear()
        reading = kept_reading(self._offer, syntax_of(self._codec.tools_template))
        rounds = {
            "earlier": [*self._earlier],
            "items": shape.output.items,
            "spent": shape.sums(answer),
            "created": shape.head.created,
        }
        first = self._first
        submission = replace(
            first,
            text=in_words(results, ())[0]["content"],
            session_id=started.session_id,
            parent_id=started.message_id,
            settings=None,
            history=(),
            sampling={**first.sampling, "constraint": None},
            request={**(first.request or {}), "reading": reading, "rounds": rounds},
            wording=wording(self._codec, self._offer),
            spoken=results,
        )
        async with self.course.next_turn():
            turn = self.course.turn = await begin(submission, owner_id=self._owner_id)
        shape.spent = shape.sums(answer)
        shape.output.next_round(reader_again(reading))
        return said(turn)
