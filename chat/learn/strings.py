"""What the learning page says in its JavaScript."""

from __future__ import annotations

from django.utils.translation import gettext as _


def learn_strings() -> dict[str, str]:
    return {
        "token_id": _("token {id}, no. {n} of {total}"),
        "computing": _("Computing…"),
        "learn_failed": _("The page could not reach the engine. Try again."),
        "step_of": _("Step {n} of {total}"),
        "of_vector": _("{n} of {total} numbers of the last token"),
        "before_norm": _("before, root mean square {n}"),
        "after_norm": _("after"),
        "query": _("query"),
        "key": _("key"),
        "value": _("value"),
        "head_of": _("Layer {layer}, head {head}"),
        "rope_caption": _(
            "The first pair of the query of “{token}”, at position {n}: turned by {angle} degrees. "
            "The fine lines are the angles of the positions before."
        ),
        "before": _("before"),
        "after": _("after"),
        "reads": _("“{token}” reads: {list}"),
        "attention_caption": _(
            "Point at a row, or move with the arrow keys up and down: how much a token reads from "
            "each one before it."
        ),
        "attention_row": _("Row of “{token}”"),
        "mlp_caption": _("{n} of {total} numbers behind the gate; {part} of all are above zero"),
        "residual_caption": _("Root mean square after the embedding, then after each addition"),
        "residual_bar": _("{n}. addition: {value}"),
        "stage_caption": _("{name} = {value}: {n} of {total} tokens can still be drawn"),
        "cut": _("cut away"),
        "draw_caption": _(
            "Seed {seed}, position {position}: the number {point} falls on “{token}”"
        ),
        "others": _("others"),
        "ended": _("This token ends the text: there is nothing to append."),
        "full": _("The page shows at most {n} tokens. Begin anew with a shorter text."),
    }
