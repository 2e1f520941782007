"""manage.py bench: what this machine does with a model, as tables and as JSON."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference.catalogue import Catalogue
from inference.errors import EngineError
from inference.gpu_tables import readme_section, table, with_section
from inference.model_store import ModelStore
from inference.options import EngineOptions, all_cores

# The READMEs with a table of the GPU, and their languages.
READMES = {"README.md": "en", "README.zh-CN.md": "zh"}
GPU_JSON = Path("docs/benchmarks/gpu.json")


class Command(BaseCommand):
    help = (
        "latency: prefill and decode speed, memory and the share of the memory's bandwidth on the "
        "CPU. gpu: an NVIDIA GPU with models of three shapes, and each kernel. readme: put what "
        "gpu found into the READMEs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("what", choices=["latency", "gpu", "readme"])
        parser.add_argument("--model", default="chat", help="a name in the catalogue, or a folder")
        parser.add_argument(
            "--threads", type=int, nargs="+", help="default: all cores, and all but one as served"
        )
        parser.add_argument(
            "--shapes",
            nargs="+",
            help="of gpu: names of shapes, `kernels`, `modes`, `memory`; default: all",
        )
        parser.add_argument("--output", type=Path, help="a folder for latency.json or gpu.json")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            getattr(self, f"_{options['what']}")(options)
        except EngineError as error:
            raise CommandError(error.message) from error

    def _latency(self, options: dict[str, Any]) -> None:
        from inference import benchmarks  # loads torch: not for --help

        store = ModelStore(settings.TINYLLM_MODELS_DIR, Catalogue.load())
        cores = all_cores()
        threads = options["threads"] or sorted({cores, max(1, cores - 1)}, reverse=True)
        engine_options = EngineOptions(tuning_file=settings.TINYLLM_DATA_DIR / "product_rows.json")
        directory = store.ready_directory(options["model"])
        report = benchmarks.latency(directory, tuple(threads), engine_options)
        self.stdout.write(_table(report))
        self._save(report, options["output"], "latency.json")

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
            path = folder / name
            path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
            self.stdout.write(f"Written to {path}.")


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
