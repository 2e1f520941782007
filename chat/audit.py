"""The audit log: who changed what. `record` is called by whoever does the change, in the same
transaction where there is one."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from functools import reduce
from operator import or_
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponseBase

from chat.models import AuditEntry, User
from chat.user_keys import as_uuid

NOBODY = "command line"
"""Who acts where there is no request: whoever has a shell on the server."""
THE_SITE = "the site itself"
"""Who does what an operator's setting asks for, when it is time."""

ERASED = "(erased)"

_request: ContextVar[HttpRequest | None] = ContextVar("audited_request", default=None)


def record(
    action: str,
    *,
    target_type: str = "",
    target_id: object = "",
    target: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    by: User | str | None = None,
) -> None:
    """before, after: plain values, without secrets and texts. by: who acts, where that is not the
    person whose request this is. In a database thread."""
    actor_id, actor = _named(by) if by is not None else _actor()
    AuditEntry.objects.create(
        actor_id=actor_id,
        actor=actor,
        action=action,
        target_type=target_type,
        target_id=str(target_id)[:200],
        target=target[:200],
        before=before,
        after=after,
    )


def forget(*, user_id: uuid.UUID, username: str) -> None:
    """A person who is erased has no name here either: the one change to what is written. What they
    did stays, and what was done to what was theirs, and when."""
    entries: QuerySet[AuditEntry] = QuerySet(AuditEntry)  # the model's own only adds
    entries.filter(actor_id=as_uuid(user_id)).update(actor=ERASED, actor_id=None)
    names = [f"{side}__{name}" for side in ("before", "after") for name in ("owner", "user")]
    theirs = entries.filter(reduce(or_, (Q(**{name: username}) for name in names)))
    things = list(theirs.values_list("target_type", "target_id").distinct())
    account = str(get_user_model()._meta.model_name)
    for target_type, target_id in [(account, str(user_id)), *things]:
        about = entries.filter(target_type=target_type, target_id=target_id)
        about.update(target=ERASED, target_id="", before=None, after=None)
    # The admin's own log calls a row by what it was called then.
    logged = LogEntry.objects.filter(content_type__model=account, object_id=str(user_id))
    quotas = LogEntry.objects.filter(content_type__model="quota", object_repr=username)
    for rows in (logged, quotas):
        rows.update(object_repr=ERASED, object_id="", change_message="")


def _named(by: User | str) -> tuple[uuid.UUID | None, str]:
    return (None, by) if isinstance(by, str) else (as_uuid(by.pk), by.get_username())


def _actor() -> tuple[uuid.UUID | None, str]:
    request = _request.get()
    user = getattr(request, "user", None)
    if user is None:
        return None, NOBODY
    if not user.is_authenticated:
        return None, "anonymous"
    return as_uuid(user.pk), user.get_username()


class AuditMiddleware:
    """Remembers whose request this is, for what is recorded while it is answered."""

    sync_capable = True
    async_capable = True

    def __init__(
        self, get_response: Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
    ) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._answer(request)
        token = _request.set(request)
        try:
            return self.get_response(request)
        finally:
            _request.reset(token)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        token = _request.set(request)
        try:
            return await cast(Awaitable[HttpResponseBase], self.get_response(request))
        finally:
            _request.reset(token)
