"""How a turn begins: all that lies between a message and its rows, in one go on a database thread.

What is read is read before the transaction, and the prompt is made there too: nobody else waits to
write while it is.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from chat import engine, live_settings, prompt_selectors, sampling, selectors, services
from chat.context.reading import Asked, Reading, read, same_tokens
from chat.context.summary_task import SummaryTask, with_task
from chat.errors import InvalidRequest, ModelChanged, check_unicode
from chat.files.attach import shown_with
from chat.files.services import Shown
from chat.head_start import HeadStart
from chat.prompt_selectors import ContinueContext, PromptContext
from chat.prompting import Message, continue_prompt
from chat.session_settings.presets import default_settings
from chat.session_settings.values import checked, merged, system_prompt, when_full
from chat.submission import Regeneration, Submission, check_kept
from chat.turn_records import StartedTurn, TurnPlan
from chat.usage import limits_of
from inference.errors import ContextLengthExceeded
from inference.types import GenerateRequest, SamplingParams


@dataclass(frozen=True, slots=True)
class Run:
    """What runs a turn. defaults: of its model. request_id: the caller's, which the engine's
    request carries as well. head_start: where the engine may begin with it before it is written."""

    codec: engine.PromptCodec
    defaults: SamplingParams
    process: str
    request_id: str
    head_start: HeadStart | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """request: None where the same message had been accepted before; `started` is its turn.
    summary: what is to be made before the request, which then has another prompt."""

    session_id: uuid.UUID
    seq: int
    started: StartedTurn | None = None
    request: GenerateRequest | None = None
    summary: SummaryTask | None = None


def begin_turn(run: Run, *, owner_id: uuid.UUID, submission: Submission) -> Begun:
    """Raises ChatError, EngineError; nothing is written then."""
    if submission.client_id:
        check_unicode("client_id", submission.client_id)
        known = selectors.turn_of_client_id(owner_id=owner_id, client_id=submission.client_id)
        if known:
            return Begun(*known)
    context = _context(owner_id, submission)
    how, params = _asked(run, submission, context)
    how = _worded(how, submission)
    shown = shown_with(how, owner_id=owner_id, submission=submission, context=context)
    said = shown.prompt_text if shown else submission.text
    new = submission.spoken or [*submission.history, {"role": "user", "content": said}]
    reading, task = _read(how, context, [*context.messages, *new])
    plan = _planned(
        plan_of(run, submission.model, reading.ids, params, reading.record, shown), task
    )
    limits = limits_of(owner_id=owner_id)
    plan = replace(plan, request=submission.request, limits=limits)
    session_id = submission.session_id or uuid.uuid4()
    request = request_of(owner_id, session_id, plan, params, logprobs=submission.logprobs)
    # whoever has limits is not served before they are looked at, and a summary comes first
    if run.head_start is not None and task is None and limits.are_none:
        run.head_start.of(request, is_new=submission.session_id is None)
    started = services.turn_start(
        owner_id=owner_id,
        session_id=submission.session_id,
        parent_id=context.parent_id,
        client_id=submission.client_id,
        text=submission.text,
        plan=plan,
        settings=dict(context.settings),
        history=submission.history,
        new_id=session_id,
    )
    return replace(begun(started, request), summary=task)


def regenerate_turn(run: Run, *, owner_id: uuid.UUID, regeneration: Regeneration) -> Begun:
    """Raises as `begin_turn` does."""
    context = prompt_selectors.regenerate_context(
        owner_id=owner_id,
        session_id=regeneration.session_id,
        message_id=regeneration.message_id,
    )
    assert context.parent_id is not None
    how, params = _asked(run, regeneration, context)
    reading, task = _read(how, context, context.messages)
    shown = _shown_before(context)
    plan = plan_of(run, regeneration.model, reading.ids, params, reading.record, shown)
    plan = _planned(plan, task)
    started = services.turn_regenerate(
        owner_id=owner_id,
        session_id=regeneration.session_id,
        parent_id=context.parent_id,
        plan=plan,
    )
    request = request_of(owner_id, started.session_id, plan, params)
    return replace(begun(started, request), summary=task)


def continue_turn(
    run: Run, *, owner_id: uuid.UUID, session_id: uuid.UUID, context: ContinueContext
) -> Begun:
    """Raises ModelChanged, ContextLengthExceeded, and what `turn_continue` raises."""
    previous = context.previous
    if not same_tokens(run.codec, previous):
        raise ModelChanged(previous.model)
    ids, answer_start = continue_prompt(
        previous.prompt_ids, previous.output_ids, answer_start=context.answer_start
    )
    if len(ids) >= run.codec.context_length:
        raise ContextLengthExceeded(len(ids), run.codec.context_length)
    params = sampling.from_json(context.sampling)
    plan = plan_of(run, previous.model, ids, params, previous.context)
    started = services.turn_continue(
        owner_id=owner_id, session_id=session_id, message_id=context.message_id, plan=plan
    )
    return begun(started, request_of(owner_id, session_id, plan, params, answer_start))


def _context(owner_id: uuid.UUID, submission: Submission) -> PromptContext:
    """What the message answers. Raises SessionNotFound, MessageNotFound, InvalidRequest."""
    if submission.session_id is None:
        given = submission.settings
        own = default_settings(owner_id=owner_id) if given is None else checked(given)
        return PromptContext(None, [], None, settings=own)
    if submission.settings is not None:
        raise InvalidRequest(
            _("Settings come with the first message of a session only; later they are saved."),
            param="settings",
        )
    return prompt_selectors.prompt_context(
        owner_id=owner_id,
        session_id=submission.session_id,
        parent_id=submission.parent_id,
        newest=submission.newest,
    )


def _asked(
    run: Run, asked: Submission | Regeneration, context: PromptContext
) -> tuple[Asked, SamplingParams]:
    """What the prompt is to be read with, and what the answer is to be drawn with. Raises
    InvalidParameter, InvalidRequest."""
    its = context.settings
    params = sampling.seeded(merged(run.defaults, its, asked.sampling))
    how = Asked(
        run.codec,
        asked.model,
        system_prompt(its),
        when_full(its, run.codec.kind),
        params.max_tokens,
    )
    return how, params


def _worded(how: Asked, submission: Submission) -> Asked:
    """With what is said to the model for this turn alone."""
    system = "\n\n".join(filter(None, [submission.system, how.system_prompt]))
    how, wording = replace(how, system_prompt=system), submission.wording
    if wording is None:
        return how
    return replace(how, codec=wording.codec, tools=wording.mark, opening=wording.opening)


def _read(
    how: Asked, context: PromptContext, messages: list[Message]
) -> tuple[Reading, SummaryTask | None]:
    return with_task(how, context, messages, read(how, context, messages))


def _planned(plan: TurnPlan, task: SummaryTask | None) -> TurnPlan:
    return plan if task is None else replace(plan, first=task.most_tokens)


def _shown_before(context: PromptContext) -> Shown | None:
    """What the message that is answered again was read with."""
    reading = context.readings.get(context.parent_id) if context.parent_id else None
    return Shown((), "", 0, reading.passages) if reading else None


def plan_of(
    run: Run,
    model: str,
    ids: list[int],
    params: SamplingParams,
    context: Mapping[str, Any],
    shown: Shown | None = None,
) -> TurnPlan:
    told = sampling.as_json(params)
    for name, value in told.items():
        check_kept(name, value)
    room = max(1, run.codec.context_length - len(ids))
    return TurnPlan(
        model=model,
        prompt_ids=ids,
        sampling=told,
        fingerprint=engine.fingerprint(run.codec),
        process=run.process,
        request_id=run.request_id,
        context=dict(context),
        shown=shown,
        wanted=min(room, params.max_tokens or room),
    )


def begun(started: StartedTurn, request: GenerateRequest) -> Begun:
    """request: as it was asked for; where an allowance ends sooner, so does the answer."""
    assert started.charge is not None
    if started.charge.sampling:
        params = replace(request.sampling, **started.charge.sampling)
        request = replace(request, sampling=params)
    return Begun(started.session_id, started.seq, started, request)


def request_of(
    owner_id: uuid.UUID,
    session_id: uuid.UUID,
    plan: TurnPlan,
    params: SamplingParams,
    answer_start: int | None = None,
    *,
    logprobs: int | None = None,
) -> GenerateRequest:
    return GenerateRequest(
        request_id=plan.request_id,
        model=plan.model,
        prompt_ids=tuple(plan.prompt_ids),
        sampling=params,
        answer_start=answer_start,
        logprobs=logprobs,
        tenant=str(owner_id),
        deadline_s=live_settings.value("TINYLLM_DEADLINE_S") or None,
        session=str(session_id),
    )
