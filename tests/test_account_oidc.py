"""Signing in with an OpenID Connect provider, which runs here and speaks the protocol."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.test import Client

from chat.models import User
from tests.account_people import signed_in
from tests.oidc_provider import Provider, running

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.fake_engine,
    pytest.mark.usefixtures("with_accounts"),
]
LOGIN, BACK = "/account/oidc/oidc/login/", "/account/oidc/oidc/login/callback/"


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    with running() as found:
        app = {
            "provider_id": "oidc",
            "name": "Elsewhere",
            "client_id": "tinyllm",
            "secret": "the secret",
            "settings": {"server_url": found.url},
        }
        settings.SOCIALACCOUNT_PROVIDERS = {
            "openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}
        }
        settings.TINYLLM_OIDC_ISSUER = found.url
        yield found


def go(client: Client, provider: Provider, process: str = "login", code: str = "the code") -> Any:
    """There and back, as a browser does."""
    page = client.post(f"{LOGIN}?process={process}").content.decode()
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', page)
    assert found, page
    back = provider.visit(html.unescape(found[1])) | {"code": code}
    return client.get(BACK, back, follow=True)


def test_who_is_not_invited_does_not_get_in(provider: Provider) -> None:
    client = Client()
    assert "Sign in with Elsewhere" in client.get("/account/login/").content.decode()
    assert "made by invitation" in go(client, provider).content.decode()
    assert not User.objects.exists()
    assert client.get("/").status_code == 302


def test_a_setting_lets_in_whom_the_provider_lets_in(provider: Provider, settings: Any) -> None:
    settings.TINYLLM_SIGNUP = "oidc"
    client = Client()
    assert go(client, provider).redirect_chain[-1][0] == "/"
    assert provider.asked["redirect_uri"] == f"http://testserver{BACK}"
    user = User.objects.get()
    assert (user.username, user.has_usable_password()) == ("grace", False)
    assert client.get("/account/").status_code == 200
    again = Client()
    go(again, provider)
    assert again.get("/").status_code == 200
    assert User.objects.count() == 1


def test_an_account_is_connected_and_then_opened_from_there(provider: Provider, ada: User) -> None:
    go(signed_in(ada), provider, "connect")
    assert SocialAccount.objects.get().user == ada
    client = Client()
    go(client, provider)
    assert 'value="ada"' in client.get("/account/").content.decode()


def test_the_same_mail_address_does_not_open_an_account(
    provider: Provider, ada: User, settings: Any
) -> None:
    """The provider's word for an address is not the account's."""
    settings.TINYLLM_SIGNUP = "oidc"
    User.objects.filter(pk=ada.pk).update(email="grace@elsewhere.example")
    client = Client()
    assert "choose a name" in go(client, provider).content.decode()
    assert client.get("/").status_code == 302


def test_a_wrong_code_is_told(provider: Provider, settings: Any) -> None:
    settings.TINYLLM_SIGNUP = "oidc"
    client = Client()
    answer = go(client, provider, code="another")
    assert "did not say who you are" in answer.content.decode()
    assert client.get("/").status_code == 302
