"""Words of an open table, each with the measure word and the looks that suit it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from inference.corpus.draws import Draws
from inference.corpus.tables import Row, load
from inference.corpus.templates import TemplateError


def drawn(draws: Draws, language: str, want: str, others: Mapping[str, str]) -> dict[str, str]:
    """The fields of one word, for a whole story, by what a plot wants: `o=things` or, of those
    with a tag, `o=things:small`. No word that `others` has. Raises TemplateError.

    `o` is the word, `o.one` one of it, `o.full` one and how it looks, `o.that` the one that was
    spoken of, `o.look` the look alone."""
    name, _, source = want.partition("=")
    table, _, tag = source.partition(":")
    words = _words(language, table, tag)
    if not words:
        raise TemplateError(f"no word for {want!r}")
    word, row = draws.pick(words)
    while word in others.values():
        word, row = draws.pick(words)
    measure, look = row["measure"], draws.pick(row.items("looks"))
    fields = {"": word, ".look": look, ".measure": measure, ".like": look + word}
    fields[".one"] = f"一{measure}{word}"
    fields[".full"] = f"一{measure}{look}{word}"
    fields[".that"] = f"那{measure}{word}"
    fields[".this"] = f"这{measure}{word}"
    return {name + key: text for key, text in fields.items()}


@lru_cache
def _words(language: str, table: str, tag: str) -> list[tuple[str, Row]]:
    rows = [row for row in load(language).rows[table] if not tag or tag in row.words("tags")]
    return [(word, row) for row in rows for word in row.words("words")]
