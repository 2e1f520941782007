"""Requests that the document allows, and some that it does not, made up from a seed: each is
answered as the document says, and none breaks the server."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.server_process import PATIENCE_S, ServerProcess

pytestmark = pytest.mark.fake_engine

EXAMPLES = 8
"""Of each operation, and as many that the document does not allow."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
NEVER = {"continue_message", "apply-template", "v1_responses_{response_id}_cancel_post"}
"""What is never done: the answer is complete, a role of a message is hard to guess, and a POST
without a body is no JSON, which every POST has to be."""
ENDLESS = "follow_session"
"""The stream of events has no end to wait for."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    started = ServerProcess(tmp_path_factory.mktemp("fuzz")).migrate().start()
    yield started
    started.end()


@pytest.fixture(scope="module")
def schema(server: ServerProcess) -> Any:
    read = schemathesis.openapi.from_dict(
        httpx.get(f"{server.url}/api/v1/openapi.json", timeout=PATIENCE_S).json()
    )
    read.config.update(base_url=server.url)
    return read


@pytest.fixture
def ids(server: ServerProcess) -> dict[str, str]:
    """Of something that is there, by the names that addresses have for them: made for each test,
    since what it does may be the end of it."""
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=PATIENCE_S) as client:
        session = client.post("/sessions", json={"title": "Known"}).json()["id"]
        path = f"/sessions/{session}"
        answer = client.post(f"{path}/messages", json={"input": "Hello"}).json()
        link = client.post(f"{path}/shares", json={}).json()["id"]
    generation = answer["generations"][0]
    return {
        "session_id": session,
        "message_id": answer["id"],
        "generation_id": generation,
        "link_id": link,
        "question_id": answer["parent_id"],
        "name": "chat",
        "model": "chat",
        "response_id": f"resp_{answer['id'].replace('-', '')}",
    }


def requests_of(operation: Any, ids: dict[str, str], mode: GenerationMode) -> Any:
    """Cases of an operation, three of four about something that is there."""
    name = operation.definition.raw["operationId"]
    known = {**ids, "message_id": ids["question_id"]} if name == "edit_message" else ids

    def placed(case: Any, is_there: bool) -> Any:
        if not is_there:
            return case
        for part in (case.path_parameters, case.body):
            if isinstance(part, dict):
                part.update({field: known[field] for field in part if field in known})
        return case

    cases = operation.as_strategy(generation_mode=mode)
    return st.builds(placed, cases, st.sampled_from([True, True, True, False]))


def operation_ids() -> list[str]:
    from chat.api_v1.api import api

    paths = api.get_openapi_schema()["paths"].values()
    names = [operation["operationId"] for path in paths for operation in path.values()]
    return [name for name in names if name != ENDLESS]


@pytest.mark.parametrize("name", operation_ids())
def test_every_request_is_answered_as_the_document_says(
    schema: Any, ids: dict[str, str], name: str
) -> None:
    operation = schema.find_operation_by_id(name)
    seen: set[int] = set()
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @hypothesis.seed(20261128)
        @hypothesis.settings(
            max_examples=EXAMPLES,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(requests_of(operation, ids, mode))
        def ask(case: Any) -> None:
            answer = case.call(timeout=PATIENCE_S)
            seen.add(answer.status_code)
            case.validate_response(answer, checks=CHECKS)

        # Where nothing is asked, or any text, nothing can be asked wrongly.
        is_wrong = mode is GenerationMode.NEGATIVE
        with contextlib.suppress(*([Unsatisfiable] if is_wrong else [])):
            ask()
    assert name in NEVER or min(seen) < 300, seen


def test_an_event_stream_is_taken_up_where_it_was_left(
    server: ServerProcess, ids: dict[str, str]
) -> None:
    base = f"{server.url}/api/v1/sessions"
    session = httpx.post(base, json={}, timeout=PATIENCE_S).json()["id"]
    body = {"input": "one two three four five six", "stream": True}
    with httpx.stream(
        "POST", f"{base}/{session}/messages", json=body, timeout=PATIENCE_S
    ) as answer:
        first = next(frame for frame in frames_of(answer) if frame["type"] == "message.delta")
    rest = {"last-event-id": str(first["seq"])}
    text = first["text"]
    with httpx.stream(
        "GET", f"{base}/{session}/events", headers=rest, timeout=PATIENCE_S
    ) as answer:
        for frame in frames_of(answer):
            if frame["type"] == "message.delta":
                assert frame["offset"] == len(text)
                text += frame["text"]
            if frame["type"] == "message.end":
                break
    assert text == "You said: one two three four five six"


def frames_of(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))
