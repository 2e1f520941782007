"""manage.py ps: what the engine of the running site has in memory, and what it does."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from http.client import HTTPConnection, HTTPException
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from chat import listening, operator_key
from chat.addresses import API

TIMEOUT_S = 10
_ANY_HOST = ("0.0.0.0", "::", "")  # noqa: S104 (where a site listens, not where we do)


class Command(BaseCommand):
    help = "List the models that the running site has in memory."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, help="of the site; default: where it says it is")
        parser.add_argument("--json", action="store_true", help="everything, as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = listening.where()
        status = _ask("127.0.0.1" if host in _ANY_HOST else host, options["port"] or port)
        if options["json"]:
            self.stdout.write(json.dumps(status, ensure_ascii=False))
            return
        rows = [_headings(), *(_row(model) for model in status["models"])]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write("   ".join(cells).rstrip())


def _ask(host: str, port: int) -> dict[str, Any]:
    """Raises CommandError that says what to do."""
    connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", reverse(f"{API}:api-root") + "engine", headers=_headers())
        reply = connection.getresponse()
        said, is_ok = json.loads(reply.read()), reply.status == 200
    except (OSError, HTTPException, ValueError) as error:
        where = {"host": host, "port": port, "reason": error}
        raise CommandError(
            _(
                "No TinyLLM answers on %(host)s, port %(port)s (%(reason)s). Start it with "
                "manage.py serve, or name its port with --port."
            )
            % where
        ) from None
    finally:
        connection.close()
    if not is_ok:
        raise CommandError(said["error"]["message"])
    status: dict[str, Any] = said
    return status


def _headers() -> dict[str, str]:
    """Outside local mode a site answers to its own names only, and to people of its staff; who runs
    this has the site's key instead."""
    if settings.TINYLLM_LOCAL:
        return {}
    names = [name for name in settings.ALLOWED_HOSTS if "*" not in name]
    headers = {"Authorization": operator_key.header()}
    if names:
        headers["Host"] = names[0].lstrip(".")
    if settings.TINYLLM_BEHIND_PROXY:
        headers["X-Forwarded-Proto"] = "https"
    return headers


def _headings() -> tuple[str, ...]:
    return (
        _("MODEL"), _("SIZE"), _("DEVICE"), _("RUNNING"), _("WAITING"), _("CACHE"), _("UNTIL")
    )  # fmt: skip


def _row(model: dict[str, Any]) -> tuple[str, ...]:
    is_ready = model["state"] == "ready"
    return (
        ", ".join(model["names"]),
        f"{model['size'] / 1e9:.1f} GB",
        {"cuda": "GPU"}.get(model["device"], "CPU"),
        str(model["running"]),
        str(model["waiting"]),
        f"{model['used_blocks']}/{model['total_blocks']}" if is_ready else "-",
        _until(model) if is_ready else _("loading"),
    )


def _until(model: dict[str, Any]) -> str:
    if model["running"] or model["waiting"]:
        return _("in use")
    if model["stays_s"] is None:
        return _("forever")
    minutes = round(model["stays_s"] / 60)
    if not minutes:
        return _("less than a minute")
    return ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes}
