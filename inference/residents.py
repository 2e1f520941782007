"""The models in memory, on the engine's thread: loads what is asked for, one at a time, and unloads
what the policy (`residency.py`) says.

A load has two parts. First a thread reads the files, while the engines go on. Then the engine's own
thread makes the model ready, a piece between each two steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from pathlib import Path

import structlog

from inference.device_memory import MemoryNeed, check_memory
from inference.engine import Engine
from inference.errors import ModelBusy
from inference.file_reading import FileReading
from inference.loading import gpu_memory
from inference.model_loader import LoadPlan, ModelLoader
from inference.residency import Resident, next_end, overdue, room_for
from inference.types import Loading

SAVE_S = 4.0
"""How long saving what sessions have computed may take: before a model is unloaded, at the end."""

log = structlog.get_logger(__name__)


class Residents:
    def __init__(
        self, engines: dict[Path, Engine], loader: ModelLoader, wake: Callable[[], object]
    ) -> None:
        """engines: by directory, filled and emptied here. wake: called on another thread when
        `proceed` has something to do."""
        self.engines, self._loader, self.wake = engines, loader, wake
        self._needs: dict[Path, MemoryNeed] = {}
        self._last_used: dict[Path, float] = {}
        self._load: _Load | None = None
        self._no_room: object = None
        self.keep_alive_s = loader.options.keep_alive_s
        self.has_changed = False
        """Whether a model was loaded or unloaded since somebody took note and set it back."""

    @property
    def loading(self) -> Path | None:
        """The model that is on its way into memory."""
        return self._load.plan.directory if self._load else None

    @property
    def loading_size(self) -> int:
        return self._load.plan.need.total if self._load else 0

    @property
    def has_work(self) -> bool:
        """Whether `proceed` is to be called again at once."""
        return self._load is not None and self._load.reading.is_over

    @property
    def progress(self) -> Loading:
        """Of the model that is on its way."""
        assert self._load is not None
        return self._load.progress

    def need(self, directory: Path) -> MemoryNeed:
        """What is unloaded with it."""
        return self._needs[directory]

    def ends_at(self, directory: Path) -> float | None:
        """When a model is unloaded if nobody asks for it; None: it is busy, or never."""
        return next_end([self._resident(directory)], self.keep_alive_s)

    def next_end(self) -> float | None:
        return next_end(self._residents(), self.keep_alive_s)

    def use(self, directory: Path) -> None:
        """It has work at this moment."""
        self._last_used[directory] = time.monotonic()

    def begin(self, directory: Path, *, unload: bool = True) -> bool:
        """Start to load a model, while none is on its way. unload: whether others may go for it.
        False: what is busy (or, without unload, what is there) leaves no room. Raises
        ModelUnavailable and its subclasses."""
        residents = self._residents()
        situation = (directory, unload, tuple((r.directory, r.is_idle) for r in residents))
        if situation == self._no_room:  # asked between any two steps
            return False
        available = self._loader.available(sum(resident.size for resident in residents))
        plan = self._loader.plan(directory, available)
        need = plan.need.total
        if need > available:
            check_memory(plan.need, *gpu_memory())
        going = room_for(need, residents, available)
        if going is None or (going and not unload):
            self._no_room = situation
            return False
        for other in going:
            self._unload(other, "room is needed")
        log.info("model.loading", directory=directory.name, bytes=need)
        self._load = _Load(plan, self._loader, self.wake)
        return True

    def proceed(self) -> None:
        """Do the next piece of the load, if there is one. Raises what loading raises; then there is
        no load any more."""
        load = self._load
        if load is None or not load.reading.is_over:
            return
        directory = load.plan.directory
        try:
            engine = load.next_piece()
        except BaseException:
            self._load = None
            raise
        if engine:
            self.engines[directory] = engine
            self._needs[directory] = load.plan.need
            self._load, self.has_changed = None, True
            self.use(directory)
            log.info("model.loaded", directory=directory.name)

    def unload_overdue(self) -> None:
        for directory in overdue(self._residents(), self.keep_alive_s, time.monotonic()):
            self._unload(directory, "nobody asked for it")

    def unload(self, directory: Path) -> None:
        """Because somebody said so. One that is not there stays away. Raises ModelBusy."""
        engine = self.engines.get(directory)
        if directory == self.loading or (engine and not engine.is_idle):
            raise ModelBusy(directory.name)
        if engine:
            self._unload(directory, "an operator asked for it")

    def _unload(self, directory: Path, reason: str) -> None:
        engine = self.engines.pop(directory)
        engine.sessions.save(SAVE_S)
        engine.close()
        del self._needs[directory], self._last_used[directory]
        self.has_changed = True
        log.info("model.unloaded", directory=directory.name, reason=reason)

    def _residents(self) -> list[Resident]:
        return [self._resident(directory) for directory in self.engines]

    def _resident(self, directory: Path) -> Resident:
        is_idle = self.engines[directory].is_idle
        size = self._needs[directory].total
        return Resident(directory, size, is_idle, self._last_used[directory])


class _Load:
    """One model on its way into memory."""

    def __init__(self, plan: LoadPlan, loader: ModelLoader, wake: Callable[[], object]) -> None:
        self.plan = plan
        self.reading = FileReading(plan.files, wake)
        self._pieces: Generator[float, None, Engine] = loader.load(plan)
        self._share = 0.0
        self.reading.start()

    @property
    def progress(self) -> Loading:
        """Reading counts as one half of the work."""
        total = self.reading.total
        return Loading(self.reading.done + int(self._share * total), 2 * total)

    def next_piece(self) -> Engine | None:
        """The engine, when it is ready."""
        try:
            self._share = next(self._pieces)
        except StopIteration as done:
            engine: Engine = done.value
            return engine
        return None
