"""Streaming text: never half a character, never a part of a stop string, always the whole text."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.detokenizer import LONG_WINDOW, Detokenizer
from inference.prompt_codec import TokenizerCodec
from tests.fixtures_models import (
    TEXTS,
    chat_codec,
    chat_model_dir,
    codec,
    model_dir,
    model_dirs,
)

__all__ = ["chat_codec", "chat_model_dir", "codec", "model_dir", "model_dirs"]

# Bytes that build, break and cut characters of one to four bytes.
BYTES = b"a \n\x80\xbf\xc3\xa9\xe4\xbd\xa0\xf0\x9f\x8e\x89\xff\xed\xef\xbf\xbd"

quick = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def settled(text: str) -> str:
    """The text of tokens so far without a last character that may still be completed."""
    return text.removesuffix("\ufffd")


def byte_id(codec: TokenizerCodec, byte: int) -> int | None:
    """The token of one byte: <0x80>, or the letter that byte-level tokenizers write for it."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [other for other in range(256) if other not in printable]
    letter = chr(byte if byte in printable else 256 + others.index(byte))
    tokenizer = codec._tokenizer
    fallback = tokenizer.token_to_id(f"<0x{byte:02X}>")
    return fallback if fallback is not None else tokenizer.token_to_id(letter)


def awkward_ids(codec: TokenizerCodec) -> list[int]:
    """Bytes, special tokens, an id without a token, and spaces that decoders strip."""
    tokenizer = codec._tokenizer
    names = [tokenizer.token_to_id(name) for name in ("▁", "▁▁", "▁a", "a", "Ġ", "\n", "Ċ")]
    found = [byte_id(codec, byte) for byte in BYTES] + names
    return [0, 1, 2, tokenizer.get_vocab_size() + 1, *(id for id in found if id is not None)]


def token_ids(codec: TokenizerCodec, data: st.DataObject) -> list[int]:
    """A mixture of text, of text cut anywhere, of awkward and of any tokens."""
    pieces = st.one_of(
        st.lists(st.integers(0, codec._tokenizer.get_vocab_size() + 3), max_size=8),
        st.lists(st.sampled_from(awkward_ids(codec)), max_size=20),
        st.sampled_from(TEXTS).map(lambda text: codec.encode(text)[:20]),
        st.sampled_from(TEXTS).map(lambda text: codec.encode(text)[1::2][:20]),
        st.text(max_size=12).map(codec.encode),
    )
    return [id for piece in data.draw(st.lists(pieces, max_size=6)) for id in piece]


def ways(codec: TokenizerCodec, prefix_ids: Sequence[int] = ()) -> list[Detokenizer]:
    """By decoding, and by what each token stands for where that is known."""
    tables = [None, codec.token_bytes] if codec.token_bytes else [None]
    return [Detokenizer(codec.decode, prefix_ids, (), table) for table in tables]


def assert_settles_in_step(codec: TokenizerCodec, ids: list[int]) -> None:
    """After each token the text is exactly what a full decode of the tokens so far settles, and
    the token begins where the text before it ended."""
    expected = [settled(codec.decode(ids[:count])) for count in range(len(ids) + 1)]
    for detokenizer in ways(codec):
        text = ""
        for index, id in enumerate(ids):
            text += detokenizer.push(id)
            assert text == expected[index + 1], ids[: index + 1]
            assert detokenizer.offset == len(expected[index])
        assert text + detokenizer.finish() == expected[-1]


@pytest.mark.parametrize("seed", range(4))
def test_few_awkward_tokens_in_long_rows(codec: TokenizerCodec, seed: int) -> None:
    """Rows of a handful of different tokens, which sampling from all of them would never draw."""
    random = Random(seed)
    awkward = awkward_ids(codec)
    for _ in range(250):
        pool = random.sample(awkward, min(len(awkward), random.choice([2, 3, 5, 9])))
        assert_settles_in_step(codec, random.choices(pool, k=random.choice([5, 12, 30])))


@quick
@given(data=st.data())
def test_every_push_settles_exactly_what_a_full_decode_would(
    codec: TokenizerCodec, data: st.DataObject
) -> None:
    assert_settles_in_step(codec, token_ids(codec, data))


@quick
@given(data=st.data())
def test_a_continued_answer_goes_on_where_it_was_cut(
    codec: TokenizerCodec, data: st.DataObject
) -> None:
    ids = token_ids(codec, data)
    cut = data.draw(st.integers(0, len(ids)))
    for detokenizer in ways(codec, ids[:cut]):
        pushed = "".join(map(detokenizer.push, ids[cut:])) + detokenizer.finish()
        assert settled(codec.decode(ids[:cut])) + pushed == settled(codec.decode(ids))


@pytest.mark.parametrize("text", TEXTS)
def test_text_arrives_whole(codec: TokenizerCodec, text: str) -> None:
    ids = codec.encode(text)
    for detokenizer in ways(codec):
        pieces = list(map(detokenizer.push, ids))
        assert "".join(pieces) == settled(codec.decode(ids))


def test_a_character_of_several_tokens_appears_once_and_late(chat_codec: TokenizerCodec) -> None:
    ids = chat_codec.encode("好🎉")
    assert len(ids) > 2
    detokenizer = Detokenizer(chat_codec.decode)
    pieces = [(detokenizer.push(id), detokenizer.offset) for id in ids]
    assert [piece for piece, _ in pieces if piece] == ["好", "🎉"]
    assert pieces[-1][0] == "🎉"
    assert {offset for _, offset in pieces} == {0, 1}


def test_half_a_character_is_dropped_at_the_end(chat_codec: TokenizerCodec) -> None:
    ids = chat_codec.encode("ok 🎉")
    detokenizer = Detokenizer(chat_codec.decode)
    text = "".join(map(detokenizer.push, ids[:-1]))
    assert text + detokenizer.finish() == "ok "


def test_half_a_character_is_completed_by_the_continued_answer(chat_codec: TokenizerCodec) -> None:
    ids = chat_codec.encode("ok 🎉 yes")
    first = len(chat_codec.encode("ok 🎉")) - 1
    detokenizer = Detokenizer(chat_codec.decode, prefix_ids=ids[:first])
    pieces = [(detokenizer.push(id), detokenizer.offset) for id in ids[first:]]
    assert "".join(piece for piece, _ in pieces) == "🎉 yes"
    assert pieces[0][1] == 0


def test_a_broken_byte_is_shown_once_it_cannot_be_completed(chat_codec: TokenizerCodec) -> None:
    broken = chat_codec.encode("好")[:1]
    detokenizer = Detokenizer(chat_codec.decode)
    assert detokenizer.push(broken[0]) == ""
    assert detokenizer.push(chat_codec.encode("a")[0]) == "\ufffda"


@pytest.mark.parametrize("count", range(LONG_WINDOW - 4, LONG_WINDOW + 8))
def test_characters_after_a_long_run_of_broken_bytes(codec: TokenizerCodec, count: int) -> None:
    ids = [byte_id(codec, byte) for byte in b"\x80" * count + "é你🎉".encode() * 2]
    known = [id for id in ids if id is not None] or codec.encode("\ufffd" * count)
    assert_settles_in_step(codec, known)


@pytest.mark.parametrize("pattern", ["text", "broken", "special", "broken and special"])
def test_the_cost_of_a_token_does_not_grow(codec: TokenizerCodec, pattern: str) -> None:
    """Counted in decoded ids, not in seconds."""
    byte = byte_id(codec, 0x80) or codec.encode("好")[-1]
    ids = {
        "text": codec.encode("Tell me a story. " * 60),
        "broken": [byte] * 300,
        "special": [2] * 300,
        "broken and special": [byte, 2, 2] * 100,
    }[pattern]
    decoded = 0

    def decode(window: Sequence[int]) -> str:
        nonlocal decoded
        decoded += len(window)
        return codec.decode(window)

    detokenizer = Detokenizer(decode)
    worst = 0
    for id in ids:
        decoded = 0
        detokenizer.push(id)
        worst = max(worst, decoded)
    assert worst <= 12 * LONG_WINDOW


def by_character(ids: Sequence[int]) -> str:
    """A decoder without surprises: one id, one code point."""
    return "".join(map(chr, ids))


def hit(text: str, stops: Sequence[str]) -> tuple[str, str] | None:
    """The text before the first stop string to be completed, and that string (the longer one
    where two end together), found the slow way."""
    for end in range(1, len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            stop = max(ending, key=len)
            return text[: end - len(stop)], stop
    return None


def safe(text: str, stops: Sequence[str]) -> str:
    """Text without its longest suffix that begins a stop string."""
    for start in range(len(text)):
        if any(stop.startswith(text[start:]) for stop in stops):
            return text[:start]
    return text


@quick
@given(
    text=st.text("ab\n", max_size=40),
    stops=st.lists(st.text("ab\n", min_size=1, max_size=6), max_size=4),
)
def test_stop_strings(text: str, stops: list[str]) -> None:
    detokenizer = Detokenizer(by_character, stop=stops)
    shown = ""
    for index, character in enumerate(text):
        shown += detokenizer.push(ord(character))
        expected = hit(text[: index + 1], stops)
        if expected:
            assert (shown, detokenizer.stop_string) == expected
        else:
            assert shown == safe(text[: index + 1], stops)
            assert detokenizer.stop_string is None
    final = hit(text, stops)
    assert shown + detokenizer.finish() == (final[0] if final else text)
    assert detokenizer.finish() == ""


@quick
@given(
    text=st.text("ab é好\n", max_size=60),
    stops=st.lists(st.text("ab é好\n", min_size=1, max_size=5), min_size=1, max_size=4),
)
def test_stop_strings_do_not_depend_on_tokens(
    codec: TokenizerCodec, text: str, stops: list[str]
) -> None:
    ids = codec.encode(text)
    whole = settled(codec.decode(ids))
    detokenizer = Detokenizer(codec.decode, stop=stops)
    shown = "".join(map(detokenizer.push, ids))
    final = hit(whole, stops)
    assert shown + detokenizer.finish() == (final[0] if final else whole)
    assert detokenizer.stop_string == (final[1] if final else None)


def test_a_stop_string_inside_a_token_ends_the_text_there(chat_codec: TokenizerCodec) -> None:
    (hello,) = chat_codec.encode(" Hello")
    detokenizer = Detokenizer(chat_codec.decode, stop=["ell"])
    assert detokenizer.push(hello) == " H"
    assert detokenizer.stop_string == "ell"
    assert detokenizer.push(hello) == ""
    assert detokenizer.finish() == ""


def test_offsets_count_what_is_held_back() -> None:
    detokenizer = Detokenizer(by_character, stop=["abc"])
    pieces = [(detokenizer.push(ord(letter)), detokenizer.offset) for letter in "xab"]
    assert pieces == [("x", 0), ("", 1), ("", 2)]
    assert detokenizer.finish() == "ab"
