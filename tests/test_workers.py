"""How the tests are shared among the workers of `make test`."""

from __future__ import annotations

from pathlib import Path

import kernels
from tests.workers import LONGEST, unit_of

ROOT = Path(__file__).resolve().parent.parent


def test_a_module_stays_together_and_so_do_the_browser_s_tests() -> None:
    assert unit_of("tests/test_a.py::test_b[c::d]") == "tests/test_a.py"
    assert unit_of("tests/test_kv.py::Books::runTest") == "tests/test_kv.py"
    assert unit_of("tests/browser/test_a.py::test_b") == "tests/browser"
    assert unit_of("tests/browser/test_c.py::test_d") == "tests/browser"


def test_what_is_taken_first_exists() -> None:
    assert [unit for unit in LONGEST if not (ROOT / unit).exists()] == []


def test_a_test_has_the_threads_that_it_asks_for() -> None:
    """Whatever a worker uses by itself."""
    import numba
    import torch

    before = torch.get_num_threads()
    try:
        for count in (1, 2):
            kernels.set_threads(count)
            assert torch.get_num_threads() == count
            assert numba.get_num_threads() == min(count, numba.config.NUMBA_NUM_THREADS)
    finally:
        kernels.set_threads(before)
