"""How `make test` shares the tests among its workers, each a process: more than there are cores,
because most tests wait for a server, a grace or an install.

A worker takes whole modules, so that what a module sets up is made once, and all of the browser's
tests, which have one server and one Chromium. Nothing is shared: a worker has a database and
temporary folders of its own, and every server that is started chooses a free port.
"""

from __future__ import annotations

import os
from pathlib import PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

LONGEST = (
    "tests/browser",
    "tests/test_kernels_compile.py",
    "tests/test_engine_process_deaths.py",
    "tests/test_kernels_products.py",
    "tests/test_install.py",
    "tests/test_parity.py",
    "tests/test_deterministic.py",
    "tests/test_server_faults.py",
    "tests/test_resume_load.py",
)
"""Taken first: what begins last should be short."""


def scheduling(config: pytest.Config, log: Any) -> Any:
    """A unit at a time."""
    its = LoadScopeScheduling(config, log)
    its._split_scope = unit_of
    return its


def unit_of(nodeid: str) -> str:
    """The tests that stay together: a module, or the folder of the browser's tests."""
    path = PurePosixPath(nodeid.partition("::")[0])
    return str(path.parent if path.parent.name == "browser" else path)


def longest_first(items: list[pytest.Item]) -> None:
    places = {unit: place for place, unit in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(unit_of(item.nodeid), len(places)))


def spare_the_cores() -> None:
    """In a worker, before torch is loaded: a thread that waits for others sleeps, where it would
    spin on a core that another worker needs; and a test that says nothing of threads uses one."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
