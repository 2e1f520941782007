"""A plugin of pytest's (`-p tests.asserts` in pyproject.toml): an assert of a helper of the tests
says what it saw, like a test's own. pytest has to be told before the helper is imported."""

from pathlib import Path

import pytest

HERE = Path(__file__)

pytest.register_assert_rewrite(
    *(f"tests.{path.stem}" for path in HERE.parent.glob("[a-z]*.py") if path != HERE)
)
