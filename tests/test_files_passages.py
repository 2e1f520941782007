"""A text is cut where it means to end, and found by what is asked, in English and in Chinese."""

from __future__ import annotations

from chat.files.passages import WEIGHT, _Cutter, cut
from chat.files.ranking import Bm25Ranker, words


def texts(text: str, places: list[dict[str, object]] | None = None) -> list[str]:
    return [text[span.start : span.end] for span in cut(text, places or [])]


def test_nothing_is_lost_and_no_passage_is_too_long() -> None:
    text = "\n\n".join(f"Paragraph {n}. " + "It has a few sentences. " * n for n in range(80))
    text += "x" * 20_000 + "。" + "没有空格的句子，" * 600
    found = texts(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    weights = [_Cutter(part).weight(0, len(part)) for part in found]
    assert max(weights) <= WEIGHT
    assert min(weights[:-1]) > WEIGHT / 4


def test_it_is_cut_at_paragraphs_then_sentences() -> None:
    paragraph = "One sentence is here. " * 40
    found = texts(f"{paragraph}\n\n{paragraph}")
    assert found == [paragraph.strip()] * 2
    chinese = "这是一个句子。" * 100
    assert all(part.endswith("。") for part in texts(chinese))
    assert len(texts(chinese)) > 1


def test_places_follow_pages_rows_and_lines() -> None:
    page = "A page. " * 10
    pages = [{"start": 0, "at": {"page": 1}}, {"start": len(page), "at": {"page": 2}}]
    assert [span.place for span in cut(page * 2, pages)] == [{"page": 1}, {"page": 2}]
    rows = "\n".join(f"{n} | " + "cell " * 50 for n in range(1, 21))
    found = cut(rows, [{"start": 0, "at": {"sheet": "A", "row": 5}}])
    for span in found:
        first = int(rows[span.start : span.end].split(" ")[0])
        assert span.place == {"sheet": "A", "row": first + 4}
    assert len(found) > 2
    # Rows that are missing between others do not tear them apart.
    gap = [
        {"start": 0, "at": {"sheet": "A", "row": 1}},
        {"start": 2, "at": {"sheet": "A", "row": 9}},
    ]
    assert [span.place for span in cut("a\nb", gap)] == [{"sheet": "A", "row": 1}]


def test_words_are_pairs_where_nothing_stands_between_them() -> None:
    assert words("The Größe of 长江和 X_1, 水") == ["größe", "长江", "江和", "x_1", "水"]


def test_the_passage_that_says_it_has_the_highest_score() -> None:
    ranker = Bm25Ranker()
    passages = [
        "The Danube flows through ten countries and into the Black Sea.",
        "Bread is baked from flour and water.",
        "长江是亚洲最长的河流，流过十一个省。",
        "面包用面粉和水烤成。",
    ]
    for question, best in (
        ("Which countries does the Danube cross?", 0),
        ("how is bread made", 1),
        ("亚洲最长的河是哪一条？", 2),
        ("面包怎么做？", 3),
    ):
        scores = ranker.scores(question, passages)
        assert max(range(4), key=scores.__getitem__) == best
    assert ranker.scores("quantum", passages) == [0, 0, 0, 0]
    assert ranker.scores("?", passages) == [0, 0, 0, 0]
    assert ranker.scores("x", ["!", ""]) == [0, 0]
