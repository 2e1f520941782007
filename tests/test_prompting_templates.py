"""Chat templates that close, change or hide what came before, and what a prompt makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat.prompting import Splice, first_prompt, next_prompt, splice
from inference.prompt_codec import TokenizerCodec
from tests.fixtures_models import CHATML, byte_level_tokenizer, load_chat, write_json, write_model
from tests.test_prompting import IM_END, assistant, user, written

STRIPS_THINKING = CHATML.replace(
    "message['content']", "message['content'].split('</think>')[-1].lstrip()"
)
OPENS_THINKING = CHATML.replace("assistant\n' }}", "assistant\n<think>\n' }}")
SYSTEM_LAST = (
    "{% for m in messages %}{% if loop.last %}Be kind. {% endif %}[{{ m['content'] }}]{% endfor %}"
)
REPEATS = CHATML + "{{ messages[1]['content'] if messages | length > 1 }}"
ONLY_FIRST = "{{ messages[0]['content'] }}"
HIDES = "{% for m in messages if m.role == 'user' %}{{ m['content'] }}{% endfor %}"


def with_template(directory: Path, template: str) -> TokenizerCodec:
    write_model(directory, byte_level_tokenizer(), chat_template=template)
    return load_chat(directory)


def test_another_end_token_is_kept(tmp_path: Path) -> None:
    """<|endoftext|> is not the template's end of turn, so that one still follows."""
    write_json(tmp_path / "generation_config.json", {"eos_token_id": [0, IM_END]})
    codec = with_template(tmp_path, CHATML)
    messages = [user("Hi"), assistant("Yo"), user("<|endoftext|> again")]
    output = [*codec.encode("Yo"), 0]
    made = next_prompt(codec, first_prompt(codec, messages[:1]), output, messages)
    assert "Yo<|endoftext|><|im_end|>\n<|im_start|>user\n<|endoftext|> again" in written(
        codec, made
    )


def test_only_an_end_token_is_dropped(tmp_path: Path) -> None:
    """An answer that was stopped after a line break has that one, and the template's."""
    codec = with_template(tmp_path, CHATML.replace("'<|im_end|>'", "''"))
    messages = [user("Hi"), assistant("Yo\n"), user("More")]
    prompt, output = first_prompt(codec, messages[:1]), codec.encode("Yo\n")
    text = written(codec, next_prompt(codec, prompt, output, messages))
    assert "Yo\n\n<|im_start|>user\nMore" in text


@pytest.mark.parametrize(
    ("template", "answer"),
    [
        (STRIPS_THINKING, "<think>well</think>\n\nHello"),
        (OPENS_THINKING, "Hello"),
        (SYSTEM_LAST, "Hello"),
        (REPEATS, "Hello"),
        (HIDES, "Hello"),
        (ONLY_FIRST, "Hello"),
    ],
    ids=["strips thinking", "opens thinking", "system last", "repeats", "hides", "only first"],
)
def test_a_template_that_rewrites_the_past_is_rendered_anew(
    tmp_path: Path, template: str, answer: str
) -> None:
    codec = with_template(tmp_path, template)
    messages = [user("Hi"), assistant(answer), user("More")]
    prompt = first_prompt(codec, messages[:1])
    made = splice(codec, prompt, codec.encode(answer), messages)
    assert made == Splice(first_prompt(codec, messages), appended=False)


@pytest.mark.parametrize(
    ("template", "answer"),
    [
        (STRIPS_THINKING, "Hello"),
        (CHATML.replace("message['content']", "message['content'] | trim"), " Hello\n"),
    ],
    ids=["nothing to strip", "trims"],
)
def test_a_template_that_leaves_this_answer_alone_is_appended_to(
    tmp_path: Path, template: str, answer: str
) -> None:
    codec = with_template(tmp_path, template)
    messages = [user("Hi"), assistant(answer), user("More")]
    prompt, output = first_prompt(codec, messages[:1]), codec.encode(answer)
    made = splice(codec, prompt, output, messages)
    assert made.appended
    assert made.ids[: len(prompt) + len(output)] == prompt + output


def test_a_space_before_the_end_of_turn_goes_with_it(tmp_path: Path) -> None:
    codec = with_template(tmp_path, CHATML.replace("'<|im_end|>'", "' <|im_end|>'"))
    messages = [user("Hi"), assistant("Yo"), user("More")]
    prompt, output = first_prompt(codec, messages[:1]), [*codec.encode("Yo"), IM_END]
    text = written(codec, next_prompt(codec, prompt, output, messages))
    assert "Yo<|im_end|>\n<|im_start|>user\nMore" in text
