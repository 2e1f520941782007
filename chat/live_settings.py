"""Settings that may be changed while the site runs, and every other one to look at.

The environment goes before the admin, the admin before the file `.env`, that before the default. So
a value that the environment gives cannot be changed here. Whoever uses one asks `value` each time:
what is set in this process holds at once, in others of the same database within half a minute.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from chat import audit, engine
from chat.errors import ChatError, InvalidRequest
from chat.models import SiteSetting
from chat.models.oversight import MAX_DAYS
from inference.errors import EngineStopped

SIGNUP = ("closed", "invitation", "oidc", "open")


@dataclass(frozen=True, slots=True)
class Number:
    """At least 0. whole: without a fraction. most: a bound that only catches slips."""

    help: Any
    whole: bool = True
    most: int = 10**12

    def choices(self) -> tuple[str, ...]:
        return ()

    def parsed(self, name: str, text: str) -> int | float:
        """Raises InvalidRequest."""
        try:
            number = int(text) if self.whole else float(text)
        except ValueError:
            number = math.nan
        if 0 <= number <= self.most:
            return number
        words = _("%(name)s must be a whole number from 0 to %(most)d, not %(text)s.")
        if not self.whole:
            words = _("%(name)s must be a number from 0 to %(most)d, not %(text)s.")
        said = {"name": name, "most": self.most, "text": repr(text[:40])}
        raise InvalidRequest(words % said, param=name)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    help: Any
    choices: Callable[[], tuple[str, ...]]

    def parsed(self, name: str, text: str) -> str:
        """Raises InvalidRequest."""
        known = self.choices()
        if text in known:
            return text
        words = _("%(name)s must be one of %(known)s, not %(text)s.")
        said = {"name": name, "known": ", ".join(known), "text": repr(text[:40])}
        raise InvalidRequest(words % said, param=name)


def _ready_models() -> tuple[str, ...]:
    try:
        return tuple(each.name for each in engine.client().models() if each.state == "ready")
    except EngineStopped:
        return ()


_DAY = 24 * 3600
LIVE: dict[str, Number | Choice] = {
    "TINYLLM_DEFAULT_MODEL": Choice(
        gettext_lazy("For new sessions of people who have not chosen one."), _ready_models
    ),
    "TINYLLM_SIGNUP": Choice(
        gettext_lazy(
            "Who may make an account. closed: nobody, invitations do not work either; invitation: "
            "who was invited; oidc: whoever the provider lets in too; open: anybody."
        ),
        lambda: SIGNUP,
    ),
    "TINYLLM_DEADLINE_S": Number(
        gettext_lazy("Seconds; 0: never. For answers that begin."), most=_DAY
    ),
    "TINYLLM_DISCONNECT_GRACE_S": Number(gettext_lazy("Seconds; 0: at once."), most=_DAY),
    "TINYLLM_KEEP_ALIVE_S": Number(
        gettext_lazy("Seconds; 0: never unloaded."), whole=False, most=365 * _DAY
    ),
    "TINYLLM_TOKENS_PER_DAY": Number(gettext_lazy("0: no limit.")),
    "TINYLLM_CONCURRENT_TURNS": Number(gettext_lazy("0: no limit.")),
    "TINYLLM_RETENTION_DAYS": Number(
        gettext_lazy(
            "Days after the last message; 0: for ever. Older conversations are deleted for good, "
            "within a minute."
        ),
        most=MAX_DAYS,
    ),
}

_chosen: dict[str, int | float | str] = {}


class SettingLocked(ChatError):
    code = "setting_locked"
    status = 409

    def __init__(self, name: str) -> None:
        words = _("%(name)s is set by the server's environment, and can only be changed there.")
        super().__init__(words % {"name": name}, param=name)


@dataclass(frozen=True, slots=True)
class SettingRow:
    """source: default, file, environment or admin. is_locked: it could be changed here, were it not
    set by the environment. choices: the words that it may be, where those are few."""

    name: str
    value: str
    source: str
    is_live: bool
    is_locked: bool
    help: str = ""
    choices: tuple[str, ...] = ()


def value(name: str) -> Any:
    """What holds at this moment."""
    return _chosen.get(name, getattr(settings, name))


def refresh() -> None:
    """Take over what stands in the database. Raises DatabaseError."""
    rows = dict(SiteSetting.objects.values_list("name", "value"))
    new = {name: found for name, found in rows.items() if name in LIVE and not _is_locked(name)}
    _chosen.clear()
    _chosen.update(new)


def setting_change(*, name: str, text: str) -> None:
    """text: a number or a word; empty takes the admin's value away. Raises InvalidRequest,
    SettingLocked."""
    if name not in LIVE:
        raise InvalidRequest(
            _("%(name)s cannot be changed while the site runs.") % {"name": name[:64]}, param=name
        )
    if _is_locked(name):
        raise SettingLocked(name)
    chosen = LIVE[name].parsed(name, text.strip()) if text.strip() else None
    with transaction.atomic():
        row = SiteSetting.objects.filter(name=name).first()
        before = row.value if row else None
        if chosen is None:
            SiteSetting.objects.filter(name=name).delete()
        else:
            now = timezone.now()
            SiteSetting.objects.update_or_create(
                name=name, defaults={"value": chosen, "changed_at": now}
            )
        if before != chosen:
            audit.record(
                "setting.change",
                target_type="setting",
                target_id=name,
                target=name,
                before={"value": before},
                after={"value": chosen},
            )
    refresh()


def setting_rows() -> list[SettingRow]:
    """Every setting. Where the database cannot be asked, without what the admin has set."""
    try:
        refresh()
    except DatabaseError:
        _chosen.clear()
    return [_row(name) for name in sorted(settings.TINYLLM_READ)]


def _row(name: str) -> SettingRow:
    read, live = settings.TINYLLM_READ[name], LIVE.get(name)
    if name in _chosen:
        shown, source = str(_chosen[name]), "admin"
    else:
        shown, source = read.value, read.source
    if live is None:
        return SettingRow(name, shown, source, is_live=False, is_locked=False)
    return SettingRow(name, shown, source, True, _is_locked(name), str(live.help), live.choices())


def _is_locked(name: str) -> bool:
    return bool(settings.TINYLLM_READ[name].source == "environment")
