"""The audit log: what is in it, what is never in it, and that nobody changes it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from chat import audit
from chat.accounts.errors import TokenScopeMissing
from chat.accounts.tokens import Scope, token_create, token_revoke, token_use
from chat.models import AuditEntry, Message, Quota, Session, User

pytestmark = pytest.mark.django_db


def log() -> list[tuple[str, str, Any, Any]]:
    entries = AuditEntry.objects.order_by("id")
    return [(entry.action, entry.target, entry.before, entry.after) for entry in entries]


@pytest.fixture
def boss(make_user: Any) -> Client:
    client = Client()
    client.force_login(make_user("boss", is_staff=True, is_superuser=True))
    return client


def test_an_account_s_changes_are_told_and_its_password_is_not(make_user: Any) -> None:
    ada = make_user("ada")
    ada.is_active = False
    ada.save()
    ada.set_password("correct horse")
    ada.save()
    ada.last_login = timezone.now()
    ada.save(update_fields=["last_login"])
    ada.save()
    ada.delete()
    whole = {
        "username": "ada", "email": "", "is_active": True, "is_staff": False, "is_superuser": False,
    }  # fmt: skip
    assert log() == [
        ("user.add", "ada", None, whole),
        ("user.grant", "ada", None, {"rights": ["members"]}),
        ("user.change", "ada", {"is_active": True}, {"is_active": False}),
        ("user.change", "ada", {}, {"password": "changed"}),
        ("user.delete", "ada", whole | {"is_active": False}, None),
    ]
    assert {entry.actor for entry in AuditEntry.objects.all()} == {audit.NOBODY}


def test_rights_groups_and_quotas_are_told(make_user: Any) -> None:
    ada = make_user("ada")
    group = Group.objects.create(name="lab")
    quota = Quota.objects.create(group=group, tokens_per_day=5)
    AuditEntry.objects.all()._raw_delete("default")
    right = Permission.objects.get(codename="view_engine")
    ada.groups.add(group)
    group.user_set.remove(ada)
    ada.user_permissions.add(right)
    ada.user_permissions.clear()
    group.permissions.set([right])
    quota.tokens_per_day = 6
    quota.save()
    assert log() == [
        ("user.grant", "ada", None, {"rights": ["lab"]}),
        ("user.revoke", "ada", None, {"rights": ["lab"]}),
        ("user.grant", "ada", None, {"rights": [str(right)]}),
        ("user.clear", "ada", None, None),
        ("group.grant", "lab", None, {"rights": [str(right)]}),
        ("quota.change", "lab", {"tokens_per_day": 5}, {"tokens_per_day": 6}),
    ]


def test_what_the_admin_does_to_conversations_is_told_without_a_word_of_them(
    boss: Client, make_user: Any
) -> None:
    session = Session.objects.create(owner=make_user("ada"), title="A secret title", model="chat")
    Message.objects.create(session=session, role="user", content="A secret")
    boss.post(
        "/admin/chat/session/",
        {"action": "delete_selected", "_selected_action": [str(session.pk)], "post": "yes"},
    )
    assert not Session.objects.exists()
    entry = AuditEntry.objects.order_by("id").last()
    assert entry is not None
    assert (entry.actor, entry.action, entry.target_type) == ("boss", "admin.delete", "session")
    assert entry.target_id == str(session.pk)
    assert "secret" not in str(AuditEntry.objects.values())


def test_the_admin_s_changes_name_who_made_them(boss: Client, make_user: Any) -> None:
    ada = make_user("ada")
    path = f"/admin/chat/user/{ada.pk}/password/"
    said = {"password1": "a-long-word-42", "password2": "a-long-word-42", "usable_password": "true"}
    assert boss.post(path, said).status_code == 302
    entry = AuditEntry.objects.get(action="user.change")
    assert (entry.actor, entry.target, entry.after) == ("boss", "ada", {"password": "changed"})
    assert entry.actor_id == User.objects.get(username="boss").pk


def test_nobody_changes_it(boss: Client) -> None:
    audit.record("setting.change", target="x", before={"value": 1}, after={"value": 2})
    entry = AuditEntry.objects.get(action="setting.change")
    for change in (
        entry.save,
        entry.delete,
        AuditEntry.objects.all().delete,
        lambda: AuditEntry.objects.update(actor="somebody else"),
        lambda: AuditEntry.objects.bulk_update([entry], ["actor"]),
    ):
        with pytest.raises(TypeError, match="only ever added"):
            change()
    path = f"/admin/chat/auditentry/{entry.pk}/"
    page = boss.get("/admin/chat/auditentry/", headers={"accept-language": "zh-hans"})
    assert "value: 1" in page.content.decode()
    assert "审计日志" in page.content.decode()
    assert boss.get(f"{path}change/").status_code == 200
    assert boss.post(f"{path}change/", {"actor": "x"}).status_code == 403
    assert boss.post(f"{path}delete/", {"post": "yes"}).status_code == 403
    assert boss.get("/admin/chat/auditentry/add/").status_code == 403
    assert AuditEntry.objects.get(pk=entry.pk).actor == audit.NOBODY


def test_tokens_are_told_without_what_opens_them(boss: Client, make_user: Any) -> None:
    ada = make_user("ada")
    AuditEntry.objects.all()._raw_delete("default")
    row, text = token_create(owner=ada, name="notebook", scopes=[Scope.READ])
    other, _text = token_create(owner=ada, name="robot", scopes=[Scope.READ])
    token_use(text=text, scope=Scope.READ)
    assert token_revoke(owner=ada, token_id=row.pk)
    assert not token_revoke(owner=ada, token_id=row.pk)
    chosen = {"action": "revoke", "_selected_action": [row.pk, other.pk]}
    boss.post("/admin/chat/apitoken/", chosen)
    assert [action for action, *_ in log()] == [
        "apitoken.add", "apitoken.add", "apitoken.change", "apitoken.change",
    ]  # fmt: skip
    added, _added, revoked, by_boss = AuditEntry.objects.order_by("id")
    assert added.target == f"notebook ({row.prefix}…)"
    assert added.after == {
        "owner": "ada", "name": "notebook", "prefix": row.prefix, "scopes": ["read"],
        "expires_at": None, "revoked_at": None,
    }  # fmt: skip
    assert (revoked.before, list(revoked.after or {})) == ({"revoked_at": None}, ["revoked_at"])
    assert (by_boss.actor, by_boss.target_id) == ("boss", str(other.pk))
    assert text not in str(AuditEntry.objects.values())
    assert row.digest not in str(AuditEntry.objects.values())


def test_a_token_that_tries_what_it_may_not_is_told_once(make_user: Any) -> None:
    cache.clear()
    ada = make_user("ada")
    row, text = token_create(owner=ada, name="notebook", scopes=[Scope.READ])
    for scope in (Scope.CHAT, Scope.CHAT, Scope.ADMIN):
        with pytest.raises(TokenScopeMissing):
            token_use(text=text, scope=scope)
    refused = AuditEntry.objects.filter(action="apitoken.refused").order_by("id")
    assert [(e.actor_id, e.target_id, e.after) for e in refused] == [
        (ada.pk, str(row.pk), {"owner": "ada", "scope": scope, "scopes": ["read"]})
        for scope in ("chat", "admin")
    ]
