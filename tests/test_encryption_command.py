"""`manage.py encrypt` broken off, run again, and beside a server."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import CommandError, call_command

from chat.encryption import keys as room
from chat.encryption import rewriting, used_keys
from chat.models import Session
from tests.test_encryption import OLD, alone, database, encrypted, fill, left_in, values
from tests.test_privacy_erasure import careless

__all__ = ["alone", "careless", "encrypted"]

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_second_run_writes_nothing(encrypted: Any, make_user: Any, capsys: Any) -> None:
    fill(make_user("ada"))
    call_command("encrypt")
    capsys.readouterr()
    call_command("encrypt")
    counts = [line.split(": ")[1] for line in capsys.readouterr().out.splitlines() if ": " in line]
    assert set(counts[:-1]) == {"0"}


def test_what_was_broken_off_is_readable_and_gone_on_with(
    settings: Any, make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fill(make_user("ada"))
    settings.TINYLLM_ENCRYPTION_KEYS = (OLD,)
    with monkeypatch.context() as patch:
        patch.setattr(rewriting, "ROWS", 1)
        whole, left = rewriting._rewrite_value, iter(range(3))

        def breaking(*given: Any) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            whole(*given)

        patch.setattr(rewriting, "_rewrite_value", breaking)
        with pytest.raises(KeyboardInterrupt):
            call_command("encrypt")
    states = [rewriting.count(*each).states for each in rewriting.tables().items()]
    assert {name for each in states for name in each} == {rewriting.PLAIN, room.keys()[0].name}
    assert values() == before
    call_command("encrypt")
    assert values() == before
    assert left_in(database().parent) == []


def test_what_the_site_writes_meanwhile_is_not_lost(
    settings: Any, make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(make_user("ada"))
    settings.TINYLLM_ENCRYPTION_KEYS = (OLD,)
    opened = rewriting._opened

    def renamed(told: Any, column: Any, stored: Any) -> Any:
        Session.objects.update(title="Another one")  # after it was read
        return opened(told, column, stored)

    with monkeypatch.context() as patch:
        patch.setattr(rewriting, "_opened", renamed)
        with pytest.raises(CommandError, match=r"meanwhile: 1\. Run it again"):
            call_command("encrypt")
    assert Session.objects.get().title == "Another one"
    call_command("encrypt")


def test_beside_a_server_that_lacks_the_key_nothing_is_encrypted(
    encrypted: Any, make_user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(make_user("ada"))
    monkeypatch.setattr("chat.process_mark.alive", lambda: ["server"])
    with pytest.raises(CommandError, match="The site runs without this key"):
        call_command("encrypt")
    with pytest.raises(CommandError, match="Stop it first"):
        call_command("encrypt", decrypt=True)
    used_keys.note_used()  # as a server does that begins with it
    call_command("encrypt")
