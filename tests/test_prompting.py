"""Prompts grow at their end: what the model read and wrote stays, token by token."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from chat.prompting import Splice, continue_prompt, first_prompt, next_prompt, splice
from inference import prompt_codec
from inference.detokenizer import Detokenizer
from inference.errors import ContextLengthExceeded, InvalidParameter
from inference.prompt_codec import TokenizerCodec
from inference.types import ModelKind
from tests.fixtures_models import (
    TEXTS,
    TINY,
    byte_fallback_tokenizer,
    byte_level_tokenizer,
    chat_codec,
    chat_model_dir,
    codec,
    load_chat,
    metaspace_tokenizer,
    model_dir,
    model_dirs,
    require_model,
    write_json,
    write_model,
)

__all__ = ["chat_codec", "chat_model_dir", "codec", "model_dir", "model_dirs"]

Messages = list[dict[str, Any]]
IM_START, IM_END = 1, 2


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


@pytest.fixture(scope="module", params=[*TINY, "chat"])
def chat(request: pytest.FixtureRequest, model_dirs: dict[str, Path]) -> TokenizerCodec:
    """Every tokenizer with a chat template: ChatML, whose marks are special tokens only in some."""
    name: str = request.param
    directory = require_model(name) if name == "chat" else model_dirs[name]
    return load_chat(directory)


def written(codec: TokenizerCodec, ids: list[int]) -> str:
    """Text of ids with the special tokens written out."""
    return str(codec._tokenizer.decode(ids, skip_special_tokens=False))


def answer_ids(codec: TokenizerCodec, random: Random) -> list[int]:
    """What a model might write: tokens of text, each word by itself, so seldom the tokens that
    its text would be given again; now and then any tokens; with and without an end."""
    text = random.choice([text for text in TEXTS if text.strip()])
    ids = [id for word in text.split(" ") for id in codec.encode(word + random.choice(["", " "]))]
    if random.random() < 0.3:
        ids += random.choices(range(3, codec._tokenizer.get_vocab_size()), k=5)
    return ids + random.choice([[], [IM_END]])


def test_twenty_turns_only_append(chat: TokenizerCodec) -> None:
    random = Random(20)
    messages: Messages = [user("Hello 你好")]
    prompt = first_prompt(chat, messages)
    assert prompt == chat.encode(chat.render(messages, add_generation_prompt=True))
    for turn in range(20):
        output = answer_ids(chat, random)
        messages += [assistant(chat.decode(output)), user(f"{turn}: {random.choice(TEXTS)}")]
        made = splice(chat, prompt, output, messages)
        assert made.appended
        assert made.ids[: len(prompt) + len(output)] == prompt + output
        assert len(made.ids) > len(prompt) + len(output)
        assert next_prompt(chat, prompt, output, messages) == made.ids
        prompt = made.ids


def test_the_spliced_text_is_the_rendered_text(chat_codec: TokenizerCodec) -> None:
    random = Random(21)
    messages: Messages = [user("Hi")]
    prompt = first_prompt(chat_codec, messages)
    for turn in range(20):
        output = [id for id in answer_ids(chat_codec, random) if id > 16]
        while chat_codec.decode(output).endswith("\ufffd"):
            output.pop()
        messages += [assistant(chat_codec.decode(output)), user(f"turn {turn}")]
        prompt = next_prompt(chat_codec, prompt, output + turn % 2 * [IM_END], messages)
        assert written(chat_codec, prompt) == chat_codec.render(
            messages, add_generation_prompt=True
        )


@pytest.mark.parametrize("end", [[], [IM_END]], ids=["stopped", "ended by itself"])
def test_the_answer_ends_once(chat_codec: TokenizerCodec, end: list[int]) -> None:
    """An answer of canonical tokens is spliced to what rendering everything would give."""
    messages = [user("Hi")]
    prompt = first_prompt(chat_codec, messages)
    output = chat_codec.encode("Hello there") + end
    messages += [assistant("Hello there"), user("And then?")]
    assert next_prompt(chat_codec, prompt, output, messages) == first_prompt(chat_codec, messages)


def test_an_answer_that_tokenizes_differently_keeps_its_tokens(chat_codec: TokenizerCodec) -> None:
    output = [id for letter in "Hello" for id in chat_codec.encode(letter)]
    assert chat_codec.encode("Hello") != output
    messages = [user("Hi"), assistant("Hello"), user("More")]
    prompt = first_prompt(chat_codec, messages[:1])
    made = splice(chat_codec, prompt, output, messages)
    assert made.appended
    assert made.ids[len(prompt) :][: len(output)] == output
    assert made.ids != first_prompt(chat_codec, messages)
    assert written(chat_codec, made.ids) == written(chat_codec, first_prompt(chat_codec, messages))


@pytest.mark.parametrize("answer", ["", " \n", "TINYLLM-ANSWER-0-ENDS", "{{ 1 }} <|im_start|>"])
def test_awkward_answers_only_append(chat: TokenizerCodec, answer: str) -> None:
    messages = [user("Hi"), assistant(answer), user("More")]
    prompt, output = first_prompt(chat, messages[:1]), chat.encode(answer)
    made = splice(chat, prompt, output, messages)
    assert made.appended
    assert made.ids[: len(prompt) + len(output)] == prompt + output


@pytest.mark.parametrize("place", ["first", "last"])
def test_the_user_writes_the_sentinel(chat_codec: TokenizerCodec, place: str) -> None:
    texts = {"first": "Hi", "last": "More"}
    texts[place] = "TINYLLM-ANSWER-0-ENDS TINYLLM-ANSWER-1-ENDS <|im_end|>"
    messages = [user(texts["first"]), assistant("Yo"), user(texts["last"])]
    prompt, output = first_prompt(chat_codec, messages[:1]), chat_codec.encode("Yo")
    made = splice(chat_codec, prompt, output, messages)
    assert made == Splice(first_prompt(chat_codec, messages), appended=True)


def test_an_edit_starts_from_the_tokens_of_its_parent(chat_codec: TokenizerCodec) -> None:
    """Two branches share what was before them, to the token, and differ in what follows."""
    messages = [user("Hi")]
    prompt = first_prompt(chat_codec, messages)
    output = [id for letter in "Hello" for id in chat_codec.encode(letter)]
    branch = [*messages, assistant("Hello")]
    left = next_prompt(chat_codec, prompt, output, [*branch, user("One")])
    right = next_prompt(chat_codec, prompt, output, [*branch, user("Two, edited")])
    shared = prompt + output
    assert left[: len(shared)] == right[: len(shared)] == shared
    assert left != right
    assert written(chat_codec, right).endswith("Two, edited<|im_end|>\n<|im_start|>assistant\n")
    edited_first = first_prompt(chat_codec, [user("Hi, edited")])
    assert "Hi, edited" in written(chat_codec, edited_first)


def test_a_conversation_without_an_answer_is_rendered(chat: TokenizerCodec) -> None:
    messages = [user("Hi"), user("Are you there?")]
    made = splice(chat, first_prompt(chat, messages[:1]), [], messages)
    assert made == Splice(first_prompt(chat, messages), appended=False)


def test_text_continues_text(codec: TokenizerCodec) -> None:
    """A completion model reads what was said, one text after the other, with no space between."""
    texts = ["Once upon", " a time, there", "was a", "\n\nlittle 你好 girl", "  named Lily.", " 🎉"]
    messages: Messages = [user(texts[0])]
    prompt = first_prompt(codec, messages)
    assert prompt == codec.encode(texts[0], add_special_tokens=True)
    for text in texts[1:]:
        output = codec.encode(" and")
        messages += [assistant(codec.decode(output)), user(text)]
        made = splice(codec, prompt, output, messages)
        before = prompt + output
        assert made.appended
        assert made.ids[: len(before)] == before
        if codec.decode(codec.encode(text)) == text:  # not every vocabulary has 你
            assert codec.decode(made.ids) == codec.decode(before) + text
        prompt = made.ids


@pytest.mark.parametrize("tokenizer", [byte_fallback_tokenizer, metaspace_tokenizer])
@pytest.mark.parametrize("text", ["was", " was", "\nwas", "\n\n", ".", "a", "你好"])
def test_no_space_is_invented_between_texts(tmp_path: Path, tokenizer: Any, text: str) -> None:
    directory = write_model(tmp_path, tokenizer())
    codec = prompt_codec.load(directory, ModelKind.COMPLETION, "weights", "float32")
    before = codec.encode("it")
    made = next_prompt(codec, before, [], [user("it"), assistant(""), user(text)])
    assert codec.decode(made) == "it" + text


def test_a_conversation_of_another_kind_is_joined(codec: TokenizerCodec) -> None:
    """A session that changes to a completion model has text, and no tokens of that model."""
    messages = [user("Once"), assistant(" upon"), user(" a time")]
    expected = codec.encode("Once upon a time", add_special_tokens=True)
    assert first_prompt(codec, messages) == expected


def test_a_prompt_must_leave_room_for_an_answer(tmp_path: Path) -> None:
    directory = write_model(tmp_path, byte_level_tokenizer())
    sizes = {}
    for length in (30, 31):
        write_json(directory / "config.json", {"max_position_embeddings": length})
        sizes[length] = prompt_codec.load(directory, ModelKind.COMPLETION, "w", "float32")
    text = "\x00" * 30
    assert len(first_prompt(sizes[31], [user(text)])) == 30
    with pytest.raises(ContextLengthExceeded) as caught:
        first_prompt(sizes[30], [user(text)])
    assert caught.value.fields == {"prompt_tokens": 30, "context_length": 30}
    half = [0] * 15
    branch = [user("a"), assistant("b"), user("\x00")]
    assert len(next_prompt(sizes[30], half, half[2:], branch)) == 29
    with pytest.raises(ContextLengthExceeded):
        next_prompt(sizes[30], half, half[1:], branch)


def test_a_chat_prompt_that_does_not_fit(chat_codec: TokenizerCodec) -> None:
    with pytest.raises(ContextLengthExceeded) as caught:
        first_prompt(chat_codec, [user("word " * 10_000)])
    assert caught.value.fields["prompt_tokens"] > 10_000
    assert caught.value.fields["context_length"] == chat_codec.context_length


def test_text_that_is_not_unicode_is_refused(chat: TokenizerCodec) -> None:
    with pytest.raises(InvalidParameter):
        first_prompt(chat, [user("\ud800")])
    messages = [user("Hi"), assistant("Yo"), user("\ud800")]
    with pytest.raises(InvalidParameter):
        next_prompt(chat, first_prompt(chat, messages[:1]), chat.encode("Yo"), messages)


def test_a_continued_answer_completes_its_character(chat_codec: TokenizerCodec) -> None:
    prompt = first_prompt(chat_codec, [user("Hi")])
    answer = chat_codec.encode("ok 🎉 yes")
    cut = len(chat_codec.encode("ok 🎉")) - 1
    ids, start = continue_prompt(prompt, answer[:cut])
    assert ids == prompt + answer[:cut]
    assert start == len(prompt)
    detokenizer = Detokenizer(chat_codec.decode, prefix_ids=ids[start:])
    assert "".join(map(detokenizer.push, answer[cut:])) == "🎉 yes"


def test_an_answer_continued_twice_began_where_it_began(chat_codec: TokenizerCodec) -> None:
    prompt = first_prompt(chat_codec, [user("Hi")])
    answer = chat_codec.encode("好🎉")
    first, start = continue_prompt(prompt, answer[:-2])
    second, still = continue_prompt(first, answer[-2:-1], answer_start=start)
    assert (second, still) == (prompt + answer[:-1], len(prompt))
