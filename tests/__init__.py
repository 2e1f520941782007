"""The tests. An assert of one of their helpers says what it saw, like a test's own: pytest has to
be told before the helper is imported."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite(
    *(f"tests.{path.stem}" for path in Path(__file__).parent.glob("[a-z]*.py"))
)
