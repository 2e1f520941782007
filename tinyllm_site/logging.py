"""Logs as one JSON object per line on stderr, each with the request id of what caused it."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog


def _processors() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def configure(*, steps: bool = False) -> None:
    """Send structlog and the standard library's loggers through the same JSON formatter. steps: a
    line for each step of the engine too."""
    structlog.configure(
        processors=[*_processors(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_processors(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _plain_extras,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    if steps:
        logging.getLogger("inference.step_names").setLevel(logging.DEBUG)
    for noisy in ("daphne", "asyncio", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


Fields = MutableMapping[str, Any]


def _plain_extras(_logger: Any, _name: str, event: Fields) -> Fields:
    """Django hands whole request objects to its log calls: write the path, not the object."""
    request = event.pop("request", None)
    if request is not None:
        event["path"] = getattr(request, "path", str(request))
    return event
