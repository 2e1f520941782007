"""A model's own chat template, rendered as its authors meant it, without trusting it.

Templates are Jinja programs that came with the weights. They run in Jinja's sandbox, which bounds
neither time nor memory, so each template is first rendered in a child process that can be killed
(`python -m inference.chat_template`). Only then is it compiled here: compiling already evaluates
constant expressions.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.meta
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from inference.errors import InvalidParameter, ModelInvalid

PROBE_TIMEOUT_S = 10.0
PROBE_MEMORY_BYTES = 1 << 30
PROBE_MESSAGES = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hello! How can I help?"},
    {"role": "user", "content": "Tell me a story."},
]
MAX_DETAIL_CHARACTERS = 300


class ChatTemplate:
    """One compiled template. Thread-safe.

    source: the template's text. path: the file it came from, for errors. special_tokens: what the
    template sees as bos_token, eos_token and so on. Raises ModelInvalid when the template does not
    compile, fails on a plain conversation, or does not end in time.
    """

    def __init__(self, source: str, path: Path, special_tokens: Mapping[str, str]) -> None:
        self.source = source
        self._special_tokens = dict(special_tokens)
        detail = _probe(source, json.dumps(self._special_tokens, sort_keys=True), PROBE_TIMEOUT_S)
        if detail:
            raise ModelInvalid(
                f"The chat template in {path} cannot be used: {detail}.",
                path=str(path),
                detail=detail,
            )
        self._template = _compile(source)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.source.encode()).hexdigest()

    @functools.cached_property
    def takes_tools(self) -> bool:
        """Whether it says anything about tools that it is given."""
        parsed = _environment().parse(self.source)
        return "tools" in jinja2.meta.find_undeclared_variables(parsed)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        add_generation_prompt: bool,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> str:
        """The conversation as text, special tokens written out. tools: as OpenAI describes them.

        Raises InvalidParameter when the template refuses these messages (roles that do not
        alternate, say).
        """
        try:
            return _render(
                self._template, messages, add_generation_prompt, self._special_tokens, tools
            )
        # A template can raise anything that Python can: all of it is about these messages.
        except Exception as error:
            raise InvalidParameter(
                "messages",
                [message.get("role") for message in messages],
                f"a conversation that the model's chat template accepts ({_detail(error)})",
            ) from error


def _render(
    template: jinja2.Template,
    messages: Sequence[Mapping[str, Any]],
    add_generation_prompt: bool,
    special_tokens: Mapping[str, str],
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> str:
    # Copies, because a template may not see (nor a sandbox flaw change) the caller's own objects.
    return template.render(
        messages=copy.deepcopy([dict(message) for message in messages]),
        tools=copy.deepcopy(tools),
        documents=None,
        add_generation_prompt=add_generation_prompt,
        **special_tokens,
    )


@functools.lru_cache(maxsize=32)
def _probe(source: str, special_tokens: str, timeout_s: float) -> str:
    """Why the template cannot be used, or '' when it can. Runs a child once per template."""
    request = json.dumps({"source": source, "special_tokens": json.loads(special_tokens)})
    try:
        child = subprocess.run(
            [sys.executable, "-m", "inference.chat_template"],
            input=request.encode(),
            capture_output=True,
            cwd=Path(__file__).resolve().parents[1],
            env={},  # a template of a stranger's: it finds no keys there
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not finish a short conversation within {timeout_s:g} seconds"
    if child.returncode == 0:
        return ""
    said = child.stdout.decode(errors="replace").strip()
    return said or f"it ended the process that tried it (exit status {child.returncode})"


def _probe_main() -> int:
    """The child: reads one template on standard input, says on standard output what is wrong."""
    request = json.loads(sys.stdin.buffer.read())
    _limit_memory()
    try:
        template = _compile(request["source"])
        for count, prompt in ((1, True), (2, False), (3, True)):
            _render(template, PROBE_MESSAGES[:count], prompt, request["special_tokens"])
    except Exception as error:
        sys.stdout.buffer.write(_detail(error).encode(errors="replace"))
        return 1
    return 0


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit; the time limit still holds.
        return
    # ValueError: whoever started us has set a lower limit already.
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (PROBE_MEMORY_BYTES, PROBE_MEMORY_BYTES))


def _detail(error: Exception) -> str:
    text = " ".join(str(error).split())[:MAX_DETAIL_CHARACTERS].rstrip(".")
    line = f" in line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
    return f"{type(error).__name__}{line}: {text}" if text else type(error).__name__


@functools.lru_cache(maxsize=32)
def _compile(source: str) -> jinja2.Template:
    return _environment().from_string(source)


def _environment() -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[_GenerationTag, jinja2.ext.loopcontrols],
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


class _GenerationTag(jinja2.ext.Extension):
    """`{% generation %}…{% endgeneration %}` marks answers for training; its content is kept."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is: Jinja's own filter escapes for HTML, which a model never saw."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(format: str) -> str:
    # Local time without a zone is what templates are written for.
    return datetime.now().strftime(format)  # noqa: DTZ005


if __name__ == "__main__":
    sys.exit(_probe_main())
