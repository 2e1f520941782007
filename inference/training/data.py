"""What a run is given becomes tokens: shards as they are, texts by way of a tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from inference.training.encoding import encode_files
from inference.training.errors import TrainingError
from inference.training.shards import ShardWriter, TokenData, is_shards, load_shards, shard_parts
from inference.training.texts import has_conversations, text_files
from inference.training.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer

Say = Callable[[str], None]


def token_folders(
    inputs: Sequence[Path], tokenizer: Path, *, vocab: int, cache: Path, say: Say, cut: float = 0.0
) -> list[Path]:
    """Folders of token shards for inputs of any kind. Where `tokenizer` is no folder of one yet,
    it is taken from the shards, or trained on the texts and saved there. Raises TrainingError."""
    shards = [path for path in inputs if is_shards(path)]
    texts = [path for path in inputs if not is_shards(path)]
    if not texts:
        return shards
    files = text_files(texts)
    if not (tokenizer / "tokenizer.json").is_file():
        if shards:
            tokenizer = shards[0]
        else:
            say(f"Training a tokenizer of {vocab:,} tokens")
            learned = train_tokenizer(files, vocab)
            save_tokenizer(learned, tokenizer, chat=has_conversations(files))
    load_tokenizer(tokenizer)
    say(f"Encoding {len(files)} files")
    return [*shards, *encode_files(files, tokenizer, cache, cut)]


def write_shards(folders: Sequence[Path], directory: Path) -> TokenData:
    """The token shards of several folders as one folder that can travel. Raises TrainingError."""
    if is_shards(directory):
        raise TrainingError(f"{directory} holds token shards already: name another folder.")
    writer = ShardWriter(directory, folders[0], load_shards(folders).vocab)
    for folder in folders:
        for shard, (tokens, learned) in shard_parts(folder):
            key = (shard.split, shard.source, shard.language)
            counts = (shard.documents, shard.characters, shard.bytes)
            writer.add(key, tokens, learned, counts=counts)
    writer.close()
    return load_shards([directory])
