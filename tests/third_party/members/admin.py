"""Members in the admin, as our own accounts are."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import get_user_model

from chat.accounts.people_admin import UserAdmin

admin.site.register(get_user_model(), UserAdmin)
