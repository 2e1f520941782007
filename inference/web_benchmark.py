"""What the site costs beside its engine: many readers of a site of its own, then the same work
without a site."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference.kv_cache import BLOCK_SIZE
from inference.load_client import Load, Site, serve_figures
from inference.site_process import SiteProcess, site_process

ENGINE_THREAD = "engine"
ALONE = 20
"""Requests one after the other, to see what an idle site adds to the first token."""
PROMPT_ROOM = 4
"""Tokens of the cache for each word of a question, and for the template around it."""


def web_figures(manage: Path, load: Load, *, offline: bool) -> dict[str, Any]:
    """load: all its requests at once. offline: whether the engine is measured alone afterwards.
    Raises EngineError, LoadError."""
    seats = load.requests
    answer = -(-(PROMPT_ROOM * load.input_len + 64 + load.output_len) // BLOCK_SIZE) + 1
    settings = {
        "TINYLLM_MAX_BATCH": str(seats),
        "TINYLLM_KV_TOKENS": str(seats * answer * BLOCK_SIZE),
    }
    with site_process(manage, **settings) as site:
        alone = _figures(site, replace(load, requests=ALONE, output_len=16, concurrency=1))
        edges: list[dict[str, float]] = []
        many = _figures(site, load, lambda: edges.append(site.cpu_seconds()))
        cost = _cost(edges[0], edges[1], many["output_tokens"])
        site.stop()
    report = {"alone": alone, "many": many, "cpu": cost}
    if offline and many["completed"]:
        words = many["prompt_tokens"] // many["completed"]
        report["offline"] = _offline(manage, replace(load, input_len=words))
        runs = many, report["offline"]
        its, engine = [(run["together"] or run)["output_tokens_per_s"] for run in runs]
        report["share_of_offline"] = its / engine
    return report


def _figures(
    site: SiteProcess, load: Load, edge: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    # the site goes with its sessions
    return asyncio.run(serve_figures(Site.at(site.url), load, edge, forget=False))


def _cost(before: dict[str, float], after: dict[str, float], tokens: int) -> dict[str, Any]:
    """Of every thread but the engine's, in microseconds for each token."""
    seconds = {name: after[name] - before.get(name, 0.0) for name in after}
    web = sum(spent for name, spent in seconds.items() if name != ENGINE_THREAD)
    return {"seconds": seconds, "web_us_per_token": 1e6 * web / tokens if tokens else None}


def _offline(manage: Path, load: Load) -> dict[str, Any]:
    """In a process of its own, which leaves nothing on a GPU behind."""
    sizes = {"requests": load.requests, "concurrency": load.requests}
    sizes |= {"input-len": load.input_len, "output-len": load.output_len}
    options = [text for name, size in sizes.items() for text in (f"--{name}", str(size))]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(manage), "bench", "throughput", "--model", load.model]
        # its words are dropped, not what it says of an error
        command += [*options, "--output", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        report: dict[str, Any] = json.loads((Path(folder) / "throughput.json").read_text("utf-8"))
    return report
