"""/v1/responses/{id}: responses that are kept, of their owner alone."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils.translation import gettext as _

from chat import forgetting
from chat.database import in_database, write_database
from chat.errors import InvalidRequest
from chat.generation import turns
from chat.signals import announce
from chat.v1.course import Course, course_in
from chat.v1.edge import Caller, by_method, endpoint
from chat.v1.errors import UnsupportedField
from chat.v1.stored import Stored, message_id_of, name_of, response_delete, stored

MOST_ITEMS = 100


@endpoint("GET")
async def retrieve(request: HttpRequest, caller: Caller, response_id: str) -> HttpResponseBase:
    if request.GET.get("stream") == "true":
        raise UnsupportedField("stream")
    found = await _found(caller, response_id)
    if _course(found):
        return JsonResponse(found.shape().response(None))
    return JsonResponse(found.response())


@endpoint("DELETE")
async def delete(request: HttpRequest, caller: Caller, response_id: str) -> HttpResponseBase:
    """With all that was said after it. An answer that is being written is stopped first."""
    found = await _stopped(caller, response_id)
    await write_database(response_delete, found.message.id, owner_id=caller.owner_id)
    await forgetting.settled()
    await announce(found.message.session_id)
    return JsonResponse({"id": name_of(found.message.id), "object": "response", "deleted": True})


@endpoint("POST")
async def cancel(request: HttpRequest, caller: Caller, response_id: str) -> HttpResponseBase:
    """Stop an answer that is being written, or a tool that runs for it; what there is is kept."""
    return JsonResponse((await _stopped(caller, response_id)).response())


@endpoint("GET")
async def input_items(request: HttpRequest, caller: Caller, response_id: str) -> HttpResponseBase:
    """What the call said, the newest first unless `order=asc`."""
    items = (await _found(caller, response_id)).items()
    if request.GET.get("order", "desc") == "desc":
        items.reverse()
    after, limit = request.GET.get("after"), _limit(request.GET.get("limit", "20"))
    if after:
        names = [item["id"] for item in items]
        items = items[names.index(after) + 1 :] if after in names else []
    shown = items[:limit]
    told: dict[str, Any] = {"object": "list", "data": shown, "has_more": len(items) > len(shown)}
    ends = {"first_id": shown[0]["id"], "last_id": shown[-1]["id"]} if shown else {}
    return JsonResponse({**told, "first_id": None, "last_id": None, **ends})


response = by_method(GET=retrieve, DELETE=delete)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:4]) <= MOST_ITEMS:
        words = _("limit must be a whole number from 1 to %(most)d.") % {"most": MOST_ITEMS}
        raise InvalidRequest(words, param="limit")
    return int(text)


async def _found(caller: Caller, response_id: str) -> Stored:
    return await in_database(stored, message_id_of(response_id), owner_id=caller.owner_id)


def _course(found: Stored) -> Course | None:
    """If tools run for it, and it is not over."""
    course = course_in(found.message.session_id)
    return course if course and course.name == found.name else None


async def _stopped(caller: Caller, response_id: str) -> Stored:
    found = await _found(caller, response_id)
    if course := _course(found):
        await course.stop()
        found = await _found(caller, response_id)  # another answer may have begun
    turn = turns().get(found.message.session_id)
    if turn is not None and turn.started.message_id == found.message.id:
        turns().cancel(found.message.session_id, "stop")
        await turn.wait_end()
    return await _found(caller, response_id)
