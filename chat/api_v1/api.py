"""/api/v1/ as one: its routers, who may call, and how it refuses."""

from __future__ import annotations

import uuid

from csp.decorators import csp_update
from django.http import HttpRequest

from chat.accounts.callers import caller_of
from chat.api_errors import answer_errors
from chat.api_v1 import (
    feedback,
    forks,
    generations,
    messages,
    search,
    sessions,
    shares,
    usage,
)
from chat.api_v1.document import DocumentedAPI
from chat.api_v1.edge import IDS


async def _owner(request: HttpRequest) -> uuid.UUID:
    """Whose request this is. Raises as `caller_of` does."""
    return (await caller_of(request)).owner_id


api = DocumentedAPI(
    title="TinyLLM",
    version="1",
    urls_namespace="stored",
    auth=_owner,
    docs_url="/docs",
    # Swagger's stylesheet has its icons in itself.
    docs_decorator=csp_update({"img-src": ["data:"]}),
)
for _part in (sessions, messages, generations, search, forks, shares, feedback, usage):
    api.add_router("", _part.router)
answer_errors(api, IDS)
