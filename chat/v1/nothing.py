"""Addresses below /v1/ that are none."""

from __future__ import annotations

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from chat.v1.errors import NoSuchAddress, envelope, on_the_wire, refused


@login_not_required
@csrf_exempt
async def nothing(request: HttpRequest, rest: str = "") -> HttpResponseBase:
    wired = on_the_wire(NoSuchAddress(request.path))
    return refused(envelope(wired), wired)
