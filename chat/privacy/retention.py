"""How long conversations are kept: so many days after their last message, as the site's setting
says or a group of their owner.

Of several groups the shortest counts: that a text is gone by then was promised to, or asked of, one
of them, and joining another must not break it. A group goes before the setting, also with more days
or with 0, for ever. They are deleted as a person deletes them, and pinned ones too.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from django.contrib.auth import get_user_model
from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from chat import audit, live_settings
from chat.database import write_database
from chat.models import Generation, Retention, Session
from chat.session_edits import WAY_BACK, listed, purge_deleted
from chat.signals import announce_edit

BATCH = 50
"""Sessions of a transaction: answers that are being written wait for it."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """How long one person's conversations are. days: None for ever. group: which says so; None: the
    site's setting."""

    days: int | None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """due: sessions whose days are over. Those of a rule may be another's too."""

    days: int
    groups: tuple[str, ...]
    due: QuerySet[Session]


def kept_for(*, owner_id: uuid.UUID) -> Kept:
    rows = Retention.objects.filter(group__user=owner_id).select_related("group")
    said = sorted(rows, key=lambda row: row.days or float("inf"))
    if said:
        return Kept(said[0].days or None, said[0].group.name)
    return Kept(live_settings.value("TINYLLM_RETENTION_DAYS") or None)


def rules(*, now: datetime) -> Iterator[Rule]:
    """Those of groups, the shortest first, then the site's. Each is found by an index: a group's by
    its members, the site's by age."""
    groups_of_people = get_user_model().groups
    memberships = groups_of_people.through.objects
    member = groups_of_people.field.m2m_field_name()
    names: dict[int, list[str]] = {}
    for days, name in Retention.objects.values_list("days", "group__name").order_by("days"):
        names.setdefault(days, []).append(name)
    for days, groups in names.items():
        if days:
            members = memberships.filter(group__retention__days=days).values(member)
            yield Rule(days, tuple(groups), _older(now, days).filter(owner__in=members))
    days = live_settings.value("TINYLLM_RETENTION_DAYS")
    if days:
        others = memberships.filter(group__retention__isnull=False).values(member)
        yield Rule(days, (), _older(now, days).exclude(owner__in=others))


def _older(now: datetime, days: int) -> QuerySet[Session]:
    """No order, which would keep the database from using the members' index."""
    running = Generation.objects.filter(status=Generation.Status.RUNNING).values("session")
    old = Session.objects.filter(updated_at__lt=now - timedelta(days=days), deleted_at=None)
    return old.exclude(id__in=running).order_by()


@transaction.atomic
def sessions_expire(*, now: datetime, by: str) -> list[Session]:
    """Marks at most BATCH of those that are due as deleted so long ago that nobody can bring them
    back."""
    for rule in rules(now=now):
        found = list(rule.due.select_for_update(of=("self",))[:BATCH])
        if found:
            ids = [session.id for session in found]
            Session.objects.filter(id__in=ids).update(deleted_at=now - WAY_BACK)
            after = {"sessions": len(ids), "days": rule.days, "groups": list(rule.groups)}
            audit.record("retention.expire", target_type="session", after=after, by=by)
            return found
    return []


async def enforce(*, by: str) -> int:
    """Delete what is due, batch by batch. by: whom the audit log names. Returns how many it was.
    Raises DatabaseError."""
    count = 0
    while expired := await write_database(sessions_expire, now=timezone.now(), by=by):
        await purge_deleted()
        for session in expired:
            await announce_edit(session.owner_id, {**listed(session), "deleted": True})
        count += len(expired)
    return count


async def sweep() -> None:
    """As the server does every half a minute."""
    try:
        count = await enforce(by=audit.THE_SITE)
    except DatabaseError as error:
        _log.warning("retention_failed", reason=str(error))  # the next one finds them
        return
    if count:
        _log.info("sessions_expired", sessions=count)
