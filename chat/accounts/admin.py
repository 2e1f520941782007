"""Accounts in the admin: tokens to revoke, links to make and show once. allauth's own tables are
not shown: they hold keys, and each account has pages for what is its own."""

from __future__ import annotations

from typing import Any

from allauth.account.decorators import secure_admin_login
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import get_permission_codename, get_user_model
from django.contrib.auth.decorators import login_not_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from chat import live_settings
from chat.accounts import links
from chat.accounts.tokens import tokens_revoke
from chat.models import AccountLink, ApiToken

for model in (EmailAddress, Authenticator, SocialAccount, SocialApp, SocialToken, UserSession):
    if admin.site.is_registered(model):
        admin.site.unregister(model)

_own_form = admin.site.login
_our_page = secure_admin_login(_own_form)


@login_not_required
def sign_in(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """Where there are accounts, there is one way in, with its second factors and its limits. Local
    mode has no such page, and its administrator the admin's own form."""
    form = _own_form if settings.TINYLLM_LOCAL else _our_page
    answer: HttpResponse = form(request, extra_context)
    return answer


admin.site.login = sign_in  # type: ignore[method-assign]


def link_url(request: HttpRequest, kind: AccountLink.Kind, secret: str) -> str:
    return request.build_absolute_uri(reverse(f"account_{_PAGES[kind]}", args=[secret]))


_PAGES = {
    AccountLink.Kind.INVITATION: "invitation",
    AccountLink.Kind.PASSWORD: "password_link",
}


def show_link(request: HttpRequest, kind: AccountLink.Kind, secret: str, whose: str) -> None:
    """In the answer to the request that made it, and nowhere else."""
    days = links.GOOD_FOR[kind].days
    told = gettext("%(whose)s, good once and for %(days)d day(s), shown only now: %(url)s") % {
        "whose": whose,
        "days": days,
        "url": link_url(request, kind, secret),
    }
    messages.success(request, told)


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):  # type: ignore[misc]
    """Made by their owners alone."""

    list_display = ("name", "prefix", "owner", "scopes", "expires_at", "last_used_at", "revoked_at")
    list_filter = ("revoked_at", "expires_at")
    list_select_related = ("owner",)
    search_fields = ("name", "=prefix", "owner__username")
    fields = (*list_display, "created_at")
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("chat.change_apitoken")

    @admin.action(description=_("Revoke the selected tokens"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, rows: QuerySet[ApiToken]) -> None:
        tokens_revoke(rows)
        messages.success(request, gettext("They no longer work."))


@admin.register(AccountLink)
class AccountLinkAdmin(ModelAdmin):  # type: ignore[misc]
    """Adding one makes an invitation. A link for a new password is an action on an account."""

    list_display = ("kind", "group", "user", "made_by", "created_at", "expires_at", "used_at")
    list_filter = ("kind", "used_at")
    list_select_related = ("group", "user", "made_by")

    def has_change_permission(self, request: HttpRequest, obj: AccountLink | None = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: AccountLink | None = None) -> tuple[str, ...]:
        return self.list_display if obj else ("group",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whoever may put people into groups: an invitation does. Not where none would work."""
        allowed: bool = super().has_add_permission(request)
        account = get_user_model()._meta
        change = get_permission_codename("change", account)
        is_open = live_settings.value("TINYLLM_SIGNUP") != "closed"
        return allowed and is_open and request.user.has_perm(f"{account.app_label}.{change}")

    def save_model(self, request: HttpRequest, obj: AccountLink, form: Any, change: bool) -> None:
        assert isinstance(request.user, get_user_model())
        row, secret = links.invitation_create(made_by=request.user, group=obj.group)
        obj.__dict__.update(row.__dict__)
        show_link(request, AccountLink.Kind.INVITATION, secret, gettext("Invitation"))
