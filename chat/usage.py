"""What a turn costs its owner: reserved when it begins, settled when it ends, in the transaction of
its row each time. So two turns never slip under one limit together, and a crash costs what had
been written, when `recovery` ends the row.

Charged are a day's prompt and answer tokens, by UTC. A turn reserves its prompt and as many tokens
as its answer may have; near the limit that is what is left, and the answer ends there.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from math import ceil
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.formats import localize
from django.utils.translation import gettext as _

from chat import live_settings
from chat.errors import ChatError, WireError
from chat.models import Generation, Quota, Usage
from chat.places import places
from chat.rows import is_empty
from chat.user_keys import in_sql

HELD_RETRY_S = 30
"""When to come back where only turns that are running hold what is left."""
BUSY_RETRY_S = 5
DAYS_SHOWN = 30


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no limit."""

    tokens_per_day: int | None
    concurrent_turns: int | None

    @property
    def are_none(self) -> bool:
        return self.tokens_per_day is None and self.concurrent_turns is None


@dataclass(frozen=True, slots=True)
class Charge:
    """at: when the turn began, which says on which day it counts. max_tokens: of the answer, where
    its owner's allowance ends before it would; None: it does not."""

    owner_id: uuid.UUID
    at: datetime
    reserved: int = 0
    max_tokens: int | None = None

    @property
    def sampling(self) -> dict[str, Any]:
        """What changes in the turn's sampling."""
        return {} if self.max_tokens is None else {"max_tokens": self.max_tokens}


class QuotaExceeded(ChatError):
    """Fields: limit, used, reserved, resets_at, in tokens and as a time in ISO 8601."""

    code = "quota_exceeded"
    status = 429

    def __init__(self, limit: int, used: int, reserved: int, at: datetime) -> None:
        resets_at = _next_day(at)
        until_s = ceil((resets_at - at).total_seconds())
        is_held = reserved > 0 and used < limit
        said = {
            "used": localize(used),
            "limit": localize(limit),
            "reserved": localize(reserved),
            "time": resets_at.strftime("%Y-%m-%d %H:%M UTC"),
        }
        if is_held:
            words = _(
                "%(used)s of your %(limit)s tokens for today are used, and %(reserved)s are held "
                "by answers that are being written. Wait for one of them, or until %(time)s."
            )
        else:
            words = _(
                "Your %(limit)s tokens for today do not suffice: %(used)s are used. "
                "The next ones are there from %(time)s on."
            )
        fields = {"limit": limit, "used": used, "reserved": reserved}
        super().__init__(words % said, **fields, resets_at=resets_at.isoformat())
        self.retry_after_s = min(HELD_RETRY_S, until_s) if is_held else until_s


class TooManyTurns(ChatError):
    """Fields: limit."""

    code = "too_many_turns"
    status = 429
    retryable = True
    retry_after_s = BUSY_RETRY_S

    def __init__(self, limit: int) -> None:
        words = _("You may have %(limit)d answers written at once. Wait for one, or stop one.")
        super().__init__(words % {"limit": limit}, limit=limit)


def limits_of(*, owner_id: uuid.UUID) -> Limits:
    # to put the query together takes a sixth of a turn's beginning
    quotas = [] if is_empty(Quota) else _quotas_of(owner_id)
    return Limits(
        _limit(quotas, "tokens_per_day", live_settings.value("TINYLLM_TOKENS_PER_DAY")),
        _limit(quotas, "concurrent_turns", live_settings.value("TINYLLM_CONCURRENT_TURNS")),
    )


def _quotas_of(owner_id: uuid.UUID) -> list[Quota]:
    return list(Quota.objects.filter(Q(user_id=owner_id) | Q(group__user=owner_id)).distinct())


def _limit(quotas: list[Quota], name: str, default: int) -> int | None:
    said = [(quota.user_id is not None, getattr(quota, name)) for quota in quotas]
    own = [value for is_own, value in said if is_own and value is not None]
    groups = [value for is_own, value in said if not is_own and value is not None]
    value = own[0] if own else 0 if 0 in groups else max(groups, default=default)
    return value or None


def take_places(*, owner_id: uuid.UUID, answers: int) -> None:
    """Places among the answers that are written at once, for some that have no row; whoever takes
    them gives them back to `chat.places`. Raises TooManyTurns."""
    limits = limits_of(owner_id=owner_id)
    if not limits.concurrent_turns:
        places.take(owner_id, answers)
        return
    with transaction.atomic():
        _lock(owner_id)
        _check_places(owner_id, limits, answers)
        places.take(owner_id, answers)


def reserve(
    *,
    owner_id: uuid.UUID,
    prompt_tokens: int,
    wanted: int,
    has_place: bool = False,
    limits: Limits | None = None,
) -> Charge:
    """Within the transaction that writes the generation. wanted: tokens that the answer may have.
    has_place: by `take_places`. limits: of the owner, where they are known. Raises QuotaExceeded,
    TooManyTurns."""
    at = timezone.now()
    limits = limits_of(owner_id=owner_id) if limits is None else limits
    if limits.are_none:
        return Charge(owner_id, at)
    _lock(owner_id)
    if not has_place:
        _check_places(owner_id, limits)
    if not limits.tokens_per_day:
        return Charge(owner_id, at)
    used, reserved = _today(owner_id, at)
    left = limits.tokens_per_day - used - reserved - prompt_tokens
    if left < 1:
        raise QuotaExceeded(limits.tokens_per_day, used, reserved, at)
    cut = left if left < wanted else None
    charge = Charge(owner_id, at, prompt_tokens + min(left, wanted), cut)
    _add(owner_id, at, reserved=charge.reserved)
    return charge


def _lock(owner_id: uuid.UUID) -> None:
    """Until the end of the transaction nobody else reserves for this owner."""
    if connection.features.has_select_for_update:  # else only one transaction writes at a time
        get_user_model().objects.select_for_update(no_key=True).only("pk").get(pk=owner_id)


def _check_places(owner_id: uuid.UUID, limits: Limits, answers: int = 1) -> None:
    limit = limits.concurrent_turns
    if limit and _running(owner_id) + answers > limit:
        raise TooManyTurns(limit)


def settle(charge: Charge | None, prompt_tokens: int, output_tokens: int) -> None:
    """Within the transaction that ends the generation."""
    if charge is not None:
        its = {"prompt": prompt_tokens, "output": output_tokens, "turns": 1}
        _add(charge.owner_id, charge.at, reserved=-charge.reserved, **its)


def settle_row(charge: Charge | None, prompt_tokens: int, output_tokens: int) -> None:
    """The same in a database that has no room for another row: who has a limit has one already."""
    if charge is not None:
        Usage.objects.filter(user_id=charge.owner_id, day=charge.at.date()).update(
            prompt_tokens=F("prompt_tokens") + prompt_tokens,
            output_tokens=F("output_tokens") + output_tokens,
            reserved_tokens=F("reserved_tokens") - charge.reserved,
            turns=F("turns") + 1,
        )


def usage_of(*, owner_id: uuid.UUID) -> dict[str, Any]:
    """A person's own use and limits, as `UsageOfDaysOut` shows them."""
    now = timezone.now()
    limits = limits_of(owner_id=owner_id)
    since = now.date() - timedelta(days=DAYS_SHOWN - 1)
    rows = list(Usage.objects.filter(user_id=owner_id, day__gte=since).order_by("-day"))
    today = next((row for row in rows if row.day == now.date()), Usage(day=now.date()))
    used = today.prompt_tokens + today.output_tokens
    limit = limits.tokens_per_day
    return {
        "used": used,
        "reserved": today.reserved_tokens,
        "tokens_per_day": limit,
        "remaining": None if limit is None else max(0, limit - used - today.reserved_tokens),
        "resets_at": _next_day(now),
        "running": _running(owner_id),
        "concurrent_turns": limits.concurrent_turns,
        "days": rows,
    }


def refusal_headers(error: WireError) -> dict[str, str]:
    """What an API says of a refusal beside its body."""
    after = {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}
    known = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
    return {**after, **known, **rate_limit_headers(error)}


def rate_limit_headers(error: WireError) -> dict[str, str]:
    """What a refusal says in the headers that OpenAI's clients know."""
    if error.code == TooManyTurns.code:
        limit = str(error.fields["limit"])
        return {"x-ratelimit-limit-requests": limit, "x-ratelimit-remaining-requests": "0"}
    if error.code != QuotaExceeded.code:
        return {}
    left = error.fields["limit"] - error.fields["used"] - error.fields["reserved"]
    until = datetime.fromisoformat(error.fields["resets_at"]) - timezone.now()
    return {
        "x-ratelimit-limit-tokens": str(error.fields["limit"]),
        "x-ratelimit-remaining-tokens": str(max(0, left)),
        "x-ratelimit-reset-tokens": f"{max(0, ceil(until.total_seconds()))}s",
    }


def _today(owner_id: uuid.UUID, at: datetime) -> tuple[int, int]:
    """Used and reserved."""
    row = Usage.objects.filter(user_id=owner_id, day=at.date()).first() or Usage()
    return row.prompt_tokens + row.output_tokens, row.reserved_tokens


def _running(owner_id: uuid.UUID) -> int:
    running = Generation.objects.filter(status=Generation.Status.RUNNING)
    return running.filter(session__owner_id=owner_id).count() + places.held(owner_id)


def _next_day(at: datetime) -> datetime:
    return datetime.combine(at.astimezone(UTC).date() + timedelta(days=1), time(), UTC)


def _add(
    owner_id: uuid.UUID,
    at: datetime,
    *,
    prompt: int = 0,
    output: int = 0,
    reserved: int = 0,
    turns: int = 0,
) -> None:
    """To the row of that day, which may not be there yet: one statement, whoever else does so."""
    key = in_sql(owner_id)
    with connection.cursor() as cursor:
        cursor.execute(_ADD, [key, at.date().isoformat(), turns, prompt, output, reserved])


_ADD = """
INSERT INTO chat_usage AS known
    (user_id, day, turns, prompt_tokens, output_tokens, reserved_tokens)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (user_id, day) DO UPDATE SET
    turns = known.turns + excluded.turns,
    prompt_tokens = known.prompt_tokens + excluded.prompt_tokens,
    output_tokens = known.output_tokens + excluded.output_tokens,
    reserved_tokens = known.reserved_tokens + excluded.reserved_tokens
"""
