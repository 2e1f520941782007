"""What the site's own threads have computed so far, apart from the engine's."""

from __future__ import annotations

import threading
import time
from collections import defaultdict


def cpu_seconds() -> dict[str, float]:
    """Processor time by thread, those of a pool together: of every thread of Python that lives.
    Threads that a kernel makes for itself are none of these."""
    total: dict[str, float] = defaultdict(float)
    for thread in threading.enumerate():
        if thread.ident is not None:
            clock = time.pthread_getcpuclockid(thread.ident)
            total[thread.name.partition("_")[0]] += time.clock_gettime(clock)
    return {name: round(seconds, 6) for name, seconds in total.items()}
