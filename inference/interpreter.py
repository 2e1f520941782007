"""How Python is set up in a process that serves many at once (ADR 33)."""

from __future__ import annotations

import gc
import sys

SWITCH_S = 0.0005
"""After which a thread may have the interpreter that another one holds, in place of 5 ms. Each
statement of a database thread ends by asking for it: beside a busy event loop a turn would wait so
long fifteen times before it has begun, and a first token for its sender."""
GC_THRESHOLDS = 20_000, 20, 20
"""Objects more than before until the youngest are looked through, and so on. What 500 answers say
at once are some thousands, which are gone a moment later: by Python's own thresholds they are taken
for lasting ones, and everything is looked through every second, for 100 ms."""


def serve_many() -> None:
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*GC_THRESHOLDS)
