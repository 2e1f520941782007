"""manage.py run: a chat in the terminal, with the models and the prompts of the site."""

from __future__ import annotations

import asyncio
import logging
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand, CommandError

from chat import engine, prompting
from chat.engine import EngineClient, PromptCodec
from inference.errors import ContextLengthExceeded, EngineError
from inference.types import Delta, Finished, GenerateRequest, ModelInfo


class Command(BaseCommand):
    help = "Chat in the terminal. An empty line, Ctrl-D or Ctrl-C ends it; nothing is stored."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", nargs="?", default="chat", help="a name in the catalogue")

    def handle(self, *args: Any, **options: Any) -> None:
        logging.getLogger("inference").setLevel(logging.WARNING)
        try:
            asyncio.run(self._talk(options["model"]))
        except EngineError as error:
            raise CommandError(error.message) from error
        except (KeyboardInterrupt, EOFError):
            self.stdout.write("")

    async def _talk(self, model: str) -> None:
        client = engine.create()
        await client.start()
        try:
            conversation = _Conversation(client, await client.codec(model), _info(client, model))
            self.stdout.write(f"{conversation.info.title}. An empty line ends the chat.")
            while text := await asyncio.to_thread(input, "> "):
                try:
                    await conversation.turn(text, self._show)
                except ContextLengthExceeded as error:
                    self.stderr.write(error.message)
        finally:
            await client.stop()

    def _show(self, text: str) -> None:
        self.stdout.write(text, ending="")
        self.stdout.flush()


class _Conversation:
    """What was said so far: as messages for the template, as tokens for the model."""

    def __init__(self, client: EngineClient, codec: PromptCodec, info: ModelInfo) -> None:
        self.info = info
        self._client, self._codec = client, codec
        self._messages: list[dict[str, Any]] = []
        self._prompt: list[int] = []
        self._output: list[int] = []

    async def turn(self, text: str, show: Callable[[str], None]) -> None:
        """One turn; a refused one leaves the conversation as it was."""
        messages = [*self._messages, {"role": "user", "content": text}]
        if self._prompt:
            prompt = prompting.next_prompt(self._codec, self._prompt, self._output, messages)
        else:
            prompt = prompting.first_prompt(self._codec, messages)
        request = GenerateRequest(uuid4().hex, self.info.name, tuple(prompt), self.info.defaults)
        answer = ""
        output: list[int] = []
        async with aclosing(self._client.stream(request)) as events:
            async for event in events:
                if isinstance(event, Delta):
                    answer += event.text
                    output += event.token_ids
                    show(event.text)
                elif isinstance(event, Finished):
                    show(f"\n[{_speed(event)}]\n")
        self._messages = [*messages, {"role": "assistant", "content": answer}]
        self._prompt, self._output = prompt, output


def _info(client: EngineClient, model: str) -> ModelInfo:
    return next(info for info in client.models() if info.name == model)


def _speed(finished: Finished) -> str:
    decode = finished.timings.decode_s
    rate = f", {(finished.output_tokens - 1) / decode:.0f} tokens/s" if decode else ""
    return f"{finished.output_tokens} tokens{rate}"
