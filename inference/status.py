"""What the engines of a worker hold, as the site shows it. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from inference.engine_commands import EngineState, Report
from inference.types import EngineStatus, ModelStatus


def status_of(report: Report, names: Mapping[Path, tuple[str, ...]]) -> EngineStatus:
    """names: of the models, by directory; another one is called as its directory is."""

    def called(directory: Path) -> tuple[str, ...]:
        return names.get(directory, (directory.name,))

    def ready(state: EngineState) -> ModelStatus:
        return ModelStatus(
            names=called(state.directory),
            state="ready",
            device=report.device,
            size=state.size,
            running=state.running,
            waiting=state.waiting + report.waiting.get(state.directory, 0),
            used_blocks=state.total_blocks - state.free_blocks,
            total_blocks=state.total_blocks,
            preemptions=state.preemptions,
            stays_s=state.stays_s,
        )

    models = [ready(state) for state in report.engines]
    if report.loading:
        directory, size = report.loading
        waiting = report.waiting.get(directory, 0)
        models.append(
            ModelStatus(called(directory), "loading", report.device, size, waiting=waiting)
        )
    return EngineStatus(tuple(models), report.budget, report.cancels)
