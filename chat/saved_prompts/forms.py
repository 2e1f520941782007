"""A prompt's name and text as somebody gives them."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from chat.models import SavedPrompt
from chat.saved_prompts.store import MOST, has_room


class PromptForm(forms.ModelForm):  # type: ignore[type-arg]
    """instance: with its owner; without one it is the site's."""

    class Meta:
        model = SavedPrompt
        fields = ("name", "text")
        widgets: ClassVar[dict[str, Any]] = {
            "name": forms.TextInput(attrs={"dir": "auto", "autocomplete": "off"}),
            "text": forms.Textarea(attrs={"dir": "auto", "rows": 8}),
        }

    def clean_name(self) -> str:
        """On one line."""
        return " ".join(str(self.cleaned_data["name"]).split())

    def clean_text(self) -> str:
        """Lines end as they do in a message."""
        return str(self.cleaned_data["text"]).replace("\r\n", "\n")

    def clean(self) -> None:
        owner_id = self.instance.owner_id
        if self.instance._state.adding and owner_id and not has_room(owner_id=owner_id):
            raise ValidationError(_("There are %(most)d prompts, and no more.") % {"most": MOST})
