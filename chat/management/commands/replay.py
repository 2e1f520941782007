"""manage.py replay: run a recorded generation again, and say whether it gives the same tokens."""

from __future__ import annotations

import json
import logging
import sys
import uuid
from argparse import ArgumentParser, BooleanOptionalAction
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat import engine, sampling
from chat.errors import ChatError, wire
from chat.models import Generation
from chat.packing import unpack
from chat.prompt_selectors import output_ids
from inference.errors import EngineError
from inference.types import SamplingParams

if TYPE_CHECKING:
    from chat.engine import Choice, Difference

NOT_RUN = 2
"""The exit status where there is nothing to compare; 1: the tokens differ."""


@dataclass(frozen=True, slots=True)
class _Record:
    """What a row says. deterministic: None where the engine never said how it computed, because
    the answer was broken off; engine is empty then. answer_start: where it went on with one."""

    id: uuid.UUID
    model: str
    fingerprint: dict[str, str]
    prompt_ids: list[int]
    answer_start: int | None
    output_ids: list[int]
    sampling: SamplingParams
    deterministic: bool | None
    engine: dict[str, str]


class Command(BaseCommand):
    help = "Run a recorded generation again, alone. Exit status 0: identical, 1: different."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", help="of the generation, as the admin pages show it")
        parser.add_argument(
            "--deterministic", action=BooleanOptionalAction, help="default: as it was made"
        )
        parser.add_argument("--json", action="store_true", help="the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        for name in ("inference", "chat"):
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            report = _replay(_record(options["id"]), options["deterministic"])
        except (ChatError, EngineError) as error:
            raise _refusal(wire(error).message) from error
        if options["json"]:
            self.stdout.write(json.dumps(report.as_dict(), ensure_ascii=False))
        else:
            self.stdout.write("\n".join(report.lines()))
        if report.difference:
            sys.exit(1)


@dataclass(frozen=True, slots=True)
class _Report:
    """changed: the parts of the model's fingerprint, and of what computes, that are others now,
    then and now. setup: what computed the replay."""

    record: _Record
    changed: dict[str, tuple[str, str]]
    setup: dict[str, Any]
    difference: Difference | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": str(self.record.id),
            "identical": self.difference is None,
            "tokens": len(self.record.output_ids),
            "made_deterministic": self.record.deterministic,
            "changed": self.changed,
            "made_with": self.record.engine,
            "replayed_with": self.setup,
            "difference": asdict(self.difference) if self.difference else None,
        }

    def lines(self) -> list[str]:
        found, said = self.difference, []
        for part, (then, now) in self.changed.items():
            fields = {"part": part, "then": then[:12] or "-", "now": now[:12] or "-"}
            said.append(_("Changed since: %(part)s (was %(then)s, is %(now)s).") % fields)
        tokens = len(self.record.output_ids)
        if found is None:
            words = ngettext("identical: %(tokens)d token", "identical: %(tokens)d tokens", tokens)
            return [*said, words % {"tokens": tokens}]
        where = {"position": found.position, "tokens": tokens}
        return [
            *said,
            _("different from token %(position)d on (counted from 0, of %(tokens)d)") % where,
            _("recorded: %(choice)s") % {"choice": _choice(found.recorded)},
            _("replayed: %(choice)s") % {"choice": _choice(found.replayed)},
            _("logit gap: %(gap)s") % {"gap": f"{found.gap:.6g}"},
            *_causes(self.record),
            *self._setups(),
        ]

    def _setups(self) -> list[str]:
        made, replayed = (
            ", ".join(f"{part} {value}" for part, value in setup.items())
            for setup in (self.record.engine, self.setup)
        )
        if made:
            words = _("Made with %(made)s; replayed with %(replayed)s.")
            return [words % {"made": made, "replayed": replayed}]
        words = _("Replayed with %(replayed)s; the record does not say with what it was made.")
        return [words % {"replayed": replayed}]


def _choice(choice: Choice) -> str:
    text = json.dumps(choice.text, ensure_ascii=False)
    return _("%(id)d %(text)s, logit %(logit)s") % {
        "id": choice.id,
        "text": text,
        "logit": f"{choice.logit:.6g}",
    }


def _causes(record: _Record) -> list[str]:
    """What may have made the difference, as far as the record tells."""
    made = {
        True: _("It was made in deterministic mode."),
        False: _(
            "It was not made in deterministic mode: a small gap is what other company or another "
            "cutting of the prompt can cause."
        ),
        None: _("It was broken off, so it is not known whether it was made deterministically."),
    }
    said, its = [made[record.deterministic]], record.sampling
    penalties = (its.repetition_penalty, its.presence_penalty, its.frequency_penalty)
    if its.temperature > 0 or its.logit_bias or penalties != (1, 0, 0):
        said.append(_("Penalties and the draw came after the logits: a wide gap can be near too."))
    return said


def _refusal(message: str) -> CommandError:
    return CommandError(message, returncode=NOT_RUN)


def _record(text: str) -> _Record:
    """Raises CommandError for what cannot be run again, ChatError and EngineError for sampling
    values that are not allowed."""
    try:
        row = Generation.objects.get(id=uuid.UUID(text))
    except ValueError:
        raise _refusal(_("%(id)s is not the id of a generation.") % {"id": repr(text)}) from None
    except Generation.DoesNotExist:
        raise _refusal(_("There is no generation %(id)s.") % {"id": text}) from None
    if row.status == Generation.Status.RUNNING:
        raise _refusal(_("The generation %(id)s is still being written.") % {"id": text})
    tokens = output_ids(row)
    if not tokens:
        raise _refusal(_("The generation %(id)s has no tokens.") % {"id": text})
    params = replace(sampling.from_json(row.sampling), seed=row.seed)
    if params.temperature > 0 and row.seed is None:
        words = _("The generation %(id)s was broken off before its seed was known.")
        raise _refusal(words % {"id": text})
    # older records got it only from an answer that ended by itself
    is_known = bool(row.engine) or row.status == Generation.Status.DONE
    return _Record(
        id=row.id,
        model=row.model,
        fingerprint=row.fingerprint,
        prompt_ids=unpack(row.prompt_ids),
        answer_start=_answer_start(row),
        output_ids=tokens,
        sampling=params,
        deterministic=row.deterministic if is_known else None,
        engine=row.engine,
    )


def _answer_start(row: Generation) -> int | None:
    """Where it went on with an answer: its first generation read the question alone, or with the
    tokens that the answer was given to begin with."""
    first = row.message.generations.order_by("created_at")[0]
    return None if first.id == row.id and not row.prefix_offsets else first.answer_start


def _replay(record: _Record, deterministic: bool | None) -> _Report:
    """deterministic: as it is asked for, or None. Raises CommandError, EngineError."""
    for known in (record.deterministic, settings.TINYLLM_DETERMINISTIC):
        deterministic = known if deterministic is None else deterministic
    model = engine.replay_model(
        record.model,
        deterministic=bool(deterministic),
        tokens=len(record.prompt_ids) + len(record.output_ids),
        context_tokens=int(record.fingerprint.get("stretched") or 0),
    )
    changed = {
        part: (record.fingerprint.get(part, ""), now)
        for part, now in engine.fingerprint(model.codec).items()
        if now != record.fingerprint.get(part, "")
    }
    if "weights" in changed:
        then, now = (weights[:12] or "-" for weights in changed["weights"])
        words = _("%(model)s has other weights now (%(now)s) than the record (%(then)s).")
        raise _refusal(words % {"model": record.model, "now": now, "then": then})
    difference = model.first_difference(
        record.prompt_ids, record.output_ids, record.sampling, record.answer_start
    )
    setup = asdict(model.engine.setup)
    changed |= {
        part: (then, setup[part])
        for part, then in record.engine.items()
        if part in setup and then != setup[part]
    }
    setup["deterministic"] = model.options.deterministic
    return _Report(record, changed, setup, difference)
