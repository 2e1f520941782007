"""Fixtures shared by the tests: a real SQLite file in WAL mode, users, and a scripted engine."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from chat import database, engine
from tests.fake_engine import FakeEngine
from tests.workers import longest_first, scheduling, spare_the_cores

_ENGINE_MARKS = ("real_engine", "fake_engine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long counts too")


def pytest_configure(config: pytest.Config) -> None:
    """Random examples are the same ones each time, so that a change is judged by itself; whoever
    looks for new ones says `--hypothesis-profile default`."""
    spare_the_cores()
    hypothesis.settings.register_profile("repeated", derandomize=True)
    hypothesis.settings.load_profile(config.getoption("--hypothesis-profile") or "repeated")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long counts are another command's work (`make soak`), and so are tests that need a GPU
    (`make test-gpu`): they are not even selected."""
    asked = {"soak": config.getoption("--soak"), "gpu": "gpu" in config.getoption("-m")}
    for mark in (mark for mark, wanted in asked.items() if not wanted):
        others = [item for item in items if item.get_closest_marker(mark)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if not item.get_closest_marker(mark)]
    longest_first(items)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How much of what is proved here was proved on the real thing."""
    ran = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    counts = {mark: sum(mark in report.keywords for report in ran) for mark in _ENGINE_MARKS}
    said = ", ".join(f"{count} {mark}" for mark, count in counts.items())
    terminalreporter.write_line(f"tests by the engine they use: {said}")


@pytest.fixture(scope="module", autouse=True)
def products_as_they_were() -> Iterator[None]:
    """How products are computed is chosen for a thread when it loads a model. No module of tests
    leaves its choice to the next one; those without torch load none."""
    yield
    if "kernels" in sys.modules:
        import kernels

        kernels.use_products(kernels.Products())


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests use a database file of their own: threads with connections of their own see it, and
    its locks are those of the real thing, which an in-memory database does not have."""
    from django.conf import settings
    from django.db import connections

    path = str(tmp_path_factory.mktemp("database") / "test.sqlite3")
    settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = path
    connections["default"].settings_dict.setdefault("TEST", {})["NAME"] = path


@pytest.fixture
def fake_engine() -> Iterator[FakeEngine]:
    """A started FakeEngine, installed as the client of this process."""
    fake = FakeEngine()
    fake.started = True
    engine.install(fake)
    yield fake
    engine.install(None)


@pytest.fixture
def make_user(db: None) -> Any:
    """`make_user("ada")`: a user without a password (hashing one takes long), to be logged in by
    force; more arguments go to the model."""
    from chat.models import User

    def make(username: str, **fields: Any) -> User:
        return User.objects.create_user(username=username, **fields)

    return make


@pytest.fixture
def with_accounts(settings: Any, fake_engine: FakeEngine) -> None:
    """Accounts, over plain HTTP, with passwords that are hashed fast, and no limit used up yet."""
    from django.core.cache import cache

    settings.TINYLLM_LOCAL = settings.SECURE_SSL_REDIRECT = False
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()


@pytest.fixture
def ada(with_accounts: None, db: None) -> Any:
    """An account with a password."""
    from chat.models import User
    from tests.account_people import PASSWORD

    return User.objects.create_user("ada", "ada@example.org", PASSWORD)


@pytest.fixture
async def site(
    fake_engine: FakeEngine, settings: Any, tmp_path: Path, transactional_db: None
) -> AsyncIterator[FakeEngine]:
    """The site in this process, in local mode, scripted engine. All its turns end with it."""
    from channels.layers import get_channel_layer

    from chat.generation import turns

    settings.TINYLLM_LOCAL = True
    settings.TINYLLM_DATA_DIR = settings.TINYLLM_MODELS_DIR = tmp_path
    turns.cache_clear()
    layer: Any = get_channel_layer()
    await layer.flush()
    yield fake_engine
    await turns().drain(grace_s=0)
    turns.cache_clear()
    database.close()
