"""What the audit log hears of by itself: accounts, their rights, tokens and
quotas, how long conversations are kept, and the admin.

Changes of a row are seen as it is saved, whoever saves it: the admin, a page, a command. Of
conversations only that an administrator did something to them is recorded, never what they say.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.dispatch import receiver

from chat import audit
from chat.models import ApiToken, Quota, Retention

_User = get_user_model()

WATCHED: dict[type[Model], tuple[str, ...]] = {
    _User: ("username", "email", "is_active", "is_staff", "is_superuser"),
    Group: ("name",),
    ApiToken: ("owner", "name", "prefix", "scopes", "expires_at", "revoked_at"),
    Quota: ("user", "group", "tokens_per_day", "concurrent_turns"),
    Retention: ("group", "days"),
}
"""Models, and the fields that are told."""
_HIDDEN: dict[type[Model], tuple[str, ...]] = {_User: ("password",)}
"""Fields of which only that they changed is told."""
_ACTIONS = {ADDITION: "add", CHANGE: "change", DELETION: "delete"}


@receiver(pre_save)
def _remember(sender: type[Model], instance: Model, raw: bool = False, **kwargs: Any) -> None:
    if sender not in WATCHED or raw or not _touches(sender, kwargs.get("update_fields")):
        return
    old = None if instance._state.adding else sender._default_manager.filter(pk=instance.pk).first()
    instance._audited = (_told(old), _secrets(old))  # type: ignore[attr-defined]


@receiver(post_save)
def _saved(
    sender: type[Model], instance: Model, created: bool, raw: bool = False, **kwargs: Any
) -> None:
    if sender not in WATCHED or raw or not hasattr(instance, "_audited"):
        return
    before, secrets = instance._audited
    del instance._audited
    after = _told(instance)
    if created:
        _record("add", instance, None, after)
        return
    changed = {name for name in after if before.get(name) != after[name]}
    old = {name: before.get(name) for name in changed}
    new = {name: after[name] for name in changed}
    for name, value in _secrets(instance).items():
        if secrets.get(name) != value:
            new[name] = "changed"
    if new:
        _record("change", instance, old, new)


@receiver(post_delete)
def _deleted(sender: type[Model], instance: Model, **kwargs: Any) -> None:
    if sender in WATCHED:
        _record("delete", instance, _told(instance), None)


@receiver(m2m_changed, sender=_User.groups.through)
@receiver(m2m_changed, sender=_User.user_permissions.through)
@receiver(m2m_changed, sender=Group.permissions.through)
def _rights_changed(
    sender: type[Model],
    instance: Model,
    action: str,
    reverse: bool,
    model: type[Model],
    pk_set: Iterable[Any] | None,
    **kwargs: Any,
) -> None:
    """reverse: it was said from the other side (`group.user_set.add(user)`): of each of its own."""
    verb = {"post_add": "grant", "post_remove": "revoke", "pre_clear": "clear"}.get(action)
    if verb is None or (pk_set is not None and not pk_set):
        return
    others = list(model._default_manager.filter(pk__in=pk_set)) if pk_set else []
    pairs = [(other, [instance]) for other in others] if reverse else [(instance, others)]
    for target, given in pairs:
        names = sorted(str(each) for each in given)
        _record(verb, target, None, {"rights": names} if names else None)


@receiver(post_save, sender=LogEntry)
def _admin_did(sender: type[Model], instance: LogEntry, created: bool, **kwargs: Any) -> None:
    """What is done in the admin to what is not watched: conversations, above all. What they are
    called would be a text."""
    kind = instance.content_type
    model = kind.model_class() if kind else None
    if not created or kind is None or model in WATCHED:
        return
    verb = _ACTIONS[instance.action_flag]
    audit.record(f"admin.{verb}", target_type=kind.model, target_id=instance.object_id or "")


def _touches(sender: type[Model], update_fields: Iterable[str] | None) -> bool:
    """Whether a save writes anything of what is told: signing in writes a time only."""
    told = {*WATCHED[sender], *_HIDDEN.get(sender, ())}
    return update_fields is None or bool(told.intersection(update_fields))


def _told(instance: Model | None) -> dict[str, Any]:
    if instance is None:
        return {}
    found = {}
    for name in WATCHED[type(instance)]:
        value = getattr(instance, name)
        found[name] = str(value) if isinstance(value, Model | datetime) else value
    return found


def _secrets(instance: Model | None) -> dict[str, Any]:
    names = _HIDDEN.get(type(instance), ()) if instance is not None else ()
    return {name: getattr(instance, name) for name in names}


def _record(verb: str, instance: Model, before: Any, after: Any) -> None:
    name = str(instance._meta.model_name)
    about = {"target_type": name, "target_id": instance.pk, "target": str(instance)}
    audit.record(f"{name}.{verb}", **about, before=before, after=after)
