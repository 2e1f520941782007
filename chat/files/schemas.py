"""Shapes of the bodies under /api/files."""

from __future__ import annotations

import uuid
from typing import Any

from ninja import Schema
from pydantic import Field


class FileOut(Schema):
    id: uuid.UUID
    name: str
    kind: str = Field(description='"text", "markdown", "code", "html", "pdf", "docx" or "xlsx".')
    encoding: str = Field(description="Of a text, as it was found out; else empty.")
    size: int = Field(description="Bytes of the file.")
    characters: int = Field(description="Of the text in it.")
    tokens: int = Field(description="Of the text in it, to the model that was asked for.")


class UploadOut(FileOut):
    in_use: bool = Field(description="Whether a message has it, so that it cannot be deleted.")


class FileTextOut(FileOut):
    text: str
    start: int
    end: int


class PassageOut(Schema):
    number: int = Field(description="What the model was told to cite it by.")
    file: uuid.UUID
    name: str
    start: int = Field(description="Where in the file's text it begins, in characters.")
    end: int
    place: dict[str, Any] = Field(description='Such as {"page": 3} or {"sheet": "A", "row": 7}.')
    whole: bool = Field(description="It is all of the file.")
