"""The server asks nobody (no SSRF): whatever a person says, attaches or takes in, and whatever a
model answers, an address in it is text. Each test has one at which a door of ours listens."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient
from docx import Document
from docx.opc.constants import RELATIONSHIP_TYPE as RELATED
from openpyxl import Workbook
from pypdf import PdfReader, PdfWriter
from pypdf.generic import RectangleObject

from inference.constraints.json_schema import objections
from tests import document_files as made
from tests.chat_client import Page
from tests.fake_engine import FakeEngine
from tests.test_chat_imports import conversation, exported, imported, node
from tests.test_files_api import ask, upload
from tests.v1_client import chat, post

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


class Door:
    """Nobody opens it: the machine keeps whoever knocked waiting before it, also when they have
    gone away."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/x"

    def was_knocked_at(self) -> bool:
        readable, _, _ = select.select([self._listener], [], [], 0)
        return bool(readable)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def door() -> Iterator[Door]:
    its = Door()
    yield its
    was_knocked_at = its.was_knocked_at()
    its.close()
    assert not was_knocked_at


def test_a_knock_is_noticed_also_of_who_has_gone_away() -> None:
    door = Door()
    assert not door.was_knocked_at()
    port = int(door.url.rpartition(":")[2].partition("/")[0])
    socket.create_connection(("127.0.0.1", port)).close()
    assert door.was_knocked_at()
    door.close()


def links_to(url: str) -> str:
    """The ways in which Markdown and HTML name something that is elsewhere."""
    return (
        f"See {url} and <{url}>, [a link]({url}), ![a picture]({url}.png), [by name][1].\n\n"
        f'[1]: {url}\n\n<img src="{url}"><link rel="stylesheet" href="{url}">'
        f'<iframe src="{url}"></iframe><script src="{url}"></script>\n\n'
        f"$\\href{{{url}}}{{x}} \\includegraphics{{{url}}}$\n\n"
        f'```html\n<meta http-equiv="refresh" content="0;url={url}">\n```\n'
    )


async def read_everywhere(session: str) -> list[str]:
    """What the pages and files say that show a session."""
    client = AsyncClient()
    link = await client.post(
        f"/api/sessions/{session}/shares", "{}", content_type="application/json"
    )
    paths = [
        f"/sessions/{session}/",
        f"/api/sessions/{session}",
        f"/api/v1/sessions/{session}/messages",
        f"/api/sessions/{session}/export?form=markdown",
        f"/api/sessions/{session}/export?form=json",
        link.json()["path"],
    ]
    answers = [await client.get(path) for path in paths]
    assert [answer.status_code for answer in answers] == [200] * len(paths)
    return [answer.content.decode() for answer in answers]


async def test_links_in_a_message_and_in_its_answer(site: FakeEngine, door: Door) -> None:
    site.script = lambda request: [links_to(door.url)]
    async with Page() as page:
        await page.submit(links_to(door.url))
        session = (await page.until("turn.started"))["session_id"]
        await page.until("message.end")
        system = {"settings": {"system_prompt": links_to(door.url)}}
        await page.submit(f"@{door.url}", session_id=None, **system)
        await page.until("message.end", "error")
    for text in await read_everywhere(session):
        assert door.url in text


def html(url: str) -> bytes:
    head = (
        f'<base href="{url}/"><link rel="stylesheet" href="{url}.css"><link rel="canonical" '
        f'href="{url}"><link rel="amphtml" href="{url}"><meta http-equiv="refresh" content="0;'
        f'url={url}"><script src="{url}.js"></script><style>@import url({url})</style>'
    )
    body = (
        f'<img src="{url}.png" srcset="{url} 2x"><iframe src="{url}"></iframe>'
        f'<object data="{url}"></object><video src="{url}"></video>'
    )
    text = made.HTML.replace("<head>", f"<head>{head}").replace("<article>", f"<article>{body}")
    doctype = f'<!DOCTYPE html SYSTEM "{url}.dtd" [<!ENTITY % x SYSTEM "{url}"> %x;]>'
    return text.replace("<!doctype html>", doctype).encode()


def docx(url: str) -> bytes:
    document = Document(BytesIO(made.docx()))
    for kind in (RELATED.IMAGE, RELATED.HYPERLINK, RELATED.OLE_OBJECT):
        document.part.relate_to(url, kind, is_external=True)
    of_settings = document.part.part_related_by(RELATED.SETTINGS)
    template = RELATED.SETTINGS.replace("settings", "attachedTemplate")
    of_settings.relate_to(url, template, is_external=True)
    out = BytesIO()
    document.save(out)
    return out.getvalue()


def xlsx(url: str) -> bytes:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet["A1"], sheet["A2"] = "Flour", f'=WEBSERVICE("{url}")'
    sheet["A1"].hyperlink = url
    sheet["A3"] = f"='[{url}]Costs'!A1"
    out = BytesIO()
    book.save(out)
    return out.getvalue()


def pdf(url: str) -> bytes:
    writer = PdfWriter(clone_from=PdfReader(BytesIO(made.pdf("About bread"))))
    writer.add_uri(0, url, RectangleObject((0, 0, 100, 100)))
    out = BytesIO()
    writer.write(out)
    return out.getvalue()


FILES = {
    "page.html": (html, "stone oven"),
    "rivers.docx": (docx, "ten countries"),
    "costs.xlsx": (xlsx, "Flour"),
    "bread.pdf": (pdf, "About bread"),
    "notes.md": (lambda url: links_to(url).encode(), "a picture"),
    "drawing.svg": (
        lambda url: f'<svg><image href="{url}"/><text>Oven</text></svg>'.encode(),
        "Oven",
    ),
}


@pytest.mark.parametrize("name", FILES)
async def test_links_in_a_file(site: FakeEngine, door: Door, name: str) -> None:
    make, word = FILES[name]
    file = await upload(name, make(door.url))
    text = (await AsyncClient().get(f"/api/files/{file['id']}")).json()["text"]
    assert word in text
    await ask(file, f"What is at {door.url}?")


PARTS = {
    "rivers.docx": (made.docx, "word/document.xml"),
    "costs.xlsx": (made.xlsx, "xl/workbook.xml"),
}


@pytest.mark.parametrize("name", PARTS)
async def test_entities_of_a_file_that_lie_elsewhere(
    site: FakeEngine, door: Door, name: str
) -> None:
    make, part = PARTS[name]
    declared = f'<!DOCTYPE x SYSTEM "{door.url}" [<!ENTITY % y SYSTEM "{door.url}"> %y;]>'
    data = made.rezipped(make(), {part: f"<?xml version='1.0'?>{declared}<x>&z;</x>".encode()})
    form = {"file": SimpleUploadedFile(name, data)}
    assert (await AsyncClient().post("/api/files", form)).status_code == 400


async def test_links_in_what_is_imported(site: FakeEngine, door: Door) -> None:
    picture = {
        "content_type": "multimodal_text",
        "parts": [{"content_type": "image_asset_pointer", "asset_pointer": door.url}, door.url],
    }
    told = conversation("one", title=door.url)
    told["mapping"]["asked"] = node("asked", "more", "assistant", "", content=picture)
    told["mapping"]["named"] = node("named", "asked", "user", links_to(door.url))
    report = await imported(json.dumps([told | {"safe_urls": [door.url]}]).encode())
    assert report["sessions"] == 1
    listed: Any = (await AsyncClient().get("/api/sessions")).json()
    ours = await exported(listed[0]["id"])
    ours["session"]["id"] = "elsewhere"
    ours["$schema"] = door.url
    report = await imported(json.dumps(ours).encode())
    assert report["sessions"] == 1
    await read_everywhere(listed[0]["id"])


def content(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [part]}]


async def test_links_in_calls_of_the_api(site: FakeEngine, door: Door) -> None:
    url = door.url
    picture = {"type": "image_url", "image_url": {"url": url}}
    source = {"type": "image", "source": {"type": "url", "url": url}}
    schema = {"$schema": url, "$id": url, "type": "object", "properties": {"a": {"$ref": url}}}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    function = {"name": "look", "description": url, "parameters": schema}
    tool = {"type": "function", "function": function}
    mcp = {"type": "mcp", "server_label": "a", "server_url": url}
    refused = [
        await chat(messages=content(picture)),
        await post("messages", {"model": "chat", "max_tokens": 9, "messages": content(source)}),
        await post("responses", {"model": "chat", "input": "Hi", "tools": [mcp]}),
        *[
            await post("responses", {"model": "chat", "input": content(part)})
            for part in (
                {"type": "input_image", "image_url": url},
                {"type": "input_file", "file_url": url},
            )
        ],
    ]
    assert [answer.status_code for answer in refused] == [400] * len(refused)
    taken = [
        await chat(messages=[{"role": "user", "content": links_to(url)}]),
        await chat(response_format=form),
        await chat(tools=[tool], tool_choice="required"),
    ]
    assert [answer.status_code for answer in taken] == [200] * len(taken)
    # The scripted engine obeys no schema; the real one begins with this.
    assert "no other document is read" in " ".join(objections(schema))
