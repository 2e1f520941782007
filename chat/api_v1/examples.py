"""One example of every body, answer and refusal, by the name of its shape. They are put into the
document, and a test holds them to it."""

from __future__ import annotations

from typing import Any

SESSION_ID = "6f0d3b1c-52b3-4d5e-9a53-0d4f7b7c2a10"
QUESTION_ID = "b1f6a0de-3f0e-4c2b-8f3b-6f6a0f1d9c01"
ANSWER_ID = "0a3f9a52-9c1e-4f6e-b4a5-2a8c1d5e7f02"
GENERATION_ID = "c4d2e6f8-1a3b-4c5d-8e7f-9a0b1c2d3e03"
LINK_ID = "d7e8f901-2b3c-4d5e-8f60-718293a4b504"
AT, LATER = "2026-11-28T09:00:00Z", "2026-11-28T09:00:02.500000Z"
USAGE = {"prompt_tokens": 31, "output_tokens": 9, "cached_tokens": 0}
TIMINGS = {"queue_s": 0.001, "prefill_s": 0.05, "decode_s": 0.21}

_SESSION = {
    "id": SESSION_ID,
    "title": "What is the capital of France?",
    "model": "chat",
    "pinned": False,
    "archived": False,
    "folder_id": None,
    "forked_from_id": None,
    "created_at": AT,
    "updated_at": LATER,
}
_QUESTION = {
    "id": QUESTION_ID,
    "parent_id": None,
    "role": "user",
    "content": "What is the capital of France?",
    "created_at": AT,
    "versions": [QUESTION_ID],
    "model": "",
    "status": "",
    "finish_reason": "",
    "usage": None,
    "timings": None,
    "seed": None,
    "deterministic": False,
    "error": None,
    "can_continue": False,
    "files": [],
    "passages": [],
    "rating": 0,
    "comment": "",
    "shown": True,
    "generations": [],
}
_ANSWER = _QUESTION | {
    "id": ANSWER_ID,
    "parent_id": QUESTION_ID,
    "role": "assistant",
    "content": "The capital of France is Paris.",
    "versions": [ANSWER_ID],
    "model": "chat",
    "status": "DONE",
    "finish_reason": "stop",
    "usage": USAGE,
    "timings": TIMINGS,
    "seed": 1234,
    "generations": [GENERATION_ID],
}
_SETTINGS = {"system_prompt": "Answer in one sentence.", "temperature": 0.2}
_LINK = {
    "id": LINK_ID,
    "session_id": SESSION_ID,
    "title": "What is the capital of France?",
    "author": "",
    "created_at": AT,
    "expires_at": "2026-12-05T09:00:00Z",
}
_HIT = {
    "session_id": SESSION_ID,
    "title": "What is the capital of France?",
    "archived": False,
    "message_id": ANSWER_ID,
    "role": "assistant",
    "at": LATER,
    "before": "The capital of France is ",
    "match": "Paris",
    "after": ".",
}

EXAMPLES: dict[str, Any] = {
    "SessionIn": {"model": "chat", "title": "Geography", "settings": _SETTINGS},
    "SessionsOut": {"data": [_SESSION], "next_cursor": None},
    "SessionStateOut": {**_SESSION, "shown": ANSWER_ID, "running": None, "last_event": 9},
    "SessionOut": _SESSION,
    "EditIn": {"title": "Capitals", "pinned": True},
    "SessionEditedOut": {**_SESSION, "title": "Capitals", "pinned": True, "deleted": False},
    "BranchIn": {"message_id": ANSWER_ID},
    "SettingsIn": {"settings": _SETTINGS},
    "SessionSettingsOut": {
        "settings": _SETTINGS,
        "model": "chat",
        "defaults": {"temperature": 0.2, "top_p": 0.9},
    },
    "MessageIn": {"input": "What is the capital of France?", "max_tokens": 50, "seed": 1234},
    "MessageEditIn": {"input": "What is the capital of Norway?"},
    "AnswerIn": {"temperature": 1.0, "stream": False},
    "ContinueIn": {"stream": False},
    "MessageOut": _ANSWER,
    "MessagesOut": {"data": [_QUESTION, _ANSWER], "next_cursor": None},
    "StoppedOut": {"message_id": ANSWER_ID},
    "GenerationOut": {
        "id": GENERATION_ID,
        "session_id": SESSION_ID,
        "message_id": ANSWER_ID,
        "status": "DONE",
        "finish_reason": "stop",
        "model": "chat",
        "fingerprint": {"weights": "5af5…", "tokenizer": "9ca9…", "template": "0c2b…"},
        "engine": {"device": "cpu", "backend": "ours", "dtype": "float16", "compute": "fp32"},
        "sampling": {"temperature": 0.2, "top_p": 0.9, "seed": 1234, "max_tokens": 50},
        "seed": 1234,
        "deterministic": False,
        "context": None,
        "usage": USAGE,
        "timings": TIMINGS,
        "error": None,
        "request_id": "3f1c9a2b7d4e4f6a8b0c1d2e3f405162",
        "created_at": AT,
        "finished_at": LATER,
    },
    "HitsOut": {"data": [_HIT]},
    "RatingIn": {"value": 1, "comment": "Short and right."},
    "RatingOut": {"value": 1, "comment": "Short and right."},
    "ShareIn": {"days": 7, "author": ""},
    "SharesOut": {"data": [_LINK]},
    "SharedOut": {**_LINK, "path": "/shared/0Yk3…/"},
    "UsageOfDaysOut": {
        "used": 40,
        "reserved": 0,
        "tokens_per_day": None,
        "remaining": None,
        "resets_at": "2026-11-29T00:00:00Z",
        "running": 0,
        "concurrent_turns": None,
        "days": [{"day": "2026-11-28", "turns": 1, "prompt_tokens": 31, "output_tokens": 9}],
    },
}


def refused(kind: str, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


_INVALID, _SERVER = "invalid_request_error", "server_error"
_NOBODY = "00000000-0000-4000-8000-000000000000"

REFUSALS: dict[str, Any] = {
    "400": refused(
        _INVALID,
        "invalid_parameter",
        "temperature = 9 is not allowed: from 0 to 2.",
        "temperature",
    ),
    "401": refused("authentication_error", "not_signed_in", "Sign in first."),
    "403": refused(
        "permission_error",
        "token_scope_missing",
        "The token tl-a1b2c3… needs the scope chat. It has: read.",
    ),
    "404": refused(
        "not_found_error", "session_not_found", f"There is no session {_NOBODY}.", "session_id"
    ),
    "409": refused(
        _INVALID,
        "turn_in_progress",
        "An answer is still being written in this session. Wait for it, or stop it first.",
    ),
    "413": refused(
        _INVALID,
        "input_too_long",
        "The message is 1000001 characters long; at most 1000000 are read. "
        "Nothing was cut: shorten it, or send it in parts.",
        "input",
    ),
    "415": refused(
        _INVALID,
        "unsupported_media_type",
        "The body must be application/json, not 'text/plain'.",
    ),
    "429": refused(
        "rate_limit_error",
        "too_many_turns",
        "You may have 2 answers written at once. Wait for one, or stop one.",
    ),
    "500": refused(
        _SERVER,
        "internal_error",
        "Something went wrong on the server. The log has the details.",
    ),
    "503": refused(_SERVER, "queue_full", "Too many requests are waiting. Try again in a moment."),
    "504": refused(
        _SERVER,
        "deadline_exceeded",
        "The answer was not done within 600 s and was ended. The text so far is kept: "
        "continue it, or try again when less is going on.",
    ),
    "507": refused(
        _SERVER,
        "storage_failed",
        "The database refused to save this (disk full). Keep what you need, then try again.",
    ),
}

FRAMES = f"""\
id: 2
event: message.delta
data: {{"v":1,"type":"message.delta","seq":2,"message_id":"{ANSWER_ID}","offset":0,"text":"The "}}

"""
