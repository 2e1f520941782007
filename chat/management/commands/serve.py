"""`manage.py serve`: the site and its engine in one process, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import gc
import signal
from argparse import ArgumentParser
from typing import Any

import structlog
from channels.routing import get_default_application
from daphne.server import twisted_loop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.urls import reverse

from chat import database, engine, forgetting, listening, live_settings, setup
from chat.checks import encrypted_rows
from chat.cpu_times import cpu_seconds
from chat.database import in_database, write_database
from chat.encryption import used_keys
from chat.files.upload import sweep as sweep_files
from chat.generation import turns
from chat.guard import is_loopback
from chat.listening import DEFAULT_PORT
from chat.operations.load_history import keep_sampling
from chat.privacy.retention import sweep as sweep_by_age
from chat.recovery import recover
from chat.server import PortTaken, SiteServer, listen
from chat.session_edits import purge_deleted
from chat.signals import announce
from chat.temporary.sessions import temporary_sessions
from chat.tracing import otel
from chat.v1.running import settled
from inference.errors import EngineError

GRACE_S = 5.0
"""How long a running answer may go on after SIGTERM before it is stopped and kept."""
RECOVERY_S = 30.0

_log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Serve the site and run its engine."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to bind (127.0.0.1)")
        parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port to bind (3000)")

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        _refuse_unmigrated()
        _refuse_unreadable()
        _refuse_open_door(host)
        try:
            listener = listen(host, port)
        except PortTaken:
            raise CommandError(
                f"Port {port} on {host} is already taken by another program. "
                f"Choose another one: manage.py serve --port {port + 1}"
            ) from None
        except OSError as error:
            raise CommandError(f"Cannot listen on {host}, port {port}: {error}") from None
        engine.serve_many()
        asyncio.set_event_loop(twisted_loop)
        try:
            client = engine.create()
            _freeze_code()
            twisted_loop.run_until_complete(client.start())
        except EngineError as error:
            raise CommandError(error.message) from error
        engine.install(client)
        otel.start()
        live_settings.refresh()
        client.keep_alive(live_settings.value("TINYLLM_KEEP_ALIVE_S"))
        recover(process=turns().process)
        server = SiteServer(get_default_application(), listener)
        bound, port = listener.getsockname()[:2]
        listening.remember(bound, port)
        self._greet(host, port)
        life = twisted_loop.create_task(_live(server, client))
        server.run()
        listening.forget()
        if life.done():
            life.result()

    def _greet(self, host: str, port: int) -> None:
        name = "localhost" if is_loopback(host) else host
        base = f"http://{name}:{port}"
        self.stdout.write(f"TinyLLM is at {base}{reverse('new_session')}  (stop with Ctrl+C)")
        if not setup.has_administrator():
            page = reverse("setup", args=[setup.setup_token_create()])
            self.stdout.write(f"Make the first administrator (this link works once): {base}{page}")
        self.stdout.flush()


def _refuse_unmigrated() -> None:
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        raise CommandError(f"The database cannot be read: {error}") from None
    if missing:
        raise CommandError("The database is not up to date. Run: manage.py migrate")


def _refuse_unreadable() -> None:
    for said in encrypted_rows(None):
        raise CommandError(f"{said.msg} {said.hint}")
    used_keys.note_used()


def _refuse_open_door(host: str) -> None:
    if is_loopback(host):
        return
    if settings.TINYLLM_LOCAL:
        raise CommandError(
            f"Refusing to listen on {host}: in local mode there is no login, so anyone who reaches "
            "this machine would own everything. Make an administrator first, then set "
            "TINYLLM_MODE=production, SECRET_KEY and ALLOWED_HOSTS."
        )
    if not setup.has_account():
        raise CommandError(
            f"Refusing to listen on {host}: nobody can sign in yet. Make an account first: "
            "manage.py createsuperuser"
        )


def _freeze_code() -> None:
    """What is in memory by now is code, and stays: modules, models, addresses. To look through it
    for garbage takes a tenth of a second and more, in which no frame goes out, no token is computed
    and nothing is stored. Weights are loaded afterwards, so what is unloaded is freed."""
    gc.collect()
    gc.freeze()
    _log.info("code.frozen", objects=gc.get_freeze_count())


async def _live(server: SiteServer, client: engine.EngineClient) -> None:
    """Wait for a signal, then end in order: no new turns, running ones kept, engine, sockets."""
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        twisted_loop.add_signal_handler(number, ending.set)
    twisted_loop.add_signal_handler(signal.SIGUSR1, _tell_cpu_used)
    tasks = [asyncio.create_task(each()) for each in (_keep_recovering, keep_sampling)]
    try:
        await ending.wait()
        _log.info("shutting_down")
        _tell_cpu_used()
        for task in tasks:
            task.cancel()
        await asyncio.gather(turns().drain(grace_s=GRACE_S), settled(GRACE_S))
        await temporary_sessions().close()
        await client.stop()
        await server.say_goodbye()
        await asyncio.to_thread(otel.stop)
        await asyncio.to_thread(database.close)
    finally:
        server.stop()


def _tell_cpu_used() -> None:
    """Also on SIGUSR1: what a stretch of work cost is the difference of two of these lines."""
    _log.info("cpu.used", seconds=cpu_seconds())


async def _keep_recovering() -> None:
    """Rows whose process died elsewhere, and our own that a full database would not let end; and
    what is kept of sessions that are gone or old enough to go, and files that nobody sent."""
    while True:
        await sweep_by_age()
        await purge_deleted()
        await forgetting.sweep()
        await sweep_files()
        await asyncio.sleep(RECOVERY_S)
        try:
            await in_database(live_settings.refresh)
            engine.client().keep_alive(live_settings.value("TINYLLM_KEEP_ALIVE_S"))
            sessions = await write_database(
                recover, process=turns().process, live=turns().generation_ids()
            )
        except DatabaseError as error:
            _log.warning("recovery_failed", reason=str(error))
            continue
        for session_id in sessions:
            await announce(session_id)
