"""The OpenAPI document: what the routers say of themselves, with an example of everything, how a
caller is known, and beside it the addresses that keep nothing (`chat.v1`)."""

from __future__ import annotations

from functools import cache
from typing import Any

from ninja import NinjaAPI
from ninja.openapi import get_schema
from ninja.operation import Operation

from chat.api_v1.examples import EXAMPLES, REFUSALS
from chat.api_v1.keeping_nothing import paths_and_schemas

ABOUT = """\
Sessions, messages and what belongs to them, as the pages have them. Beside it, under `/v1/` and at
`/tokenize`, the addresses that programs written for OpenAI, vLLM, llama.cpp and Anthropic know;
those keep nothing.

**Who calls.** In local mode nobody signs in. With accounts: an API token (`Authorization: Bearer`),
whose scope `read` is enough for GET and `chat` is needed for the rest; or the session cookie of a
page, with `X-CSRFToken` on everything but GET.

**Lists** are objects with `data`. One that comes in pages takes `limit` and `cursor`, and gives
`next_cursor`, which is null on the last page; a cursor holds whatever has been added meanwhile.

**Errors** are `{"error": {"message", "type", "param", "code"}}`. An id that names nothing, and one
that names what is another person's, is 404 with the id. Where trying again later helps, there is
`Retry-After`.
"""
SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "An API token, `tl-…`."},
    "page": {"type": "apiKey", "in": "cookie", "name": "sessionid"},
}


class DocumentedAPI(NinjaAPI):
    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> Any:
        prefix = self.get_root_path(path_params or {}) if path_prefix is None else path_prefix
        return document(self, prefix)


@cache
def document(api: NinjaAPI, prefix: str) -> dict[str, Any]:
    made: dict[str, Any] = dict(get_schema(api, path_prefix=prefix))
    made["info"] = {**made["info"], "description": ABOUT}
    for operation in _operations(made["paths"]):
        _with_examples(operation)
    paths, schemas = paths_and_schemas()
    made["paths"] = {**made["paths"], **paths}
    known = {**made["components"]["schemas"], **schemas}
    made["components"] = {"schemas": known, "securitySchemes": SECURITY}
    made["security"] = [{"token": []}, {"page": []}, {}]
    return made


def _operations(paths: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in paths.values() for operation in path.values()]


def _with_examples(operation: dict[str, Any]) -> None:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        content["example"] = EXAMPLES[_name(content["schema"])]
    # Of the numbers that ninja has for keys, JSON makes texts.
    operation["responses"] = {str(status): told for status, told in operation["responses"].items()}
    for status, told in operation["responses"].items():
        for kind, content in told.get("content", {}).items():
            if kind == "application/json":
                name = _name(content["schema"])
                content["example"] = REFUSALS[status] if name == "ErrorOut" else EXAMPLES[name]


def _name(schema: dict[str, Any]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]
