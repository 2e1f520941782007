"""What a person can have of their own."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from chat import identity
from chat.database import in_database
from chat.privacy.own_data import archive


@require_GET
async def own_data(request: HttpRequest) -> HttpResponseBase:
    """All of it, as a zip file."""
    owner = await in_database(identity.owner_id, await request.auser())
    name = f"tinyllm-{timezone.now():%Y-%m-%d}.zip"
    return StreamingHttpResponse(
        archive(owner_id=owner),
        content_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )
