"""A session that is deleted leaves nothing in the engine, neither in its cache nor on disk.

However its row goes, through the API, the admin, a shell or with its owner, Django tells us here.
What is deleted while no server runs, or no engine hears it, is found by `sweep`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from functools import partial
from typing import Any

import structlog
from django.db import DatabaseError, transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver

from chat import engine, selectors
from chat.database import in_database
from chat.models import Message, Session
from inference.errors import EngineError

SETTLE_S = 5.0
"""How long whoever deletes waits for the engine to have forgotten."""

_log = structlog.get_logger(__name__)

_forgetting: dict[str, Future[None]] = {}


@receiver(post_delete, sender=Session)
def _session_deleted(instance: Session, **_: Any) -> None:
    transaction.on_commit(partial(forget, str(instance.id)))


@receiver(post_delete, sender=Message)
def _message_deleted(instance: Message, **_: Any) -> None:
    """What was computed holds the text of all messages together."""
    transaction.on_commit(partial(forget, str(instance.session_id)))


async def settled() -> None:
    """Until the engine has forgotten what was deleted so far, or for SETTLE_S."""
    waits = [asyncio.wrap_future(future) for future in _forgetting.copy().values()]
    if waits:
        await asyncio.wait(waits, timeout=SETTLE_S)


async def sweep() -> None:
    """Have the engine forget what it keeps of sessions that are gone."""
    try:
        saved = await engine.client().saved_sessions()
        known = await in_database(selectors.sessions_known, names=saved)
    except (EngineError, DatabaseError, OSError) as error:
        _log.warning("sweep_failed", reason=str(error))
        return
    for session in saved - known:
        forget(session)


def forget(session: str) -> None:
    """Have the engine forget it. Never waits."""
    if session in _forgetting:
        return
    try:
        future = engine.client().forget([session])
    except EngineError:
        return  # nobody keeps anything in this process
    _forgetting[session] = future
    future.add_done_callback(partial(_forgotten, session))


def _forgotten(session: str, future: Future[None]) -> None:
    _forgetting.pop(session, None)
    if not future.cancelled() and (error := future.exception()):
        _log.warning("session_not_forgotten", session=session, reason=str(error))
