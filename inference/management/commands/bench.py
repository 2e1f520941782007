"""manage.py bench: what this machine does with a model, as tables and as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference import serving_metrics
from inference.backend import choose_backend
from inference.errors import EngineError
from inference.gpu_tables import readme_section, table, with_section
from inference.management.store import store_from_settings
from inference.options import EngineOptions, all_cores, site_options
from inference.probe import probe_apart
from inference.types import MAX_PROMPT_LOOKUP

# The READMEs with a table of the GPU, and their languages.
READMES = {"README.md": "en", "README.zh-CN.md": "zh"}
GPU_JSON = Path("docs/benchmarks/gpu.json")
WHAT = (
    "latency",
    "context",
    "throughput",
    "serve",
    "web",
    "cancel",
    "speculation",
    "gpu",
    "readme",
)


class Command(BaseCommand):
    help = (
        "latency: prefill and decode speed, memory and the share of the memory's bandwidth on the "
        "CPU. context: prompts up to the model's limit and beyond it. throughput: many requests at "
        "once, without a server. serve: a running site, over websockets, at several rates. web: "
        "what a site costs beside its engine, with all requests at once. cancel: how soon the "
        "engine is free of a cancelled answer. speculation: one reader with and without guesses "
        "from the text so far. gpu: an NVIDIA GPU with models of three shapes, and each kernel. "
        "readme: put what gpu found into the READMEs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", choices=WHAT)
        parser.add_argument("--model", default="chat", help="a name in the catalogue, or a folder")
        parser.add_argument(
            "--threads", type=int, nargs="+", help="default: all cores, and all but one as served"
        )
        parser.add_argument(
            "--shapes",
            nargs="+",
            help="of gpu: names of shapes, `kernels`, `modes`, `memory`; default: all",
        )
        parser.add_argument("--output", type=Path, help="a folder for what is found, as JSON")
        _context_arguments(parser)
        _serving_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['what']}")(options)
        except EngineError as error:
            raise CommandError(error.message) from error

    def _latency(self, options: dict[str, Any]) -> None:
        from inference import benchmarks  # loads torch: not for --help

        store = store_from_settings()
        cores = all_cores()
        threads = options["threads"] or sorted({cores, max(1, cores - 1)}, reverse=True)
        engine_options = EngineOptions(tuning_file=settings.TINYLLM_DATA_DIR / "product_rows.json")
        directory = store.ready_directory(options["model"])
        report = benchmarks.latency(directory, tuple(threads), engine_options)
        self.stdout.write(_table(report))
        self._save(report, options["output"], "latency.json")
        self._kv_disk(directory, options["output"])

    def _kv_disk(self, directory: Path, folder: Path | None) -> None:
        from inference.benchmark_kv_disk import kv_disk
        from inference.machine import machine

        measured = kv_disk(directory, _site_options(), settings.TINYLLM_DATA_DIR)
        report = {"machine": machine(), **measured}
        times = report["first_token_ms"].items()
        said = ", ".join(f"{way} {row['median']:.0f} ms" for way, row in times)
        self.stdout.write(f"\nfirst token behind {report['earlier_tokens']} tokens: {said}")
        self._save(report, folder, "kv_disk.json")

    def _context(self, options: dict[str, Any]) -> None:
        from inference import context_benchmark as its  # loads torch

        logging.getLogger("inference").setLevel(logging.WARNING)
        directory = store_from_settings().ready_directory(options["model"])
        lengths = options["lengths"] or its.LENGTHS
        texts = its.TEXTS if options["texts"] is None else options["texts"]
        yarn = options["yarn"] == "auto"
        report: dict[str, Any] = {}
        # kept after each row: the long ones take their time
        for report in its.reports(directory, lengths, texts, _site_options(), yarn=yarn):
            self._save(report, options["output"], "context.json")
        self.stdout.write(its.table(report))

    def _throughput(self, options: dict[str, Any]) -> None:
        from inference.throughput import Work, throughput  # loads torch

        logging.getLogger("inference").setLevel(logging.WARNING)
        seats = settings.TINYLLM_MAX_BATCH
        work = Work(**({"concurrency": seats} if seats else {}) | _given(options))
        store = store_from_settings()
        directory = store.ready_directory(options["model"])
        report = throughput(directory, work, _site_options())
        title = f"{report['model']} on {report['device']}, {work.concurrency} at a time"
        self.stdout.write(serving_metrics.table(title, report))
        self._save(report, options["output"], "throughput.json")

    def _serve(self, options: dict[str, Any]) -> None:
        try:
            from inference.load_client import Load, LoadError, Site, serve_figures
        except ModuleNotFoundError as error:
            reason = f"bench serve needs requirements-dev.txt: {error.name} is not installed."
            raise CommandError(reason) from error
        given, site = _given(options), Site.at(options["url"])
        loads = [Load(options["model"], rate=rate, **given) for rate in options["rates"]]
        runs = []
        try:
            for load in loads:
                run = asyncio.run(serve_figures(site, load))
                runs.append(run)
                title = f"{load.model}, {run['rate']} requests/s, {_bound(load.concurrency)}"
                self.stdout.write(serving_metrics.table(title, run) + "\n")
        except LoadError as error:
            raise CommandError(f"{site.origin}: {error}") from error
        if options["output"]:
            from inference.machine import machine  # loads torch

            self._save({"machine": machine(), "runs": runs}, options["output"], "serve.json")

    def _speculation(self, options: dict[str, Any]) -> None:
        from inference import benchmark_speculation  # loads torch

        logging.getLogger("inference").setLevel(logging.WARNING)
        directory = store_from_settings().ready_directory(options["model"])
        root, most = Path(settings.BASE_DIR), options["prompt_lookup"]
        try:
            report = benchmark_speculation.speculation(directory, root, most, _site_options())
        except OSError as error:
            raise CommandError(f"{error.filename}: {error.strerror}") from error
        self.stdout.write(benchmark_speculation.table(report))
        self._save(report, options["output"], f"speculation-{report['device']}.json")

    def _web(self, options: dict[str, Any]) -> None:
        from inference.load_client import Load, LoadError
        from inference.machine import machine  # loads torch
        from inference.web_benchmark import web_figures

        load = Load(options["model"], **{"requests": 32} | _given(options))
        scripted = settings.TINYLLM_ENGINE_FACTORY != "chat.engine.build"
        try:
            found = web_figures(settings.BASE_DIR / "manage.py", load, offline=not scripted)
        except LoadError as error:
            raise CommandError(str(error)) from error
        for name in ("alone", "many", "offline"):
            if name in found:
                self.stdout.write(serving_metrics.table(name, found[name]) + "\n")
        self.stdout.write(f"{found['cpu']['web_us_per_token']:.0f} µs of the site for each token")
        if "share_of_offline" in found:
            self.stdout.write(f"{found['share_of_offline']:.0%} of what the engine does alone")
        self._save({"machine": machine(), **found}, options["output"], "web.json")

    def _cancel(self, options: dict[str, Any]) -> None:
        from inference.cancel_benchmark import cancel_figures
        from inference.machine import machine  # loads torch

        rounds = options["requests"] or 30
        found = cancel_figures(settings.BASE_DIR / "manage.py", options["model"], rounds)
        self.stdout.write(json.dumps(found, indent=1))
        report = {"machine": machine(), "model": options["model"], "milliseconds": found}
        self._save(report, options["output"], "cancel.json")

    def _gpu(self, options: dict[str, Any]) -> None:
        from inference import gpu_benchmarks  # loads torch
        from inference.gpu_rates import Plan

        names = tuple(options["shapes"] or gpu_benchmarks.PARTS)
        report: dict[str, Any] = {}
        # kept after each part: what was measured is not lost with the next
        for report in gpu_benchmarks.reports(names, Plan()):
            if options["output"]:
                gpu_benchmarks.write(report, options["output"] / "gpu.json")
        self.stdout.write(table(report))
        self._save(report, options["output"], "gpu.json")

    def _readme(self, options: dict[str, Any]) -> None:
        root = Path(settings.BASE_DIR)
        try:
            report = json.loads((root / GPU_JSON).read_text(encoding="utf-8"))
            for name, language in READMES.items():
                path = root / name
                text = with_section(path.read_text("utf-8"), readme_section(report, language))
                path.write_text(text, encoding="utf-8")
                self.stdout.write(f"Written to {name}.")
        except (OSError, ValueError) as error:
            raise CommandError(f"{error}") from error

    def _save(self, report: dict[str, Any], folder: Path | None, name: str) -> None:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            self.stdout.write(f"Written to {path}.")


def _context_arguments(parser: ArgumentParser) -> None:
    context = parser.add_argument_group("of context")
    context.add_argument("--lengths", type=_integers, metavar="N,N", help="tokens of a prompt")
    context.add_argument("--texts", type=int, help="five facts are hidden in each; default: 4")
    context.add_argument(
        "--yarn",
        choices=["auto", "off"],
        default="auto",
        help="auto: lengths beyond the model's limit, and the limit once more, are read with "
        "positions stretched; off: they are refused",
    )
    parser.add_argument(
        "--prompt-lookup",
        type=int,
        default=MAX_PROMPT_LOOKUP,
        metavar="N",
        help="of speculation: the most guesses a step; default: %(default)s",
    )


def _serving_arguments(parser: ArgumentParser) -> None:
    many = parser.add_argument_group("of throughput, serve and web")
    many.add_argument("--requests", type=int, help="default: 1000; of serve 100 at each rate")
    many.add_argument("--input-len", type=int, help="tokens, of serve words; default: 128")
    many.add_argument("--output-len", type=int, help="tokens of each answer; default: 128")
    many.add_argument(
        "--concurrency",
        type=int,
        help="the most in flight; default: TINYLLM_MAX_BATCH, of serve no bound",
    )
    serve = parser.add_argument_group("of serve")
    serve.add_argument("--url", default="http://localhost:3000", help="the running site")
    serve.add_argument(
        "--rates",
        type=float,
        nargs="+",
        default=[math.inf],
        help="requests/s; inf: all at once",
    )


def _integers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def _given(options: dict[str, Any]) -> dict[str, int]:
    names = ("requests", "input_len", "output_len", "concurrency")
    return {name: options[name] for name in names if options[name] is not None}


def _bound(concurrency: int | None) -> str:
    return f"at most {concurrency} in flight" if concurrency else "any number in flight"


def _site_options() -> EngineOptions:
    """As the site computes. Raises DeviceUnavailable, InvalidParameter."""
    return site_options(settings, choose_backend(probe_apart(), settings.TINYLLM_DEVICE).name)


def _table(report: dict[str, Any]) -> str:
    machine = report["machine"]
    title = f"{report['model']} on {machine['processor']}, torch {machine['versions']['torch']}"
    return "\n\n".join([title, *(_run_table(run) for run in report["runs"])])


def _run_table(run: dict[str, Any]) -> str:
    lines = [
        f"{run['threads']} threads, {run['stored_as']} weights, memory read at "
        f"{run['read_bandwidth_gb_per_s']:.1f} GB/s, peak memory {run['peak_memory_gb']:.2f} GB",
        f"{'':<30}{'tokens/s':>9}{'(from to)':>18}{'GB/s':>7}{'share':>7}{'logit error':>13}",
    ]
    for row in run["rows"]:
        spread = f"({row['slowest']:.1f} {row['fastest']:.1f})"
        read = f"{row['gb_per_s']:.1f}" if row["gb_per_s"] else ""
        share = f"{row['share']:.0%}" if row["share"] else ""
        error = f"{row['logit_error']:.1e}" if row["logit_error"] is not None else ""
        lines.append(
            f"{row['name']:<30}{row['tokens_per_s']:>9.1f}{spread:>18}{read:>7}{share:>7}{error:>13}"
        )
    return "\n".join(lines)
