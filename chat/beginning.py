"""How a turn begins: all that lies between a message and its rows, in one go on a database thread.

What is read is read before the transaction, and the prompt is made there too: nobody else waits to
write while it is.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from chat import engine, live_settings, sampling, selectors, services
from chat.errors import ModelChanged
from chat.prompting import continue_prompt
from chat.selectors import ContinueContext, PromptContext
from chat.services import StartedTurn, TurnPlan
from chat.submission import Regeneration, Submission, prompt_ids, same_tokens
from inference.errors import ContextLengthExceeded
from inference.types import GenerateRequest, SamplingParams


@dataclass(frozen=True, slots=True)
class Run:
    """What runs a turn. request_id: the caller's, which the engine's request carries as well."""

    codec: engine.PromptCodec
    process: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Begun:
    """request: None where the same message had been accepted before; `started` is its turn."""

    session_id: uuid.UUID
    seq: int
    started: StartedTurn | None = None
    request: GenerateRequest | None = None


def begin_turn(
    run: Run, *, owner_id: uuid.UUID, submission: Submission, params: SamplingParams
) -> Begun:
    """Raises ChatError, EngineError; nothing is written then."""
    if submission.client_id:
        known = selectors.turn_of_client_id(owner_id=owner_id, client_id=submission.client_id)
        if known:
            return Begun(*known)
    context = _context(owner_id, submission)
    messages = [*context.messages, {"role": "user", "content": submission.text}]
    ids = prompt_ids(run.codec, submission.model, context.previous, messages)
    plan = _plan(run, submission.model, ids, params)
    started = services.turn_start(
        owner_id=owner_id,
        session_id=submission.session_id,
        parent_id=context.parent_id,
        client_id=submission.client_id,
        text=submission.text,
        plan=plan,
    )
    return _begun(owner_id, started, plan, params, None)


def regenerate_turn(
    run: Run, *, owner_id: uuid.UUID, regeneration: Regeneration, params: SamplingParams
) -> Begun:
    """Raises as `begin_turn` does."""
    its = {"owner_id": owner_id, "session_id": regeneration.session_id}
    context = selectors.regenerate_context(**its, message_id=regeneration.message_id)
    assert context.parent_id is not None
    ids = prompt_ids(run.codec, regeneration.model, context.previous, context.messages)
    plan = _plan(run, regeneration.model, ids, params)
    started = services.turn_regenerate(**its, parent_id=context.parent_id, plan=plan)
    return _begun(owner_id, started, plan, params, None)


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
    plan = _plan(run, previous.model, ids, params)
    started = services.turn_continue(
        owner_id=owner_id, session_id=session_id, message_id=context.message_id, plan=plan
    )
    return _begun(owner_id, started, plan, params, answer_start)


def _context(owner_id: uuid.UUID, submission: Submission) -> PromptContext:
    """What the message answers. Raises SessionNotFound, MessageNotFound."""
    if submission.session_id is None:
        return PromptContext(None, [], None)
    return selectors.prompt_context(
        owner_id=owner_id,
        session_id=submission.session_id,
        parent_id=submission.parent_id,
        newest=submission.newest,
    )


def _plan(run: Run, model: str, ids: list[int], params: SamplingParams) -> TurnPlan:
    room = max(1, run.codec.context_length - len(ids))
    return TurnPlan(
        model=model,
        prompt_ids=ids,
        sampling=sampling.as_json(params),
        fingerprint=engine.fingerprint(run.codec),
        process=run.process,
        request_id=run.request_id,
        wanted=min(room, params.max_tokens or room),
    )


def _begun(
    owner_id: uuid.UUID,
    started: StartedTurn,
    plan: TurnPlan,
    params: SamplingParams,
    answer_start: int | None,
) -> Begun:
    assert started.charge is not None
    params = replace(params, **started.charge.sampling)
    request = GenerateRequest(
        request_id=plan.request_id,
        model=plan.model,
        prompt_ids=tuple(plan.prompt_ids),
        sampling=params,
        answer_start=answer_start,
        tenant=str(owner_id),
        deadline_s=live_settings.value("TINYLLM_DEADLINE_S") or None,
        session=str(started.session_id),
    )
    return Begun(started.session_id, started.seq, started, request)
