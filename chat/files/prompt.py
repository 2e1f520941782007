"""What a model reads of files: all of them where that fits, else the passages that have most to do
with the question. The format is told in docs/files.md. Pure functions, but for the ranker."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from chat.files.passages import Span, cut
from chat.files.ranking import Ranker
from chat.models import File
from chat.prompting import Codec

REPLY_TOKENS = 1024
"""Left free for an answer, or a quarter of what the model reads, if that is less."""
MOST_PASSAGES = 12
LEAST_ROOM = 64
_MISSES = 3  # passages that no longer fit, after which no shorter one is looked for

_WHOLE = "Files are attached. Answer from these sources and cite them by number, like [{n}]."
_PARTS = (
    "Files are attached. Of those that are too long to be read whole, these are passages. "
    "Answer from these sources and cite them by number, like [{n}]."
)
# Whatever looks like a mark of a chat template; whether it is one, the tokenizer says.
_MARK = re.compile(r"<[^<>\s]{1,40}>|\[/?[A-Z_]{2,20}\]")


@dataclass(frozen=True, slots=True)
class Part:
    """Of a file, or all of it."""

    file: File
    span: Span
    whole: bool

    @property
    def text(self) -> str:
        return self.file.text[self.span.start : self.span.end].strip()


@dataclass(frozen=True, slots=True)
class Passage:
    """A numbered source."""

    number: int
    part: Part

    def stored(self) -> dict[str, Any]:
        """As it is kept and told: number, file and name, start and end in the file's text, place,
        whole."""
        file, span = self.part.file, self.part.span
        return {
            "number": self.number,
            "file": str(file.id),
            "name": file.name,
            "start": span.start,
            "end": span.end,
            "place": span.place,
            "whole": self.part.whole,
        }

    def block(self, codec: Codec) -> str:
        name = _in_quotes(self.part.file.name)
        place = "whole" if self.part.whole else place_in_words(self.part.span.place)
        head = f'<source number="{self.number}" file="{name}"'
        head += f' place="{place}">' if place else ">"
        return f"{head}\n{harmless(codec, self.part.text)}\n</source>"


def _in_quotes(name: str) -> str:
    return re.sub(r'[<>"\s]+', " ", name).strip()


def place_in_words(place: dict[str, Any]) -> str:
    """For the model."""
    sheet = _in_quotes(str(place.get("sheet", "")))
    parts = [f"sheet {sheet}"] if sheet else []
    parts += [f"{unit} {place[unit]}" for unit in ("page", "row", "line") if unit in place]
    return ", ".join(parts)


def harmless(codec: Codec, text: str) -> str:
    """The text of a file cannot end its source, nor the turn: what the tokenizer would take for a
    mark of the chat template has a space put into it."""
    text = re.sub(r"<(/?)source\b", r"< \1source", text)
    for mark in set(_MARK.findall(text)):
        if codec.decode(codec.encode(mark)).strip() != mark:  # marks are not decoded
            text = text.replace(mark, f"{mark[0]} {mark[1:]}")
    return text


def reply_room(context_length: int) -> int:
    return min(REPLY_TOKENS, context_length // 4)


def whole(codec: Codec, files: Sequence[File], *, room: int) -> list[Part] | None:
    """All files from end to end, or None where there is no room for them."""
    if sum(file.characters for file in files) > room * 32:  # no tokenizer makes so little of it
        return None
    found = [Part(file, Span(0, len(file.text), {}), whole=True) for file in files]
    return found if tokens(codec, found) <= room else None


def best(
    codec: Codec,
    files: Sequence[File],
    *,
    question: str,
    ranker: Ranker,
    room: int,
    known: Iterable[tuple[str, int]] = (),
    matching_only: bool = False,
) -> list[Part]:
    """Passages that fit. Where none has to do with the question (it may be "Sum this up"), the
    beginnings, unless `matching_only`. known: (file, start) of those that the conversation has
    already."""
    has = set(known)
    candidates = [
        [
            Part(file, span, whole=False)
            for span in cut(file.text, file.places)
            if (str(file.id), span.start) not in has
        ]
        for file in files
    ]
    chosen: list[Part] = []
    misses = 0
    for part in _ranked(question, candidates, ranker, matching_only=matching_only):
        its = tokens(codec, [part])
        if its > room:
            misses += 1
        else:
            chosen.append(part)
            room -= its
        if misses > _MISSES or len(chosen) == MOST_PASSAGES:
            break
    return chosen


def _ranked(
    question: str, candidates: list[list[Part]], ranker: Ranker, *, matching_only: bool
) -> list[Part]:
    flat = [part for group in candidates for part in group]
    scores = ranker.scores(question, [part.text for part in flat]) if flat else []
    matching = [index for index, score in enumerate(scores) if score > 0]
    if matching or matching_only:
        return [flat[index] for index in sorted(matching, key=lambda i: (-scores[i], i))]
    return [part for turn in zip_longest(*candidates) for part in turn if part is not None]


def small(codec: Codec, files: Sequence[File], *, room: int) -> list[Part]:
    """Of several files, those from end to end that fit together, the smallest first."""
    found: list[Part] = []
    for file in sorted(files, key=lambda file: file.characters):
        if whole(codec, [*(part.file for part in found), file], room=room) is None:
            break
        found.append(Part(file, Span(0, len(file.text), {}), whole=True))
    return found


def numbered(parts: Sequence[Part], files: Sequence[File], *, first: int) -> list[Passage]:
    """In the order of the files, and as they stand in them."""
    order = [file.id for file in files]
    ordered = sorted(parts, key=lambda part: (order.index(part.file.id), part.span.start))
    return [Passage(first + index, part) for index, part in enumerate(ordered)]


def tokens(codec: Codec, parts: Sequence[Part]) -> int:
    """Of their blocks. Their numbers, not known yet, are taken for large ones."""
    return sum(len(codec.encode(Passage(99, part).block(codec) + "\n")) for part in parts)


def prompt_text(codec: Codec, passages: Sequence[Passage], text: str) -> str:
    """The sources, then what the person wrote."""
    head = _WHOLE if all(passage.part.whole for passage in passages) else _PARTS
    blocks = [passage.block(codec) for passage in passages]
    lines = [head.format(n=passages[0].number), *blocks]
    return "\n".join(lines) + (f"\n\n{text}" if text.strip() else "")


def next_number(passages: Iterable[dict[str, Any]]) -> int:
    """Sources are counted through a conversation: [1] means one thing in it."""
    return 1 + max((passage["number"] for passage in passages), default=0)


def only_in_parts(passages: Iterable[dict[str, Any]]) -> list[uuid.UUID]:
    """The files of which the conversation has passages alone."""
    found = [uuid.UUID(passage["file"]) for passage in passages if not passage["whole"]]
    return list(dict.fromkeys(found))
