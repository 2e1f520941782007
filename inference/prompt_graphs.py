"""Prompts as captured graphs: a forward pass for each of some lengths, padded up to it.

A small model's prompt costs its launches: hundreds of them from Python, while the GPU waits. A
graph costs the GPU's own time. Where that is the longer one, nothing is gained: there is no graph.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

import kernels
from inference.batch import ForwardBatch
from inference.graphs import captured, milliseconds
from inference.prompt_batch import PromptArrays, PromptTensors
from kernels import CacheLayer

_TOKENS = (16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
# The most pieces of prompts in a graph. More are rare, and then many tokens too.
_PROMPTS = 8

Forward = Callable[[ForwardBatch], torch.Tensor]


@dataclass(frozen=True, slots=True)
class _Graph:
    """A pass over `tokens` tokens in at most _PROMPTS pieces, in so many tiles of attention."""

    tokens: int
    tiles: int
    inputs: PromptTensors
    graph: torch.cuda.CUDAGraph
    logits: torch.Tensor
    ms: float


class PromptGraphs:
    """Runs prompts, by a graph or launch by launch."""

    def __init__(
        self, forward: Forward, query_heads: int, cache: CacheLayer, width: int, pool: object
    ) -> None:
        """width: the most blocks of one sequence. pool: the graphs' memory."""
        self._forward, self._heads, self._cache = forward, query_heads, cache
        self._width, self._pool, self._device = width, pool, cache.k.device
        self._graphs: list[_Graph] = []
        self._launch_ms = 0.0

    def logits(self, arrays: PromptArrays) -> torch.Tensor:
        """fp32[at least S, V]: after the last token of each piece. Read them before the next."""
        graph = self._graph_for(arrays)
        if graph is None:
            return self._forward(PromptTensors(arrays, self._device).batch())
        graph.inputs.write(arrays.padded(graph.tokens, _PROMPTS, self._width, graph.tiles))
        graph.graph.replay()
        return graph.logits

    def capturing(self, most_tokens: int) -> Iterator[None]:
        """Graphs for lengths up to the first one at which the GPU is the slower part, one each
        time."""
        self._launch_ms = self._measure_launches()
        for tokens in (size for size in _TOKENS if size <= most_tokens):
            self._graphs.append(self._captured(tokens))
            yield
            if self._graphs[-1].ms > self._launch_ms:
                return

    def _graph_for(self, arrays: PromptArrays) -> _Graph | None:
        """The smallest one that holds them, if it is worth its padding."""
        graph = next((g for g in self._graphs if g.tokens >= arrays.tokens), None)
        if graph is None or arrays.prompts > _PROMPTS:
            return None
        otherwise = max(self._launch_ms, graph.ms * arrays.tokens / graph.tokens)
        return graph if graph.ms <= otherwise else None

    def _captured(self, tokens: int) -> _Graph:
        tiles = len(kernels.prefill_tiles((0, tokens), 0, self._heads, self._cache)) + _PROMPTS
        empty = PromptArrays.empty().padded(tokens, _PROMPTS, self._width, tiles)
        inputs = PromptTensors(empty, self._device)
        graph, logits = captured(lambda: self._forward(inputs.batch()), self._pool)
        return _Graph(tokens, tiles, inputs, graph, logits, milliseconds(graph))

    def _measure_launches(self) -> float:
        """Milliseconds of a pass over hardly any tokens, once its kernels are compiled."""
        sizes = (_TOKENS[0], _PROMPTS, self._width, _PROMPTS)
        inputs = PromptTensors(PromptArrays.empty().padded(*sizes), self._device)
        for _ in range(3):
            start = time.perf_counter()
            self._forward(inputs.batch())
            torch.cuda.synchronize()
            taken = time.perf_counter() - start
        return 1e3 * taken
