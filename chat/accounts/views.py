"""The pages of accounts that are ours: the account, its tokens, and what one-time links open.
Signing in and second factors are allauth's views with our templates."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

from allauth.account.adapter import get_adapter
from allauth.account.decorators import reauthentication_required
from allauth.account.utils import perform_login
from allauth.decorators import rate_limit
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.openid_connect import views as oidc_views
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from chat.accounts import browsers, links
from chat.accounts.errors import LinkInvalid
from chat.accounts.forms import InvitationForm, NewPasswordForm, ProfileForm, TokenForm
from chat.accounts.tokens import token_create, token_revoke, tokens_of
from chat.models import AccountLink, User


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, get_user_model())
    return request.user


def _can_prove(request: HttpRequest) -> bool:
    """Whether there is anything to ask for: who came from an OIDC provider may have no password."""
    return bool(get_adapter().get_reauthentication_methods(request.user))


@never_cache
@require_http_methods(["GET", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    user = _user(request)
    # A copy: what was typed wrongly must not be shown elsewhere on the page.
    form = ProfileForm(request.POST or None, instance=get_user_model().objects.get(pk=user.pk))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Saved."))
        return redirect("account")
    factors = list(Authenticator.objects.filter(user=user).order_by("created_at"))
    context = {
        "form": form,
        "totp": next((each for each in factors if each.type == Authenticator.Type.TOTP), None),
        "passkeys": [each.wrap() for each in factors if each.type == Authenticator.Type.WEBAUTHN],
        "has_recovery": any(each.type == Authenticator.Type.RECOVERY_CODES for each in factors),
        "tokens": sum(token.revoked_at is None for token in tokens_of(owner=user)),
        "signed_in": browsers.signed_in(user=user),
        "connections": SocialAccount.objects.filter(user=user).count(),
        "has_provider": bool(settings.TINYLLM_OIDC_ISSUER),
        "provider_name": settings.TINYLLM_OIDC_NAME,
    }
    return render(request, "accounts/account.html", context)


@require_POST
def sign_out_elsewhere(request: HttpRequest) -> HttpResponse:
    browsers.sign_out_elsewhere(request=request, user=_user(request))
    messages.success(request, _("You are signed out everywhere else."))
    return redirect("account")


@never_cache
@require_GET
def tokens(request: HttpRequest) -> HttpResponse:
    context = {"tokens": tokens_of(owner=_user(request)), "now": timezone.now()}
    return render(request, "accounts/tokens.html", context)


@never_cache
@reauthentication_required(enabled=_can_prove)  # type: ignore[untyped-decorator]
@require_http_methods(["GET", "POST"])
def token_new(request: HttpRequest) -> HttpResponse:
    """The answer to the form is the only page that ever shows the token."""
    form = TokenForm(request.POST or None, owner=_user(request))
    if request.method == "POST" and form.is_valid():
        token, text = token_create(owner=_user(request), **form.arguments())
        return render(request, "accounts/token_made.html", {"token": token, "text": text})
    return render(request, "accounts/token_new.html", {"form": form})


@require_POST
def token_end(request: HttpRequest, token_id: uuid.UUID) -> HttpResponse:
    if not token_revoke(owner=_user(request), token_id=token_id):
        raise Http404
    messages.success(request, _("The token was revoked."))
    return redirect("account_tokens")


@login_not_required
@never_cache
@rate_limit(action="login")  # type: ignore[untyped-decorator]
@require_http_methods(["GET", "POST"])
def provider_login(request: HttpRequest, provider_id: str) -> HttpResponse:
    """allauth's answer to the form, an address of the provider's, as a page that goes on by itself:
    a form of ours may not end elsewhere, redirects included (form-action)."""
    answer: HttpResponse = oidc_views.login(request, provider_id)
    if isinstance(answer, HttpResponseRedirect) and urlsplit(answer.url).netloc:
        return render(request, "accounts/go_on.html", {"url": answer.url})
    return answer


@login_not_required
@never_cache
@rate_limit(action="signup")  # type: ignore[untyped-decorator]
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    def accept(form: forms.Form) -> HttpResponse:
        user = links.invitation_accept(secret=secret, **form.cleaned_data)
        answer: HttpResponse = perform_login(request, user, signup=True)
        return answer

    form = InvitationForm(request.POST or None)
    return _linked(request, AccountLink.Kind.INVITATION, secret, form, accept)


@login_not_required
@never_cache
@rate_limit(action="reset_password_from_key")  # type: ignore[untyped-decorator]
@require_http_methods(["GET", "POST"])
def password_link(request: HttpRequest, secret: str) -> HttpResponse:
    def change(form: forms.Form) -> HttpResponse:
        links.password_link_use(secret=secret, **form.cleaned_data)
        messages.success(request, _("The password is changed. Sign in with it."))
        return redirect("account_login")

    form = NewPasswordForm(request.POST or None)
    return _linked(request, AccountLink.Kind.PASSWORD, secret, form, change)


def _linked(
    request: HttpRequest,
    kind: AccountLink.Kind,
    secret: str,
    form: forms.Form,
    use: Callable[[forms.Form], HttpResponse],
) -> HttpResponse:
    try:
        link = links.link_find(kind=kind, secret=secret)
        if form.is_valid():
            return use(form)
    except LinkInvalid:
        return render(request, "accounts/link_used.html", status=404)
    except ValidationError as error:
        form.add_error("password", error.messages)
    return render(request, f"accounts/{kind}.html", {"form": form, "link": link})
