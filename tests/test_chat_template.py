"""Chat templates: rendered as transformers renders them, and not trusted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from inference import chat_template
from inference.chat_template import ChatTemplate
from inference.errors import InvalidParameter, ModelInvalid
from inference.prompt_codec import TokenizerCodec
from tests.fixtures_models import (
    CHATML,
    TEXTS,
    byte_level_tokenizer,
    chat_codec,
    chat_model_dir,
    write_model,
)

__all__ = ["chat_codec", "chat_model_dir"]

PATH = Path("some") / "model" / "chat_template.jinja"
TOKENS = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
Conversation = list[dict[str, Any]]

CONVERSATIONS: list[Conversation] = [
    [{"role": "user", "content": "Hi"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    [
        {"role": "user", "content": " spaces \n"},
        {"role": "assistant", "content": '\n\n<think>\nhm\n</think>\n\n<b>&\'"ok"</b> '},
        {"role": "user", "content": "你好 🎉 {{ 7 * 7 }} {% if %}"},
    ],
    [{"role": "user", "content": text} for text in TEXTS],
]

TEMPLATES = {
    "chatml": CHATML,
    "blocks and comments are trimmed": """
{# a comment #}
    {%- for message in messages %}
        {% if message.role == 'user' %}
    U: {{ message.content | trim }}
        {% else %}
    A: {{ message['content'] }}
        {% endif %}
    {% endfor %}
{% if add_generation_prompt %}
A:
{% endif %}
""",
    "loop controls": "{% for m in messages %}{% if loop.index > 3 %}{% break %}{% endif %}"
    "{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.content }};{% endfor %}",
    "json": "{{ messages | tojson }}|{{ messages[0] | tojson(indent=2) }}"
    "|{{ messages[0] | tojson(separators=(',', ':'), sort_keys=True, ensure_ascii=True) }}",
    "tokens": "{{ bos_token }}{% for m in messages %}{{ m.content }}{{ eos_token }}{% endfor %}"
    "{{ pad_token is defined }}{{ tools is none }}{{ documents }}",
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}"
    "{{ m.content }}{{ eos_token }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}"
    "{% endfor %}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
    "{% endfor %}{{ ns.n }}{{ messages[-1].content.split('</think>')[-1] }}"
    "{{ messages | map(attribute='role') | join(',') }}",
    "date": "{{ strftime_now('%Y') }}",
    "methods": "{% for m in messages %}{{ m.content.strip().upper()[:20] }}{{ m.items() | list }}"
    "{{ m.get('name', 'nobody') }}{% endfor %}",
}


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, PATH, TOKENS)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = write_model(tmp_path_factory.mktemp("model"), byte_level_tokenizer(), **TOKENS)
    return PreTrainedTokenizerFast.from_pretrained(directory)


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=range(len(CONVERSATIONS)))
@pytest.mark.parametrize("name", TEMPLATES)
def test_text_equals_transformers(
    reference: Any, name: str, conversation: Conversation, prompt: bool
) -> None:
    expected = reference.apply_chat_template(
        conversation,
        chat_template=TEMPLATES[name],
        add_generation_prompt=prompt,
        tokenize=False,
    )
    rendered = template(TEMPLATES[name]).render(conversation, add_generation_prompt=prompt)
    assert rendered == expected
    assert name == "date" or rendered


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=range(len(CONVERSATIONS)))
def test_the_chat_model_equals_transformers(
    chat_model_dir: Path, chat_codec: TokenizerCodec, conversation: Conversation, prompt: bool
) -> None:
    reference = PreTrainedTokenizerFast.from_pretrained(chat_model_dir)
    text = chat_codec.render(conversation, add_generation_prompt=prompt)
    assert text == reference.apply_chat_template(
        conversation, add_generation_prompt=prompt, tokenize=False
    )
    encoded = reference.apply_chat_template(conversation, add_generation_prompt=prompt)
    assert chat_codec.encode(text) == encoded["input_ids"]


def test_a_template_may_refuse_a_conversation() -> None:
    strict = template(
        "{% if messages[0].role != 'user' %}{{ raise_exception('Begin with the user') }}{% endif %}"
        "{{ messages[0].content + '' }}"
    )
    with pytest.raises(InvalidParameter, match="Begin with the user") as caught:
        strict.render([{"role": "system", "content": "x"}], add_generation_prompt=True)
    assert caught.value.fields["param"] == "messages"
    with pytest.raises(InvalidParameter, match="TypeError"):
        strict.render([{"role": "user", "content": 7}], add_generation_prompt=True)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("line one\n{% for %}", "TemplateSyntaxError in line 2"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ messages[0].update(role='x') }}", "SecurityError"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ raise_exception('never') }}", "never"),
        ("{{ messages[0].missing + 1 }}", "UndefinedError"),
        ("{{ ('x' * messages | length * 9999999999) | length }}", "MemoryError"),
        ("{% include 'other' %}", "TypeError"),
    ],
)
def test_a_template_that_fails_is_named(source: str, found: str) -> None:
    with pytest.raises(ModelInvalid) as caught:
        template(source)
    assert found in caught.value.message
    assert caught.value.fields["path"] == str(PATH)
    assert str(PATH) in caught.value.message


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        # Jinja computes this while it compiles.
        "{{ 9 ** (9 ** (9 ** 9)) }}",
        # Only in the conversation's second turn.
        "{% if messages | length > 2 %}{% for a in range(99999) %}{% for b in range(99999) %}"
        "{% endfor %}{% endfor %}{% endif %}",
    ],
    ids=["rendering", "compiling", "later"],
)
def test_a_template_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setattr(chat_template, "PROBE_TIMEOUT_S", 2.0)
    with pytest.raises(ModelInvalid, match=r"did not finish .* within 2 seconds"):
        template(source)


def test_a_template_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []
    run = subprocess.run

    def counted(command: list[str], **options: Any) -> Any:
        commands.append(command)
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", counted)
    source = "{{ 'tried once' }}"
    assert template(source).sha256 == template(source).sha256
    assert len(commands) == 1
    with pytest.raises(ModelInvalid):
        template(source + "{% if %}")
    assert len(commands) == 2


def test_a_process_that_dies_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ModelInvalid, match="exit status 1"):
        template("{{ 'never tried' }}")


def test_the_process_that_tries_it_knows_no_keys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TINYLLM_ENCRYPTION_KEYS", "very secret")
    shell = tmp_path / "python"
    shell.write_text('#!/bin/sh\necho "keys: $TINYLLM_ENCRYPTION_KEYS."\nexit 1\n')
    shell.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(shell))
    with pytest.raises(ModelInvalid, match=r"cannot be used: keys: \."):
        template("{{ 'tried without keys' }}")


def test_the_callers_messages_are_not_touched() -> None:
    messages = [{"role": "user", "content": "a"}]
    template("{% for m in messages %}{{ m.content }}{% endfor %}").render(
        messages, add_generation_prompt=True
    )
    assert messages == [{"role": "user", "content": "a"}]
