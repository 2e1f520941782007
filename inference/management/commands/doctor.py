"""manage.py doctor: what this machine has, what the engine computes on and why, what to mend."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from inference import plugins
from inference.backend import Backend, Facts, choose_backend
from inference.device_memory import MemoryNeed, check_memory
from inference.errors import DeviceMemoryTooSmall, EngineError
from inference.management.store import store_from_settings
from inference.memory_budget import budget_of, suited
from inference.options import DEVICES, EngineOptions, site_options
from inference.probe import GpuProcess, gpu_processes, probe

_SOURCES = {
    "default": gettext_noop("default"),
    "file": gettext_noop("the file .env"),
    "environment": gettext_noop("environment"),
    "admin": gettext_noop("admin"),
}


class Command(BaseCommand):
    help = "Say what the engine computes on and why, and what to do where something does not fit."
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Ours is --settings here: Django's own, a module, is of no use to whom this is for."""
        parser = super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)
        parser.set_defaults(settings=None)
        return parser

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--expect", choices=DEVICES[1:], help="fail unless the engine computes on this"
        )

        parser.add_argument(
            "--settings",
            dest="settings_table",
            action="store_true",
            help="list every setting with its value and where it came from",
        )

    def handle(self, *args: Any, expect: str | None = None, **options: Any) -> None:
        if options.get("settings_table"):
            self._write_settings()
            return
        facts = probe(memory=True)
        self._write_facts(facts)
        try:
            wanted = site_options(settings, settings.TINYLLM_DEVICE)
            backend = choose_backend(facts, wanted.device)
        except EngineError as error:
            raise CommandError(error.message) from error
        self._write_plugins()
        self._write_backend(backend)
        if backend.name == "cuda":
            self._write_memory(facts, wanted)
        if expect not in (None, backend.name):
            raise CommandError(_("Expected to compute on: %(expected)s.") % {"expected": expect})

    def _write_settings(self) -> None:
        """By name; secrets are not shown. The site says what was changed while it runs."""
        rows = [(_("SETTING"), _("VALUE"), _("FROM"), "")]
        for row in import_string(settings.TINYLLM_SETTING_ROWS)():
            can = "" if not row.is_live else _("locked") if row.is_locked else _("admin can change")
            rows.append((row.name, row.value or "-", _(_SOURCES[row.source]), can))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for cells in rows:
            padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            self.stdout.write("  ".join(padded).rstrip())

    def _write_facts(self, facts: Facts) -> None:
        rows = {_("GPU"): _gpu(facts), _("Driver"): _driver(facts)}
        rows["torch"] = _package(facts.torch, facts.torch_cuda)
        packages = ", ".join(f"{name} {version}" for name, version in facts.cupy.items())
        rows["CuPy"] = _package(packages, facts.cupy_cuda)
        rows[_("Compiler")] = f"NVRTC {facts.nvrtc}" if facts.nvrtc else "-"
        width = max(map(len, rows))
        for name, value in rows.items():
            self.stdout.write(f"{name.ljust(width)}  {value}")

    def _write_plugins(self) -> None:
        """What is installed; what the settings name is loaded, to see whether it can be."""
        named = {settings.TINYLLM_SAMPLER, *settings.TINYLLM_PLUGINS}
        named |= {*settings.TINYLLM_FILTERS, *settings.TINYLLM_TOOLS}
        for point in sorted(plugins.all_installed(), key=plugins.described):
            state = _("not named")
            if point.name in named:
                try:
                    plugins.load(point.group, point.name)
                    state = _("in use")
                except plugins.PluginFailed as error:
                    state = error.message
            told = {"name": plugins.described(point), "state": state}
            self.stdout.write(_("Plugin %(name)s: %(state)s") % told)

    def _write_backend(self, backend: Backend) -> None:
        fields = {"device": {"cuda": "GPU", "cpu": "CPU"}[backend.name]}
        fields["reason"] = _(backend.reason.why) % backend.reason.fields
        self.stdout.write("\n" + _("%(device)s, because %(reason)s.") % fields)
        if backend.reason.remedy:
            self.stdout.write(_(backend.reason.remedy) % backend.reason.fields)

    def _write_memory(self, facts: Facts, wanted: EngineOptions) -> None:
        """Whether the first model of a fresh installation fits, and who else holds memory."""
        assert facts.gpu is not None
        assert facts.gpu.memory_free is not None
        budget = min(budget_of(wanted, facts.gpu.memory_total), facts.gpu.memory_free)
        name, need = _default_model(wanted, budget)
        if need is not None:
            self.stdout.write(
                _("%(name)s needs %(size)s of its memory: %(weights)s weights, %(cache)s cache.")
                % {
                    "name": name,
                    "size": _gigabytes(need.total),
                    "weights": _gigabytes(need.weights),
                    "cache": _gigabytes(need.cache),
                }
            )
            try:
                check_memory(need, facts.gpu.memory_free, facts.gpu.memory_total)
            except DeviceMemoryTooSmall as error:
                self.stdout.write(_too_small(error))
        for process in gpu_processes():
            self.stdout.write(_holder(process))


def _gpu(facts: Facts) -> str:
    if facts.gpu is None:
        return "-"
    fields = {
        "name": facts.gpu.name,
        "capability": "{}.{}".format(*facts.gpu.capability),
        "free": _gigabytes(facts.gpu.memory_free or 0),
        "total": _gigabytes(facts.gpu.memory_total),
    }
    words = _("%(name)s, compute capability %(capability)s, %(free)s of %(total)s free")
    return words % fields


def _driver(facts: Facts) -> str:
    if facts.driver is None and facts.driver_cuda is None:
        return "-"
    fields = {"driver": facts.driver or "?", "cuda": facts.driver_cuda or "?"}
    return _("%(driver)s, runs CUDA %(cuda)s") % fields


def _package(version: str, cuda: str | None) -> str:
    if not version:
        return "-"
    if cuda is None:
        return _("%(version)s, without CUDA") % {"version": version}
    return _("%(version)s, built for CUDA %(cuda)s") % {"version": version, "cuda": cuda}


def _default_model(wanted: EngineOptions, budget: int) -> tuple[str, MemoryNeed | None]:
    """The first model of a fresh installation; without numbers where it is not here yet."""
    store = store_from_settings()
    name = store.catalogue.defaults()[0].name
    try:
        _, need = suited(store.ready_directory(name), wanted, on_gpu=True, budget=budget)
        return name, need
    except EngineError:
        return name, None


def _too_small(error: DeviceMemoryTooSmall) -> str:
    fields = {"free": _gigabytes(error.fields["free"]), "settings": error.fields["would_fit"]}
    if error.fields["would_fit"]:
        return _("Only %(free)s are free. It fits with %(settings)s.") % fields
    return _("Only %(free)s are free. Use a smaller model, or TINYLLM_DEVICE=cpu.") % fields


def _holder(process: GpuProcess) -> str:
    return _("Process %(pid)s (%(name)s) holds %(size)s of the GPU's memory.") % {
        "pid": process.pid,
        "name": process.name,
        "size": _gigabytes(process.memory),
    }


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
