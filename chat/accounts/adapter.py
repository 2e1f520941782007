"""django-allauth, told what is ours to decide: who may sign up, what is said, what is kept."""

from __future__ import annotations

from typing import Any

import structlog
from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from chat import live_settings
from chat.accounts.sealing import SealUnreadable, seal, unseal

_log = structlog.get_logger(__name__)

MISMATCH = _("There is no account with this name and this password.")
UNREADABLE = _(
    "This second factor cannot be read, since the site's key has changed. Ask an administrator to "
    "remove it."
)
NOT_SAID = ("account/messages/logged_in.txt", "account/messages/logged_out.txt")
"""What a person sees without being told."""


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": MISMATCH,
        "email_password_mismatch": MISMATCH,
        "too_many_login_attempts": _(
            "Too many failed attempts to sign in. Wait a few minutes, then try again."
        ),
        "email_taken": _("Another account has this mail address."),
        "username_blacklisted": _("This name is taken by the site itself. Choose another one."),
        "incorrect_password": _("This is not your password."),
        "incorrect_code": _("This code is not right, or no longer."),
        "rate_limited": _("Too many attempts. Wait a moment, then try again."),
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return bool(live_settings.value("TINYLLM_SIGNUP") == "open")

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("account")

    def add_message(
        self,
        request: HttpRequest,
        level: int,
        message_template: str | None = None,
        *words: Any,
        **more: Any,
    ) -> None:
        if message_template not in NOT_SAID:
            super().add_message(request, level, message_template, *words, **more)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Nothing here depends on mail, so none is sent."""


class SocialAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return live_settings.value("TINYLLM_SIGNUP") in ("oidc", "open")


class SecondFactorAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    error_messages = DefaultMFAAdapter.error_messages | {
        "incorrect_code": AccountAdapter.error_messages["incorrect_code"],
        "rate_limited": AccountAdapter.error_messages["rate_limited"],
    }

    def encrypt(self, text: str) -> str:
        return seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Where the key is lost no code is right, and who shows one is told why."""
        try:
            return unseal(encrypted_text)
        except SealUnreadable:
            _log.error("second_factor_unreadable", hint="SECRET_KEY_FALLBACKS")
            raise ValidationError(UNREADABLE) from None

    def get_totp_label(self, user: Any) -> str:
        return str(user.get_username())

    def build_totp_svg(self, url: str) -> str:
        """As a part of a page: without the declaration of a file of its own."""
        svg = str(super().build_totp_svg(url))
        return svg[svg.index("<svg") :]
