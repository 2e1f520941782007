"""Small model files for tests: real formats, made-up content."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from inference.catalogue import Catalogue

CORPUS = (
    "Once upon a time, in 2024, there were 1,234 cats. They said: hello, hello!",
    "The cat sat on the mat; the cats sat on the mats. What a time it was.",
    "你好，世界。今天天气很好。 café naïve 😀👍🏽",
    "def f(x):\n    return x ** 2  # comment\n\n\tdone   ",
)

# A model with its own files, one stored in another precision, one that borrows.
CATALOGUE = """
[tiny]
title = "Tiny"
kind = "chat"
languages = ["en", "zh"]
license = "MIT"
download_mb = 1
default = true
defaults = { temperature = 0.5 }
sources = [{ type = "hub", repo = "someone/tiny" }]

[half]
title = "Half"
kind = "completion"
languages = ["en"]
license = "MIT"
download_mb = 1
dtype = "float16"
sources = [{ type = "hub", repo = "someone/half" }]

[tale]
title = "Tale"
kind = "completion"
languages = ["en"]
license = "MIT"
download_mb = 1
default = true
weights = "tiny"
"""


def load_catalogue(folder: Path, text: str = CATALOGUE) -> Catalogue:
    path = folder / "catalogue.toml"
    path.write_text(text)
    return Catalogue.load(path)


def weights(*, elements: int = 250_000, dtype: torch.dtype = torch.float32) -> bytes:
    """A safetensors file of a little more than a megabyte in float32, the same each time."""
    generator = torch.Generator().manual_seed(0)
    return save({"model.norm.weight": torch.randn(elements, generator=generator).to(dtype)})


def model_files(**more: bytes) -> dict[str, bytes]:
    """The files of a model whose weights redirect and whose others do not; `_` stands for `.`."""
    return {
        "config.json": json.dumps({"model_type": "llama", "torch_dtype": "float32"}).encode(),
        "tokenizer.json": b'{"version": "1.0"}\n',
        "model.safetensors": weights(),
        **more,
    }


def write_files(directory: Path, files: dict[str, bytes]) -> None:
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)


def small_tokenizer() -> Tokenizer:
    """Byte-level BPE that reads digits one by one, and three special tokens.

    Trained on CORPUS without that rule, so that it knows numbers which it must not use.
    """
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = byte_level
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*CORPUS, "42 " * 50], trainer)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, byte_level])
    return tokenizer


def random_text(seed: int) -> str:
    """Words of the corpus, digits, odd spaces and single characters, in any order."""
    rng = random.Random(seed)
    pieces: list[Any] = [*" ".join(CORPUS).split(), " ", "  ", "\n", "\t", "7", "42", "<|im_end|>"]
    pieces += list("".join(CORPUS))
    return "".join(rng.choices(pieces, k=60))
