"""People in the admin: the link that gives one a new password, and how one is erased."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from chat.accounts.admin import show_link
from chat.accounts.links import password_link_create
from chat.models import AccountLink, File, Message, Session, User
from chat.privacy.erasure import PersonNotFound, erase_person
from chat.privacy.own_data import owned_tables


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[misc,type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    actions = ("make_password_link", "remove_second_factors")
    list_display = (
        "username",
        "is_staff",
        "is_active",
        "sessions",
        "last_login",
    )
    search_fields = (
        "username",
        "email",
    )
    readonly_fields = (
        "last_login",
        "date_joined",
    )
    SEEN = (
        "username",
        "email",
        "is_active",
        "is_staff",
        "is_superuser",
        "groups",
        "last_login",
        "date_joined",
    )
    """What somebody sees who may only look: nothing about the password."""

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is not None and not self.has_change_permission(request, obj):
            return ((None, {"fields": self.SEEN}),)
        return super().get_fieldsets(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        rows: QuerySet[User] = super().get_queryset(request)
        return rows.annotate(session_count=Count("sessions"))

    @admin.display(description=_("sessions"), ordering="session_count")
    def sessions(self, user: User) -> int:
        return user.session_count  # type: ignore[attr-defined,no-any-return]

    def has_rescue_permission(self, request: HttpRequest) -> bool:
        """Who opens an account to somebody could become him, so a superuser only."""
        return bool(request.user.is_active and getattr(request.user, "is_superuser", False))

    @admin.action(description=_("Make links for a new password"), permissions=["rescue"])
    def make_password_link(self, request: HttpRequest, rows: QuerySet[User]) -> None:
        assert isinstance(request.user, get_user_model())
        for user in rows.filter(is_active=True):
            _link, secret = password_link_create(made_by=request.user, user=user)
            show_link(request, AccountLink.Kind.PASSWORD, secret, user.username)

    @admin.action(description=_("Remove second factors and passkeys"), permissions=["rescue"])
    def remove_second_factors(self, request: HttpRequest, rows: QuerySet[User]) -> None:
        for user in rows:
            user.authenticator_set.all().delete()  # type: ignore[attr-defined]
        messages.success(request, gettext("A password alone signs these accounts in now."))

    def get_deleted_objects(
        self, objs: Iterable[User], request: HttpRequest
    ) -> tuple[list[Any], dict[Any, int], set[Any], list[Any]]:
        """What goes with people, by numbers: a list of it would have thousands of rows. Who may
        delete accounts may erase them, also where the admin's own lists are only to look at."""
        people = list(objs)
        counts = {self.opts.verbose_name_plural: len(people)}
        owner = owned_tables()
        for model in (Session, Message, File):
            theirs = model._default_manager.filter(**{f"{owner[model]}__in": people})
            counts[model._meta.verbose_name_plural] = theirs.count()
        return people, counts, set(), []

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        """After the admin's transaction, whose log has the name too."""
        transaction.on_commit(partial(_erase, request, obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        for user in queryset:
            self.delete_model(request, user)


def _erase(request: HttpRequest, user_id: Any) -> None:
    try:
        erased = async_to_sync(erase_person)(user_id=user_id)
    except PersonNotFound:
        return  # somebody else was faster
    if not erased.is_scrubbed:
        messages.warning(
            request,
            gettext(
                "Bytes of what was deleted may still be in the database's files, since somebody "
                "was reading all the time. Run manage.py scrub when it is quiet."
            ),
        )
