"""manage.py generate: one continuation on standard output, without the web server."""

from __future__ import annotations

import json
import logging
import sys
from argparse import ArgumentParser
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from inference.client import PromptCodec
from inference.errors import EngineError
from inference.management.store import store_from_settings
from inference.model_store import ModelStore
from inference.options import BACKENDS, COMPUTE, DEVICES, DTYPES, EngineOptions
from inference.types import ModelKind, SamplingParams

if TYPE_CHECKING:
    from inference.offline import OfflineModel


class Command(BaseCommand):
    help = "Continue a text or answer a conversation, and print the continuation only."
    requires_system_checks: list[str] = []  # noqa: RUF012 (Django's own declaration)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--model", required=True, help="a name in the catalogue, or a folder")
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--prompt", metavar="TEXT", help="the text to continue, as it is")
        source.add_argument("--prompt-file", metavar="FILE", help="a file that holds that text")
        source.add_argument("--messages", metavar="JSON", help='[{"role": …, "content": …}, …]')
        parser.add_argument("--max-tokens", type=int)
        parser.add_argument("--temperature", type=float)
        parser.add_argument("--top-k", type=int)
        parser.add_argument("--top-p", type=float)
        parser.add_argument("--seed", type=int)
        parser.add_argument("--ignore-eos", action="store_true", help="go on past end-of-text")
        parser.add_argument(
            "--prompt-lookup",
            type=int,
            metavar="N",
            help="guess up to N tokens a step from the text so far: faster where it repeats itself",
        )
        parser.add_argument("--dtype", choices=DTYPES[1:], help="keep weights in this precision")
        parser.add_argument("--device", choices=DEVICES[1:], help="compute on this")
        parser.add_argument("--backend", choices=BACKENDS, help="whose products a GPU runs")
        parser.add_argument("--compute", choices=COMPUTE, help="what a GPU adds up products in")
        parser.add_argument(
            "--deterministic", action="store_true", help="the same tokens as in any company"
        )
        parser.add_argument(
            "--context", type=int, help="the most tokens to read; beyond the model's own by YaRN"
        )
        parser.add_argument(
            "--debug-layers",
            action="store_true",
            help="write nothing: compare each layer with an fp32 reference, and name the first "
            "that departs from it",
        )
        parser.add_argument("--json", action="store_true", help="text, tokens and timings as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        logging.getLogger("inference").setLevel(logging.WARNING)
        try:
            self._generate(options)
        except EngineError as error:
            raise CommandError(error.message) from error

    def _generate(self, options: dict[str, Any]) -> None:
        from inference.offline import OfflineModel  # loads torch: not for --help

        store = store_from_settings()
        name = options["model"]
        sampling = _sampling(store, name, options)
        kind = ModelKind.COMPLETION if options["messages"] is None else ModelKind.CHAT
        model = OfflineModel(store.ready_directory(name), kind, _engine_options(options))
        if options["debug_layers"]:
            self._debug_layers(model, store.ready_directory(name), options)
            return
        show = (lambda text: None) if options["json"] else self._show
        generated = model.generate(_prompt(model.codec, options), sampling, show)
        if not options["json"]:
            self.stdout.write("")
            return
        finished = generated.finished
        report = {
            "text": generated.text,
            "token_ids": generated.token_ids,
            "finish_reason": finished.reason,
            "prompt_tokens": finished.prompt_tokens,
            "output_tokens": finished.output_tokens,
            "drafted_tokens": finished.drafted_tokens,
            "accepted_tokens": finished.accepted_tokens,
            "seed": finished.seed,
            "timings": asdict(finished.timings),
        }
        self.stdout.write(json.dumps(report, ensure_ascii=False))

    def _debug_layers(self, model: OfflineModel, directory: Path, options: dict[str, Any]) -> None:
        """Raises CommandError where a layer departs."""
        from inference.layer_check import checked

        parts = []
        for part in checked(model, directory, _prompt(model.codec, options)):
            parts.append(part)
            if not options["json"]:
                mark = "  DEPARTS" if part.departs else ""
                row = f"{part.name:26} {part.error:8.1e}  (allowed {part.allowed:.1e}){mark}"
                self.stdout.write(row)
        first = next((part for part in parts if part.departs), None)
        if options["json"]:
            told = {"parts": list(map(asdict, parts)), "departs": first and first.name}
            self.stdout.write(json.dumps(told))
        if first:
            raise CommandError(f"The first part that departs from the reference is: {first.name}.")

    def _show(self, text: str) -> None:
        self.stdout.write(text, ending="")
        self.stdout.flush()


def _engine_options(options: dict[str, Any]) -> EngineOptions:
    names = ("dtype", "device", "backend", "compute", "deterministic")
    chosen = EngineOptions(**{name: options[name] for name in names if options[name] is not None})
    context = options["context"] or 0
    return replace(chosen, context_tokens=context, kv_tokens=max(chosen.kv_tokens, context))


def _sampling(store: ModelStore, name: str, options: dict[str, Any]) -> SamplingParams:
    names = ("max_tokens", "temperature", "top_k", "top_p", "seed", "prompt_lookup")
    given = {key: options[key] for key in names if options[key] is not None}
    return replace(store.defaults(name), ignore_eos=options["ignore_eos"], **given)


def _prompt(codec: PromptCodec, options: dict[str, Any]) -> list[int]:
    if options["messages"] is not None:
        messages = _messages(options["messages"])
        return codec.encode(codec.render(messages, add_generation_prompt=True))
    if options["prompt_file"] is None:
        text = options["prompt"]
    else:
        text = _read(options["prompt_file"])
    return codec.encode(text, add_special_tokens=True)


def _messages(text: str) -> list[dict[str, Any]]:
    try:
        messages: Any = json.loads(text)
    except ValueError as error:
        raise CommandError(f"--messages is not JSON: {error}") from error
    shaped = isinstance(messages, list) and all(
        isinstance(m, dict) and isinstance(m.get("content"), str) and m.get("role")
        for m in messages
    )
    if not shaped or not messages:
        raise CommandError('--messages must look like [{"role": "user", "content": "Hello"}].')
    return list(messages)


def _read(path: str) -> str:
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return data.decode("utf-8")
    except OSError as error:
        raise CommandError(f"--prompt-file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"--prompt-file {path} is not UTF-8 (byte {error.start}).") from error
