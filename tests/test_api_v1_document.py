"""The OpenAPI document: complete, with examples that keep their shapes, and readable offline."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import get_resolver
from jsonschema import Draft202012Validator, FormatChecker

from chat.api_v1.api import api
from tests.fake_engine import FakeEngine
from tests.test_account_permissions import routes

DOCUMENT: dict[str, Any] = api.get_openapi_schema()
COMPONENTS = {"components": DOCUMENT["components"]}


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def contents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every JSON body and answer, by where it is."""
    for name, operation in operations():
        told = {f"{name} {status}": each for status, each in operation["responses"].items()}
        for where, each in {f"{name} body": operation.get("requestBody", {}), **told}.items():
            if content := each.get("content", {}).get("application/json"):
                yield where, content


def test_every_example_is_of_its_shape_and_nothing_is_without_one() -> None:
    found = dict(contents())
    for where, content in found.items():
        shape = {**content["schema"], **COMPONENTS}
        checked = Draft202012Validator(shape, format_checker=FormatChecker())
        assert [error.message for error in checked.iter_errors(content["example"])] == [], where
    assert len(found) > 200


def test_the_check_of_examples_sees_a_wrong_one() -> None:
    content = dict(contents())["post /api/v1/sessions/{session_id}/messages body"]
    checked = Draft202012Validator({**content["schema"], **COMPONENTS})
    assert list(checked.iter_errors({**content["example"], "input": 7}))


def test_every_operation_says_what_it_does_and_what_it_refuses() -> None:
    names = [operation["operationId"] for _, operation in operations()]
    assert len(set(names)) == len(names)
    for name, operation in operations():
        assert operation["summary"], name
        assert {"400", "401", "500"} <= set(operation["responses"]), name
        assert ("{" in name) <= ("404" in operation["responses"]), name
        if "requestBody" in operation:
            assert {"413", "415"} <= set(operation["responses"]), name


def test_every_address_is_in_the_document() -> None:
    known = {path.lstrip("/") for path in DOCUMENT["paths"]}
    ours = [each for each in routes(get_resolver().url_patterns) if each.startswith("api/v1/")]
    # what a program of others may ask, without the address that answers where there is nothing
    ours += [each for each in routes(get_resolver().url_patterns) if each.startswith("v1/")]
    asked = {re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", each) for each in ours}
    pages = {"api/v1/", "api/v1/docs", "api/v1/openapi.json", "v1/", "v1/{rest}"}
    assert asked - pages <= known
    assert len(asked) > 20


@pytest.mark.fake_engine
@pytest.mark.django_db
def test_the_page_of_the_document_loads_nothing_from_elsewhere(fake_engine: FakeEngine) -> None:
    client = Client(headers={"host": "localhost"})
    page = client.get("/api/v1/docs").content.decode()
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(addresses) >= 4
    assert all(each.startswith("/static/") for each in addresses)
    assert "/api/v1/openapi.json" in page
    told = client.get("/api/v1/openapi.json").json()
    assert told["paths"].keys() == DOCUMENT["paths"].keys()
    assert "servers" not in told or not told["servers"]
