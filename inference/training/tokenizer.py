"""A tokenizer of our own: byte-level BPE, so that any text can be written and none is lost.

A text begins with <|endoftext|>, by the file's own post-processor, as it does in training. The
two other special tokens are there for models that learn to chat.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from inference.training.errors import TrainingError, writing
from inference.training.texts import END_OF_TEXT, documents, text_files

SPECIAL_TOKENS = (END_OF_TEXT, "<|im_start|>", "<|im_end|>")
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
CHAT_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SMALLEST = len(SPECIAL_TOKENS) + 256


def train_tokenizer(inputs: Iterable[Path], vocab: int) -> Tokenizer:
    """From the training texts of the files. Raises TrainingError."""
    if vocab < _SMALLEST:
        raise TrainingError(f"vocab = {vocab}: the bytes and special tokens are {_SMALLEST}.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        show_progress=False,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(_training_texts(text_files(inputs)), trainer)
    first = tokenizer.token_to_id(END_OF_TEXT)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END_OF_TEXT} $A", special_tokens=[(END_OF_TEXT, first)]
    )
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, directory: Path, *, chat: bool = False) -> None:
    """tokenizer.json, tokenizer_config.json and generation_config.json, as the engine reads them.
    chat: an answer ends with <|im_end|>, and there is a chat template. Raises TrainingError."""
    end = "<|im_end|>" if chat else END_OF_TEXT
    described = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": end,
        "clean_up_tokenization_spaces": False,
    } | ({"chat_template": CHAT_TEMPLATE} if chat else {})
    ids = {
        "bos_token_id": tokenizer.token_to_id(END_OF_TEXT),
        "eos_token_id": tokenizer.token_to_id(end),
    }
    with writing(directory):
        directory.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(directory / "tokenizer.json"))
        write_json(directory / "tokenizer_config.json", described)
        write_json(directory / "generation_config.json", ids)


def load_tokenizer(directory: Path) -> Tokenizer:
    """Raises TrainingError."""
    path = directory / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises a bare one for whatever does not parse
        raise TrainingError(f"{path} is no tokenizer: {error}.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def end_of_text(tokenizer: Tokenizer) -> int:
    """Its id. Raises TrainingError where the tokenizer has none."""
    found = tokenizer.token_to_id(END_OF_TEXT)
    if found is None:
        raise TrainingError(f"The tokenizer has no {END_OF_TEXT}.")
    return int(found)


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _training_texts(files: Iterable[Path]) -> Iterator[str]:
    for path in files:
        for document in documents(path):
            if document.split == "train":
                yield document.text
                yield from (message["content"] for message in document.messages)
