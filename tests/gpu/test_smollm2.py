"""The real model on a GPU: in fp32 the CPU's tokens, in 16 bits no further off than torch."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM
from transformers.modeling_outputs import CausalLMOutput

from inference.batch import ForwardBatch
from inference.config import ModelConfig
from inference.cuda_runner import CudaRunner
from inference.engine import Engine
from inference.kv_cache import BLOCK_SIZE
from inference.options import EngineOptions
from inference.runner import ModelRunner
from inference.weights import Weights, stored_as
from kernels import AttentionBatch
from tests.company import NoText
from tests.gpu.test_engine import GREEDY, request, run
from tests.reference_model import assert_same, reference
from tests.test_parity import CHAT, PROMPTS, TOKENS

pytestmark = [pytest.mark.gpu, pytest.mark.real_engine]

DEVICE = "cuda"
REPORTED = 128


class Model:
    """The chat model on a device. Called, it answers as transformers' model does."""

    def __init__(self, device: str, dtype: str) -> None:
        options = EngineOptions(dtype=dtype, kv_tokens=2048)
        self._device = torch.device(device)
        self._runner: ModelRunner | CudaRunner
        if device == "cpu":
            self._runner = ModelRunner(CHAT, options)
        else:
            weights = Weights(CHAT, stored_as(dtype))
            self._runner = CudaRunner(ModelConfig.load(CHAT), weights, options)
        self._runner.warm_up()
        self._engine = Engine(self._runner, NoText(), options)  # type: ignore[arg-type]

    def answers(self, prompts: list[list[int]], count: int) -> list[list[int]]:
        """Greedy tokens of the engine, all prompts at once."""
        sampling = replace(GREEDY, max_tokens=count)
        return run(self._engine, [request(prompt, sampling) for prompt in prompts])

    def greedy(self, prompt: list[int], count: int) -> tuple[list[int], torch.Tensor]:
        """See `tests.reference_model.Ours`."""
        (tokens,) = self.answers([prompt], count)
        return tokens, self.logits(prompt + tokens)[len(prompt) - 1 : -1]

    @torch.inference_mode()
    def logits(self, ids: list[int]) -> torch.Tensor:
        """After each token, fp32[len(ids), V], in one pass from the beginning of the cache."""
        count, where = len(ids), torch.arange(len(ids), device=self._device)
        blocks = torch.arange(-(-count // BLOCK_SIZE), dtype=torch.int32, device=self._device)
        lengths = torch.tensor([count], dtype=torch.int32, device=self._device)
        attention = AttentionBatch(blocks[None], lengths, (0, count), 0)
        tokens = torch.tensor(ids, device=self._device)
        batch = ForwardBatch(tokens, where, where, attention, None)
        return self._runner._architecture.forward(batch, self._runner._caches).cpu()

    def __call__(self, ids: torch.Tensor) -> CausalLMOutput:
        return CausalLMOutput(logits=self.logits(ids[0].tolist())[None])


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(CHAT / "tokenizer.json"))
    return [tokenizer.encode(text).ids for text in PROMPTS[CHAT]]


@pytest.fixture(scope="module")
def on_cpu() -> Model:
    return Model("cpu", "float32")


@pytest.fixture(scope="module")
def on_gpu() -> Model:
    assert torch.get_float32_matmul_precision() == "highest", "TF32 must be off"
    return Model(DEVICE, "float32")


@pytest.mark.parametrize("number", range(len(PROMPTS[CHAT])))
def test_in_fp32_greedy_tokens_are_the_cpus(
    on_gpu: Model,
    on_cpu: Model,
    prompts: list[list[int]],
    number: int,
    record_property: Callable[[str, object], None],
) -> None:
    close_calls = assert_same(on_gpu, on_cpu, prompts[number], TOKENS)  # type: ignore[arg-type]
    record_property("close calls", close_calls)


@torch.inference_mode()
def torchs_logits(model: LlamaForCausalLM, ids: list[int]) -> torch.Tensor:
    logits: torch.Tensor = model(torch.tensor([ids], device=model.device)).logits[0]
    return logits.cpu().double()


def same_at_first(ones: list[int], others: list[int]) -> int:
    """How many tokens are the same, up to the first that is another one."""
    return sum(itertools.takewhile(bool, map(operator.eq, ones, others)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_in_16_bits_logits_are_within_twice_torchs_own_error(
    dtype: str,
    on_gpu: Model,
    prompts: list[list[int]],
    record_property: Callable[[str, object], None],
) -> None:
    """Both against the same rounded weights in float64: rms over all positions of a text."""
    ours, model = Model(DEVICE, dtype), reference(CHAT, getattr(torch, dtype))
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(0, model.config.vocab_size, (200,), generator=generator).tolist()
    torchs = torchs_logits(model.to(DEVICE), ids)
    exact = torchs_logits(model.cpu().double(), ids)
    our_error = (ours.logits(ids).double() - exact).pow(2).mean().sqrt()
    torch_error = (torchs - exact).pow(2).mean().sqrt()
    record_property("rms error, ours and torch's", (float(our_error), float(torch_error)))
    answers = zip(ours.answers(prompts, REPORTED), on_gpu.answers(prompts, REPORTED), strict=True)
    record_property("tokens as in fp32", [same_at_first(*pair) for pair in answers])
    assert our_error <= 2 * torch_error, f"ours {our_error:.2e}, torch {torch_error:.2e}"
