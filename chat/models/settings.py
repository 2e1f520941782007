"""Settings that were changed while the site runs."""

from __future__ import annotations

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class SiteSetting(models.Model):
    """One of `chat.live_settings.LIVE` that was set in the admin. value: a number or a word."""

    name = models.CharField(_("name"), max_length=64, primary_key=True)
    value = models.JSONField(_("value"))
    changed_at = models.DateTimeField(_("changed"), default=timezone.now)

    class Meta:
        verbose_name = _("setting")
        verbose_name_plural = _("settings")
        default_permissions = ("view", "change")

    def __str__(self) -> str:
        return self.name
