"""`manage.py encrypt`: everything that is said on the site, encrypted with the first key; with
`--decrypt` as plain as before, with `--check` only looked at."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from chat import process_mark
from chat.encryption import rewriting, used_keys
from chat.encryption.keys import NAME, keys, writing_key, writing_plain
from chat.privacy.scrubbing import scrub


class Command(BaseCommand):
    help = f"Encrypt what is plain, or has an older key, with the first key of {NAME}."

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument(
            "--check", action="store_true", help="count what is in which state, write nothing"
        )
        which.add_argument(
            "--decrypt", action="store_true", help="make everything plain; stop the site first"
        )

    def handle(self, *args: Any, check: bool, decrypt: bool, **options: Any) -> None:
        try:
            given = keys()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        if check:
            self._check()
        elif not given:
            raise CommandError(_("Set %(name)s first: there is no key.") % {"name": NAME})
        elif decrypt:
            self._decrypt()
        else:
            self._encrypt()

    def _check(self) -> None:
        states, unreadable = Counter[str](), 0
        for model, columns in rewriting.tables().items():
            told = rewriting.count(model, columns)
            self.stdout.write(f"{model._meta.label}: {_in_words(told.states)}")
            states += told.states
            unreadable += told.unreadable
        self.stdout.write(_("In all: %(states)s") % {"states": _in_words(states)})
        _refuse(unreadable)

    def _encrypt(self) -> None:
        if process_mark.alive() and not used_keys.is_used():
            raise CommandError(
                _("The site runs without this key and could not read what it encrypts: restart it.")
            )
        used_keys.note_used()
        rewriting.remove_index()
        self._rewrite()
        self._clean()
        self.stdout.write(_("Everything is encrypted with the first key."))

    def _decrypt(self) -> None:
        if process_mark.alive():
            raise CommandError(_("The site is running, and goes on encrypting. Stop it first."))
        with writing_plain():
            self._rewrite()
            rewriting.make_index()
        self._clean()
        self.stdout.write(_("Everything is plain. Unset %(name)s now.") % {"name": NAME})

    def _rewrite(self) -> None:
        """Raises CommandError where something is not as it should be afterwards."""
        missed = unreadable = 0
        for model, columns in rewriting.tables().items():
            told = rewriting.rewrite(model, columns)
            self.stdout.write(f"{model._meta.label}: {told.written:,}")
            missed += told.missed
            unreadable += told.unreadable
        _refuse(unreadable)
        if missed:
            raise CommandError(
                _("Values that the site changed meanwhile: %(count)d. Run it again.")
                % {"count": missed}
            )
        used_keys.forget_others()

    def _clean(self) -> None:
        self.stdout.write(_("Rewriting the database's files: nothing of before may be left."))
        if not scrub():
            raise CommandError(
                _("Somebody was reading all the time: stop the site, then run manage.py scrub.")
            )


def _refuse(unreadable: int) -> None:
    if unreadable:
        raise CommandError(
            _("Values that are damaged, or need a key that %(name)s does not have: %(count)d.")
            % {"count": unreadable, "name": NAME}
        )


def _in_words(states: Counter[str]) -> str:
    key = writing_key()
    words = []
    for name, count in sorted(states.items()):
        if name == rewriting.PLAIN:
            words.append(_("%(count)d plain") % {"count": count})
        elif key and name == key.name:
            words.append(_("%(count)d with the first key") % {"count": count})
        else:
            words.append(_("%(count)d with the key %(key)s") % {"count": count, "key": name})
    return ", ".join(words) or "-"
