"""Roles: administrators make links and rescue accounts, operators see what runs and no texts."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.test import Client

from chat.accounts.roles import OPERATORS
from chat.models import AccountLink, Session, User
from tests.account_people import PASSWORD, enrol, prove, sign_in, signed_in

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.fake_engine,
    pytest.mark.usefixtures("with_accounts"),
]


def test_the_admin_has_no_way_in_of_its_own(ada: User) -> None:
    assert Client().get("/admin/", follow=True).redirect_chain[-1][0].startswith("/account/login/")
    assert (
        Client().post("/admin/login/", {"username": "ada", "password": PASSWORD}).status_code == 302
    )
    assert signed_in(ada).get("/admin/login/").status_code == 403
    User.objects.filter(pk=ada.pk).update(is_staff=True, is_superuser=True)
    assert signed_in(ada).get("/admin/").status_code == 200


def test_operators_are_staff_and_read_nobodys_conversations(ada: User, make_user: Any) -> None:
    ada.groups.add(Group.objects.get(name=OPERATORS))
    assert ada.is_staff
    session = Session.objects.create(owner=make_user("bob"), title="Secret title", model="chat")
    message = session.messages.create(role="assistant", content="Secret text")
    generation = session.generations.create(
        message=message, model="chat", status="DONE", owner="p", request_id="r", seed=1
    )
    client = signed_in(ada)
    for path, status in (
        ("/admin/", 200),
        ("/admin/chat/user/", 200),
        (f"/admin/chat/user/{ada.pk}/change/", 200),
        ("/admin/chat/generation/", 200),
        (f"/admin/chat/generation/{generation.pk}/change/", 200),
        ("/admin/chat/session/", 403),
        ("/admin/chat/message/", 403),
        (f"/admin/chat/session/{session.pk}/change/", 403),
        ("/admin/chat/apitoken/", 403),
        ("/admin/chat/accountlink/add/", 403),
        (f"/admin/chat/user/{ada.pk}/password/", 403),
        ("/admin/auth/group/", 403),
    ):
        answer = client.get(path)
        assert answer.status_code == status, path
        shown = answer.content.decode()
        assert "Secret" not in shown, path
        assert "md5$" not in shown, path
    found = [client.get("/admin/chat/generation/", {"q": q}) for q in ("r", "Secret")]
    assert [str(generation.pk) in page.content.decode() for page in found] == [True, False]
    assert client.get("/api/engine").status_code == 200
    export = {"action": "export_json", "_selected_action": [generation.pk]}
    exported: Any = client.post("/admin/chat/generation/", export)
    assert "Secret" not in b"".join(exported.streaming_content).decode()
    rescue = {"action": "make_password_link", "_selected_action": [ada.pk]}
    client.post("/admin/chat/user/", rescue)
    assert not AccountLink.objects.exists()

    ada.groups.remove(Group.objects.get(name=OPERATORS))
    assert client.get("/admin/").status_code == 302


def test_an_administrator_invites_and_rescues(ada: User, make_user: Any) -> None:
    boss = User.objects.create_user("boss", "", PASSWORD, is_staff=True, is_superuser=True)
    client = signed_in(boss)
    made = client.post("/admin/chat/accountlink/add/", {"group": ""}, follow=True).content.decode()
    found = re.search(r"http://testserver(/account/invitation/[\w-]+/)", made)
    assert found
    assert Client().get(found[1]).status_code == 200
    listed = client.get("/admin/chat/accountlink/").content.decode()
    assert found[1] not in listed

    chosen = {"action": "make_password_link", "_selected_action": [ada.pk]}
    rescued = client.post("/admin/chat/user/", chosen, follow=True).content.decode()
    found = re.search(r"http://testserver(/account/password/link/[\w-]+/)", rescued)
    assert found
    assert "For the account ada" in Client().get(found[1]).content.decode()

    owner = signed_in(ada)
    prove(owner)
    enrol(owner)
    client.post("/admin/chat/user/", chosen | {"action": "remove_second_factors"})
    assert not Authenticator.objects.exists()
    assert sign_in(Client(), "ada")["location"] == "/"
