"""A model that is judged, run by our own engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import kernels
from inference.config import ModelConfig
from inference.engine import StepEvents
from inference.errors import EngineError
from inference.offline import OfflineModel, run_to_end
from inference.options import EngineOptions
from inference.perplexity import ForwardRunner, text_loss
from inference.training.sizes import parameters
from inference.types import Delta, Finished, GenerateRequest, ModelKind, SamplingParams
from inference.weights import weight_files

# As `story` is sampled on the site, without penalties, which would hide what a model repeats. Some
# models write the end of a story out as text.
ENDS = ("<|endoftext|>", "<|end_story|>")
SAMPLING = SamplingParams(temperature=0.6, top_p=0.9, max_tokens=250, stop=ENDS)
_MOST_CONTEXT = 1024


@dataclass(frozen=True, slots=True)
class Story:
    """What a model made of a prompt. ended: by itself, not because it was long enough."""

    prompt: str
    text: str
    tokens: int
    ended: bool

    @property
    def whole(self) -> str:
        return self.prompt + self.text


@dataclass(slots=True)
class _Told:
    text: str = ""
    tokens: int = 0
    ended: bool = False


class Subject:
    """name: in tables. Raises ModelUnavailable and its subclasses."""

    def __init__(self, name: str, directory: Path, options: EngineOptions) -> None:
        self.name, self.directory = name, directory
        config = ModelConfig.load(directory)
        weight_files(directory)
        self._model = OfflineModel(directory, ModelKind.COMPLETION, options)
        self.codec, self.engine = self._model.codec, self._model.engine
        self.parameters, self.vocab = parameters(config), config.vocab_size
        self._context = min(config.context_length, _MOST_CONTEXT, options.kv_tokens)
        self._device = "cuda" if self._model.runner.steps_ahead else "cpu"

    def begun(self, text: str) -> list[int]:
        """Tokens of a text that begins here: its first token is foreseen from one before it."""
        ids = self.codec.encode(text, add_special_tokens=True)
        if ids[:1] == self.codec.encode(text)[:1]:
            ids = [min(self.codec.eos_ids), *ids]
        return ids

    def loss(self, text: str) -> tuple[float, int]:
        """In nats, over all tokens of a text, and how many these are. Products are the fast ones:
        a text is read alone, so there is no company that could change what comes out."""
        runner, ids = self._model.runner, self.begun(text)
        assert isinstance(runner, ForwardRunner)
        products = kernels.products()
        kernels.use_products(replace(products, invariant=False))
        try:
            return text_loss(runner, ids, self._context, self._device), len(ids) - 1
        finally:
            kernels.use_products(products)

    def tell(self, prompts: Sequence[str], seed: int) -> list[Story]:
        """A continuation of each prompt, drawn with seed, seed + 1, … Raises EngineError."""
        told = {str(index): _Told() for index in range(len(prompts))}

        def collect(events: StepEvents) -> None:
            for name, event in events:
                if isinstance(event, EngineError):
                    raise event
                if isinstance(event, Delta):
                    told[name].text += event.text
                elif isinstance(event, Finished):
                    told[name].tokens = event.output_tokens
                    told[name].ended = event.reason == "stop"

        requests = [self._request(str(i), prompt, seed + i) for i, prompt in enumerate(prompts)]
        run_to_end(self.engine, requests, collect)
        return [
            Story(prompt, its.text, its.tokens, its.ended)
            for prompt, its in zip(prompts, told.values(), strict=True)
        ]

    def _request(self, name: str, prompt: str, seed: int) -> GenerateRequest:
        sampling = replace(SAMPLING, seed=seed)
        return GenerateRequest(name, self.name, tuple(self.begun(prompt)), sampling)
