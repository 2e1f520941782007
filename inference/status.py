"""What the engines of a worker hold, as the site shows it. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from inference.engine_commands import EngineState, Report
from inference.types import EngineStatus, ModelStatus


def status_of(report: Report, names: Mapping[Path, tuple[str, ...]]) -> EngineStatus:
    """names: of the models, by directory; another one is called as its directory is."""

    def called(directory: Path) -> tuple[str, ...]:
        return names.get(directory, (directory.name,))

    def ready(state: EngineState) -> ModelStatus:
        requests = (*state.requests, *report.waiting.get(state.directory, ()))
        return ModelStatus(
            names=called(state.directory),
            state="ready",
            device=report.device,
            size=state.size,
            running=sum(request.state == "running" for request in requests),
            waiting=sum(request.state == "waiting" for request in requests),
            used_blocks=state.total_blocks - state.free_blocks,
            total_blocks=state.total_blocks,
            stays_s=state.stays_s,
            cached_blocks=state.cached_blocks,
            block_map=state.block_map,
            weights=state.weights,
            cache=state.cache,
            totals=state.totals,
            requests=requests,
        )

    models = [ready(state) for state in report.engines]
    if report.loading:
        directory, size = report.loading
        waiting = report.waiting.get(directory, ())
        model = ModelStatus(called(directory), "loading", report.device, size)
        models.append(replace(model, waiting=len(waiting), requests=waiting))
    return EngineStatus(tuple(models), report.budget, report.cancels, report.process)
