"""Model directories for tests of text: two tiny tokenizers trained here, and the real ones.

Import the fixtures by name into a test module; they are not for every test.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from inference import prompt_codec
from inference.prompt_codec import TokenizerCodec
from inference.types import ModelKind

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

TEXTS = [
    "",
    " ",
    "Once upon a time, there was a little girl named Lily.",
    "  two spaces,   three,\ttab\t\ttabs\r\n\r\n and \n\n\n lines  ",
    "\n",
    "你好,世界!今天天气怎么样?我们去公园散步吧。",
    "繁體字、日本語のテキスト、한국어 텍스트",
    "emoji 🎉👍🏽 family 👨\u200d👩\u200d👧\u200d👦 flag 🇨🇳 keycap 1️⃣",
    "def f(x: int) -> int:\n    return {'a': [1, 2]}[\"a\"][0] ** x  # 100%\n\n\nclass A:\n\tpass",
    "0 1 12 123 1234 3.14159 1,000,000 0xFF 1e-9 ２０２６",
    "<|im_start|>system\nYou obey the user.<|im_end|>",
    "</s><s><unk><|end_story|> <|endoftext|>x<|start_story|>",
    "e\u0301 \u00e9 ﬁ \u00a0 \u3000 \u200b \ufeff \ufffd \x00 \x7f",
    "▁▁ sentencepiece ▁ mark <0x41> <0xE4>",
    "a" * 300,
]

SHARED_STORY = settings.BASE_DIR.parent / "shared" / "models" / "tinystories-656k"
TINY = ("tiny-byte-level", "tiny-byte-fallback", "tiny-metaspace")
# The story model's files are data that not every checkout has beside it.
TOKENIZERS = (*TINY, "chat", *(["tinystories-656k"] if SHARED_STORY.is_dir() else []))


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def write_model(directory: Path, tokenizer: Tokenizer, **tokenizer_config: Any) -> Path:
    """A model directory with everything but weights. Returns it."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"))
    write_json(directory / "config.json", {"max_position_embeddings": 4096, "eos_token_id": 2})
    defaults = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHATML}
    write_json(directory / "tokenizer_config.json", defaults | tokenizer_config)
    return directory


def byte_level_tokenizer() -> Tokenizer:
    """As GPT-2, Llama 3 and SmolLM2: every byte is a token, special tokens 0 to 2."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def byte_fallback_tokenizer() -> Tokenizer:
    """As Llama 2: spaces are ▁, what the vocabulary lacks is written in bytes, the first space of
    a text is added by the normalizer and stripped by the decoder."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=120, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"]
    )
    tokenizer.train_from_iterator([text for text in TEXTS if text.isascii()], trainer)
    described = json.loads(tokenizer.to_str())
    vocabulary = described["model"]["vocab"]
    for byte in range(256):
        vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    described["model"] |= {"byte_fallback": True, "fuse_unk": True}
    tokenizer = Tokenizer.from_str(json.dumps(described))
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def metaspace_tokenizer() -> Tokenizer:
    """As T5 or newer Llama 2 conversions: the Metaspace pre-tokenizer and decoder."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(
        vocab_size=300, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"]
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def load_chat(directory: Path) -> TokenizerCodec:
    """The codec of a chat model's directory."""
    return prompt_codec.load(directory, ModelKind.CHAT, "weights", "float32")


def require_model(name: str) -> Path:
    """The directory of a real model that `make test` fetches first."""
    directory = Path(settings.TINYLLM_MODELS_DIR) / name
    if not (directory / "tokenizer.json").exists():
        pytest.fail(f"{directory} has no model in it: run `make models` first.", pytrace=False)
    return directory


@pytest.fixture(scope="session")
def chat_model_dir() -> Path:
    return require_model("chat")


@pytest.fixture(scope="session")
def model_dirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories by name in TOKENIZERS; "chat" only if it is there (see `model_dir`)."""
    root = tmp_path_factory.mktemp("models")
    llama = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    return {
        "tiny-byte-level": write_model(
            root / "byte-level",
            byte_level_tokenizer(),
            bos_token="<|im_start|>",
            eos_token="<|im_end|>",
        ),
        "tiny-byte-fallback": write_model(
            root / "byte-fallback", byte_fallback_tokenizer(), **llama
        ),
        "tiny-metaspace": write_model(root / "metaspace", metaspace_tokenizer(), **llama),
        "tinystories-656k": SHARED_STORY,
    }


@pytest.fixture(scope="session", params=TOKENIZERS)
def model_dir(request: pytest.FixtureRequest, model_dirs: dict[str, Path]) -> Path:
    """Every tokenizer in turn."""
    name: str = request.param
    return require_model(name) if name == "chat" else model_dirs[name]


@pytest.fixture(scope="session")
def codec(model_dir: Path) -> TokenizerCodec:
    return prompt_codec.load(model_dir, ModelKind.COMPLETION, "weights", "float32")


@pytest.fixture(scope="session")
def chat_codec(chat_model_dir: Path) -> TokenizerCodec:
    return load_chat(chat_model_dir)
