"""The frame that tells a page how full the context is."""

from __future__ import annotations

import uuid
from typing import Any

from chat import engine
from chat.context.count import count
from chat.context.reading import Asked
from chat.database import in_database
from chat.frames import ContextCount
from chat.submission import check_length, default_sampling


async def counted(owner_id: uuid.UUID, frame: ContextCount) -> dict[str, Any]:
    """Answers `context.count`; with a draft it is what sending it would read. Nothing is written
    and nothing is computed by the model. Raises ChatError, EngineError."""
    check_length(frame.text)
    asked = Asked(await engine.client().codec(frame.model), frame.model)
    told = await in_database(
        count,
        asked,
        default_sampling(frame.model),
        owner_id=owner_id,
        session_id=frame.session_id,
        settings=frame.settings,
        text=frame.text,
    )
    return {
        "v": 1,
        "type": "context.counted",
        "client_id": frame.client_id,
        "session_id": str(frame.session_id) if frame.session_id else None,
        "model": frame.model,
        **told.as_json(),
    }
