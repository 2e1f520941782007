"""Accounts: who gets in, by what, and who does not. The pages are allauth's views in our looks."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.contrib.auth.models import Group
from django.test import Client
from django.utils import timezone

from chat.accounts import links
from chat.accounts.errors import LinkInvalid
from chat.accounts.roles import MEMBERS
from chat.identity import local_user
from chat.models import AccountLink, User
from tests.account_people import PASSWORD, code_for, enrol, prove, sign_in, signed_in

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.fake_engine,
    pytest.mark.usefixtures("with_accounts"),
]


@pytest.mark.parametrize("login", ["ada", "ada@example.org", "ADA@example.org", " ada "])
def test_a_name_or_a_mail_address_and_the_password_sign_in(ada: User, login: str) -> None:
    client = Client()
    stranger = client.get("/sessions/00000000-0000-4000-8000-000000000000/")
    assert stranger["location"].startswith("/account/login/?next=/sessions/")
    answer = sign_in(client, login, next="/account/")
    assert answer["location"] == "/account/"
    assert client.get("/").status_code == 200
    client.post("/account/logout/")
    assert client.get("/").status_code == 302


def test_a_wrong_password_is_refused_and_after_some_the_right_one_too(ada: User) -> None:
    client = Client()
    said = [sign_in(client, "ada", "wrong").content.decode() for _ in range(5)]
    assert all("no account with this name and this password" in page for page in said)
    assert all('value="ada"' in page for page in said), "the name must not be typed again"
    assert "Too many failed attempts" in sign_in(client, "ada").content.decode()
    assert "Too many failed attempts" in sign_in(Client(), "ada").content.decode()
    assert client.get("/").status_code == 302


def test_too_many_requests_have_a_page_of_their_own(ada: User, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"login": "1/m/ip"}
    sign_in(Client(), "ada", "wrong")
    answer = sign_in(Client(), "ada", "wrong")
    assert (answer.status_code, "Too many attempts" in answer.content.decode()) == (429, True)


def test_a_closed_account_does_not_get_in(ada: User) -> None:
    client = signed_in(ada)
    User.objects.filter(pk=ada.pk).update(is_active=False)
    assert client.get("/").status_code == 302
    assert sign_in(Client(), "ada")["location"] == "/account/inactive/"


def test_signing_in_leads_to_no_other_site(ada: User) -> None:
    assert sign_in(Client(), "ada", next="https://evil.example/")["location"] == "/"


def test_signing_up_is_closed_until_a_setting_opens_it(settings: Any) -> None:
    asked = {"username": "eve", "password1": PASSWORD}
    closed = Client().post("/account/signup/", asked)
    assert "made by invitation" in closed.content.decode()
    assert "/account/signup/" not in Client().get("/account/login/").content.decode()
    assert not User.objects.filter(username="eve").exists()

    settings.TINYLLM_SIGNUP = "open"
    assert "/account/signup/" in Client().get("/account/login/").content.decode()
    assert (
        "too short"
        in Client().post("/account/signup/", asked | {"password1": "12"}).content.decode()
    )
    local = Client().post("/account/signup/", asked | {"username": "Local"})
    assert "taken by the site itself" in local.content.decode()
    client = Client()
    assert client.post("/account/signup/", asked)["location"] == "/"
    assert client.get("/").status_code == 200
    assert [group.name for group in User.objects.get(username="eve").groups.all()] == [MEMBERS]


def test_changing_the_password_signs_out_everywhere_else(ada: User) -> None:
    here, there = signed_in(ada), signed_in(ada)
    page = "/account/password/change/"
    new = {"password1": "another horse battery", "password2": "another horse battery"}
    wrong = here.post(page, {"oldpassword": "wrong", **new})
    assert "errorlist" in wrong.content.decode()
    assert here.post(page, {"oldpassword": PASSWORD, **new})["location"] == "/account/"
    assert here.get("/account/").status_code == 200
    assert there.get("/account/").status_code == 302
    assert sign_in(Client(), "ada", "another horse battery").status_code == 302


def test_with_an_authenticator_app_a_password_is_not_enough(ada: User) -> None:
    owner = signed_in(ada)
    assert "reauthenticate" in owner.get("/account/2fa/totp/activate/")["location"]
    prove(owner)
    secret, codes = enrol(owner)
    assert len(codes) == 10

    client = Client()
    assert sign_in(client, "ada")["location"] == "/account/2fa/authenticate/"
    assert client.get("/").status_code == 302
    wrong = client.post("/account/2fa/authenticate/", {"code": "000000"}).content.decode()
    assert "This code is not right" in wrong
    assert client.post("/account/2fa/authenticate/", {"code": codes[0]})["location"] == "/"
    assert client.get("/").status_code == 200

    again = Client()
    sign_in(again, "ada")
    assert (
        "not right" in again.post("/account/2fa/authenticate/", {"code": codes[0]}).content.decode()
    ), "a recovery code works once"
    row = Authenticator.objects.get(type=Authenticator.Type.TOTP)
    assert TOTP(row).validate_code(code_for(secret)) is not None


def test_the_qr_code_is_no_style_and_no_foreign_picture(ada: User) -> None:
    client = signed_in(ada)
    prove(client)
    page = client.get("/account/2fa/totp/activate/").content.decode()
    assert "<svg" in page
    assert not re.search(r"<style|\sstyle=|data:image|<\?xml", page)


def test_an_invitation_makes_one_account_in_its_group(ada: User) -> None:
    group = Group.objects.create(name="students")
    row, secret = links.invitation_create(made_by=ada, group=group)
    assert secret not in str(row.__dict__)
    page, client = f"/account/invitation/{secret}/", Client()
    assert "You are invited" in client.get(page).content.decode()
    for wrong, said in (
        ({"username": "ada", "password": PASSWORD}, "already exists"),
        ({"username": "bob", "password": "12"}, "too short"),
        ({"username": "bob", "password": PASSWORD, "email": "ADA@example.org"}, "Another account"),
        ({"username": "local", "password": PASSWORD}, "taken by the site"),
    ):
        assert said in client.post(page, wrong).content.decode()
    made = client.post(page, {"username": "bob", "password": PASSWORD, "email": "b@example.org"})
    assert made["location"] == "/"
    assert client.get("/").status_code == 200
    bob = User.objects.get(username="bob")
    assert {each.name for each in bob.groups.all()} == {MEMBERS, "students"}
    again = Client().post(page, {"username": "eve", "password": PASSWORD})
    assert (again.status_code, User.objects.filter(username="eve").exists()) == (404, False)


def test_links_expire_and_are_for_one_purpose(ada: User) -> None:
    row, secret = links.invitation_create(made_by=ada)
    with pytest.raises(LinkInvalid):
        links.link_find(kind=AccountLink.Kind.PASSWORD, secret=secret)
    AccountLink.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    answer = Client().get(f"/account/invitation/{secret}/")
    assert (answer.status_code, "no longer works" in answer.content.decode()) == (404, True)


def test_a_password_link_changes_the_password_and_signs_out(ada: User) -> None:
    signed, (_, first) = signed_in(ada), links.password_link_create(made_by=None, user=ada)
    _, secret = links.password_link_create(made_by=None, user=ada)
    assert Client().get(f"/account/password/link/{first}/").status_code == 404
    page = f"/account/password/link/{secret}/"
    assert "too short" in Client().post(page, {"password": "12"}).content.decode()
    assert (
        Client().post(page, {"password": "a new one that is long"})["location"] == "/account/login/"
    )
    assert Client().get(page).status_code == 404
    assert signed.get("/").status_code == 302
    assert sign_in(Client(), "ada", "a new one that is long").status_code == 302


def test_the_account_page_changes_name_and_address(ada: User, make_user: Any) -> None:
    make_user("bob", email="bob@example.org")
    client = signed_in(ada)
    taken = client.post("/account/", {"username": "bob", "email": "BOB@example.org"})
    assert "already exists" in taken.content.decode()
    assert "Another account has this mail address" in taken.content.decode()
    assert (
        client.post("/account/", {"username": "lady", "email": "New@example.org"}).status_code
        == 302
    )
    assert sign_in(Client(), "new@example.org").status_code == 302
    assert sign_in(Client(), "ada@example.org").status_code == 200, "the old one opens nothing"
    assert sign_in(Client(), "ada").status_code == 200


def test_signing_out_elsewhere_leaves_this_browser(ada: User) -> None:
    here, there = signed_in(ada), signed_in(ada)
    page = here.get("/account/").content.decode()
    assert page.count("127.0.0.1, since") == 2
    here.post("/account/elsewhere/")
    assert here.get("/account/").status_code == 200
    assert there.get("/account/").status_code == 302


def test_local_mode_has_no_accounts(settings: Any) -> None:
    settings.TINYLLM_LOCAL = True
    client = Client(headers={"host": "localhost"})
    assert client.get("/").status_code == 200
    assert 'href="/account/"' not in client.get("/").content.decode()
    for path in ("", "login/", "signup/", "password/set/", "tokens/", "2fa/", "logout/"):
        assert client.get(f"/account/{path}").status_code == 404, path
    client.post("/account/password/set/", {"password1": PASSWORD, "password2": PASSWORD})
    assert not local_user().has_usable_password()


def test_no_provider_no_button(settings: Any) -> None:
    page = Client().get("/account/login/").content.decode()
    assert "/account/oidc/" not in page
    assert Client().post("/account/oidc/oidc/login/").status_code == 404
