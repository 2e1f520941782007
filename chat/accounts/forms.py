"""The forms of accounts. Those that extend allauth's give its fields words of ours: a label says
what belongs into a field, and a placeholder that repeats it says nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from allauth.account.adapter import get_adapter
from allauth.account.forms import (
    ChangePasswordForm,
    LoginForm,
    ReauthenticateForm,
    SetPasswordForm,
    SignupForm,
)
from allauth.mfa.base.forms import AuthenticateForm
from allauth.mfa.base.forms import ReauthenticateForm as MfaReauthenticateForm
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.webauthn.forms import AddWebAuthnForm, EditWebAuthnForm
from allauth.socialaccount.forms import SignupForm as SocialSignupForm
from django import forms
from django.contrib.auth import get_user_model
from django.contrib.auth.password_validation import password_validators_help_text_html
from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from chat import live_settings
from chat.accounts.tokens import Scope
from chat.models import User

NAME = pgettext_lazy("of a person", "Name")
MAIL = _("Mail address (optional)")
PASSWORD = _("Password")
CODE = _("Code")


class Labelled:
    """A form of allauth's with our labels, and without placeholders."""

    LABELS: ClassVar[dict[str, Any]] = {}
    fields: dict[str, forms.Field]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, field in self.fields.items():
            field.widget.attrs.pop("placeholder", None)
            field.label = self.LABELS.get(name, field.label)


class SignInForm(Labelled, LoginForm):  # type: ignore[misc]
    LABELS: ClassVar[dict[str, Any]] = {
        "login": _("Name or mail address"),
        "password": PASSWORD,
        "remember": _("Stay signed in on this device"),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].widget.attrs["autocomplete"] = "username"

    @property
    def signup_is_open(self) -> bool:
        return bool(live_settings.value("TINYLLM_SIGNUP") == "open")


class SignUpForm(Labelled, SignupForm):  # type: ignore[misc]
    LABELS: ClassVar[dict[str, Any]] = {"username": NAME, "email": MAIL, "password1": PASSWORD}


class SocialSignUpForm(Labelled, SocialSignupForm):  # type: ignore[misc]
    LABELS: ClassVar[dict[str, Any]] = {"username": NAME, "email": MAIL}


class ProofForm(Labelled, ReauthenticateForm):  # type: ignore[misc]
    LABELS: ClassVar[dict[str, Any]] = {"password": PASSWORD}


class PasswordForm(Labelled, ChangePasswordForm):  # type: ignore[misc]
    LABELS: ClassVar[dict[str, Any]] = {
        "oldpassword": _("The password so far"),
        "password1": _("New password"),
        "password2": _("New password, again"),
    }


class FirstPasswordForm(Labelled, SetPasswordForm):  # type: ignore[misc]
    LABELS = PasswordForm.LABELS


class AppForm(Labelled, ActivateTOTPForm):  # type: ignore[misc]
    LABELS: ClassVar[dict[str, Any]] = {"code": CODE}


class SecondFactorForm(Labelled, AuthenticateForm):  # type: ignore[misc]
    LABELS = AppForm.LABELS


class SecondFactorProofForm(Labelled, MfaReauthenticateForm):  # type: ignore[misc]
    LABELS = AppForm.LABELS


class PasskeyNameForm(Labelled, EditWebAuthnForm):  # type: ignore[misc]
    LABELS: ClassVar[dict[str, Any]] = {"name": _("Name of the passkey")}


class PasskeyForm(Labelled, AddWebAuthnForm):  # type: ignore[misc]
    """A passkey signs in alone, and is a second factor after a password. allauth offers keys that
    are only the latter: a choice that nobody can make without knowing the field."""

    LABELS = PasskeyNameForm.LABELS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["passwordless"].initial = True
        self.fields["passwordless"].widget = forms.HiddenInput()


def password_field() -> forms.CharField:
    return forms.CharField(
        label=PASSWORD,
        strip=False,
        help_text=password_validators_help_text_html(),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


def checked_address(email: str, *, of: User | None = None) -> str:
    """In small letters. Raises ValidationError where it is another account's."""
    email = email.strip().lower()
    accounts = get_user_model().objects
    others = accounts.exclude(pk=of.pk) if of is not None else accounts.all()
    if email and others.filter(Q(email__iexact=email) | Q(username__iexact=email)).exists():
        raise ValidationError(str(get_adapter().error_messages["email_taken"]), code="email_taken")
    return email


class InvitationForm(forms.Form):
    username = forms.CharField(
        label=NAME, max_length=150, widget=forms.TextInput(attrs={"autocomplete": "username"})
    )
    email = forms.EmailField(
        label=MAIL, required=False, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"] = password_field()

    def clean_username(self) -> str:
        return str(get_adapter().clean_username(self.cleaned_data["username"]))

    def clean_email(self) -> str:
        return checked_address(self.cleaned_data["email"])


class NewPasswordForm(forms.Form):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password"] = password_field()


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = get_user_model()
        fields = ("username", "email")
        labels = {"username": NAME, "email": MAIL}  # noqa: RUF012
        help_texts = {"username": ""}  # noqa: RUF012

    def clean_username(self) -> str:
        name = str(self.cleaned_data["username"])
        return name if name == self.initial["username"] else get_adapter().clean_username(name)

    def clean_email(self) -> str:
        return checked_address(self.cleaned_data["email"], of=self.instance)


class TokenForm(forms.Form):
    LIFETIMES = (
        (30, _("30 days")),
        (90, _("90 days")),
        (365, _("a year")),
        (0, _("never")),
    )
    name = forms.CharField(
        label=_("Name"), max_length=100, help_text=_("What it is for, so that you know it again.")
    )
    scopes = forms.MultipleChoiceField(label=_("May"), widget=forms.CheckboxSelectMultiple)
    days = forms.TypedChoiceField(label=_("Expires"), choices=LIFETIMES, coerce=int, initial=90)

    def __init__(self, *args: Any, owner: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices: list[tuple[Any, Any]] = [
            (Scope.CHAT, _("chat: write messages, change and delete sessions")),
            (Scope.READ, _("read: look at sessions and models")),
        ]
        if owner.is_staff:
            choices.append((Scope.ADMIN, _("admin: look at the engine")))
        self.fields["scopes"].choices = choices  # type: ignore[attr-defined]
        self.fields["scopes"].initial = [Scope.CHAT, Scope.READ]

    def arguments(self) -> dict[str, Any]:
        """What `token_create` asks for."""
        given = self.cleaned_data
        days = given["days"]
        return {
            "name": given["name"],
            "scopes": [Scope(each) for each in given["scopes"]],
            "expires_at": timezone.now() + timedelta(days=days) if days else None,
        }
