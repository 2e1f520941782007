"""Second factors in the database: encrypted, read with former keys, and never guessed without."""

from __future__ import annotations

import io
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client

from chat.accounts.sealing import MARK, SealUnreadable, seal, sealed, unseal
from chat.models import User
from tests.account_people import code_for, enrol, prove, sign_in, signed_in

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.fake_engine,
    pytest.mark.usefixtures("with_accounts"),
]

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
SECOND = "/account/2fa/authenticate/"


@pytest.fixture
def plain(ada: User) -> dict[str, Authenticator]:
    """As it was kept before."""
    rows = {"totp": {"secret": SECRET}, "recovery_codes": {"seed": "5d1f" * 20, "used_mask": 0}}
    made = Authenticator.objects.create
    return {kind: made(user=ada, type=kind, data=data) for kind, data in rows.items()}


@pytest.fixture
def keys(settings: Any) -> Any:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "first " * 10, []
    return settings


def stored() -> str:
    return str(list(Authenticator.objects.values_list("data", flat=True)))


def enters(code: str) -> bool:
    """Whether it is accepted as ada's second factor."""
    cache.clear()
    client = Client()
    assert sign_in(client, "ada")["location"].startswith(SECOND)
    return bool(client.post(SECOND, {"code": code}).status_code == 302)


def test_no_secret_is_kept_in_plain_and_codes_work(ada: User) -> None:
    owner = signed_in(ada)
    prove(owner)
    secret, codes = enrol(owner)
    assert codes
    assert secret not in stored()
    assert stored().count(MARK) == 2
    assert enters(code_for(secret))
    assert enters(codes[0])
    assert not enters(codes[0])
    assert codes[1] in owner.get("/account/2fa/recovery-codes/").content.decode()


def test_what_was_there_before_is_read_and_sealed_by_the_command(
    plain: dict[str, Authenticator],
) -> None:
    codes = plain["recovery_codes"].wrap().generate_codes()
    assert enters(code_for(SECRET))
    out = io.StringIO()
    call_command("reseal", stdout=out)
    assert "Encrypted 2 second factors" in out.getvalue()
    assert SECRET not in stored()
    assert enters(code_for(SECRET))
    assert enters(codes[3])


def test_codes_of_another_program_are_sealed_too() -> None:
    data = sealed({"migrated_codes": ["abc", "def"], "used_mask": 0})
    assert all(code.startswith(MARK) for code in data["migrated_codes"])
    assert RecoveryCodes(Authenticator(data=data)).get_unused_codes() == ["abc", "def"]


def test_a_new_key_reads_with_the_old_one_until_all_is_sealed_anew(
    keys: Any, plain: dict[str, Authenticator]
) -> None:
    call_command("reseal", stdout=io.StringIO())
    keys.SECRET_KEY, keys.SECRET_KEY_FALLBACKS = "second " * 10, ["first " * 10]
    assert enters(code_for(SECRET))
    call_command("reseal", stdout=io.StringIO())
    keys.SECRET_KEY_FALLBACKS = []
    assert enters(code_for(SECRET))


def test_without_its_key_no_code_is_right_and_the_page_says_why(
    keys: Any, plain: dict[str, Authenticator]
) -> None:
    call_command("reseal", stdout=io.StringIO())
    before = stored()
    keys.SECRET_KEY = "another " * 10
    client = Client()
    sign_in(client, "ada")
    answer = client.post(SECOND, {"code": code_for(SECRET)})
    assert answer.status_code == 200
    assert "the site&#x27;s key has changed" in answer.content.decode()
    with pytest.raises(CommandError, match="SECRET_KEY_FALLBACKS"):
        call_command("reseal")
    assert stored() == before


@pytest.mark.parametrize("change", ["cut", "altered", "of another key"])
def test_what_was_changed_is_not_read(keys: Any, change: str) -> None:
    kept = seal(SECRET)
    assert unseal(kept) == SECRET
    if change == "cut":
        kept = kept[:-4]
    elif change == "altered":
        kept = kept[:40] + ("A" if kept[40] != "A" else "B") + kept[41:]
    else:
        keys.SECRET_KEY = "another " * 10
    with pytest.raises(SealUnreadable):
        unseal(kept)


def test_the_same_secret_is_never_kept_the_same() -> None:
    assert seal(SECRET) != seal(SECRET)
