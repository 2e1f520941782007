"""What the glass box says in the page's JavaScript."""

from __future__ import annotations

from django.utils.translation import gettext as _


def glass_strings() -> dict[str, str]:
    return {
        "token_id": _("token {id}, no. {n} of {total}"),
        "bits": _("{n} bits"),
        "go_on_with": _("Go on with “{text}”: {raw}, as sampled {sampled}"),
        "written_one": _("“{text}” was written: {raw}, as sampled {sampled}"),
        "ends_answer": _("“{text}” ends the answer: {raw}, as sampled {sampled}"),
        "given_token": _("given"),
        "model_changed": _(
            "The model here now is not the one that wrote this ({parts} differ): these are the "
            "odds of the present one."
        ),
        "glass_failed": _("The tokens could not be read. Try again."),
    }
