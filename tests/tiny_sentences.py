"""A random encoder of a few thousand parameters, in the folder that sentence-transformers makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = (
    "Bread is baked in a hot oven until its crust is brown.",
    "The river runs through the valley to the sea.",
    "A violin has four strings, which are tuned in fifths.",
    "Trains leave from the station every hour. 火车每小时一班。",
)
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
    "pad_token_id": 0,
}
LENGTH = 64
CONFIGS = {
    "bert": transformers.BertConfig,
    "distilbert": transformers.DistilBertConfig,
    "mpnet": transformers.MPNetConfig,
    "xlm-roberta": transformers.XLMRobertaConfig,
}


def write_sentence_model(
    directory: Path, *, kind: str = "bert", pooling: str = "mean_tokens", normalizes: bool = True
) -> Path:
    tokenizer = _tokenizer(kind)
    # Saved with lengths, as many of them are: it has to be read without.
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=8)
    config = CONFIGS[kind](vocab_size=tokenizer.get_vocab_size(), **_sizes(kind))
    torch.manual_seed(3)
    transformers.AutoModel.from_config(config).save_pretrained(directory)
    tokenizer.save(str(directory / "tokenizer.json"))
    steps = ["Transformer", "Pooling", "Normalize"][: 2 + normalizes]
    write_json(directory / "modules.json", modules(*steps))
    (directory / "1_Pooling").mkdir()
    modes = dict.fromkeys(("cls_token", "mean_tokens", "max_tokens"), False) | {pooling: True}
    told = {f"pooling_mode_{mode}": on for mode, on in modes.items()}
    write_json(directory / "1_Pooling/config.json", {"word_embedding_dimension": 32, **told})
    write_json(directory / "sentence_bert_config.json", {"max_seq_length": LENGTH})
    return directory


def modules(*steps: str) -> list[dict[str, Any]]:
    return [
        {
            "idx": index,
            "name": str(index),
            "path": f"{index}_{step}" if index else "",
            "type": f"sentence_transformers.models.{step}",
        }
        for index, step in enumerate(steps)
    ]


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def peer_vectors(directory: Path, texts: list[str], *, pooling: str = "mean") -> torch.Tensor:
    """What transformers makes of one text after the other, in fp64, of length 1."""
    model = transformers.AutoModel.from_pretrained(str(directory), dtype=torch.float64).eval()
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    found = []
    with torch.no_grad():
        for text in texts:
            ids = torch.tensor([tokenizer.encode(text).ids])
            states = model(input_ids=ids).last_hidden_state[0]
            found.append(states[0] if pooling == "cls" else states.mean(0))
    return torch.nn.functional.normalize(torch.stack(found))


def _sizes(kind: str) -> dict[str, Any]:
    if kind == "distilbert":
        more = {"max_position_embeddings": SIZES["max_position_embeddings"], "pad_token_id": 0}
        return {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, **more}
    return SIZES if kind == "bert" else SIZES | {"pad_token_id": 1}


def _tokenizer(kind: str) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # Of RoBERTa's family the padding's id is 1, and positions count from there.
    marks = MARKS if kind in ("bert", "distilbert") else [MARKS[2], MARKS[0], *MARKS[3:], MARKS[1]]
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=marks, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", marks.index("[SEP]")), ("[CLS]", marks.index("[CLS]"))
    )
    return tokenizer
