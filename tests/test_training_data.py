"""Texts, tokenizer and token shards: what is read, what is refused, what is kept."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from inference import prompt_codec
from inference.training import encoding
from inference.training.cuts import pieces
from inference.training.data import token_folders, write_shards
from inference.training.encoding import encode_files, encode_into
from inference.training.errors import TrainingError
from inference.training.shards import load_shards
from inference.training.texts import documents, text_files
from inference.training.tokenizer import load_tokenizer, save_tokenizer, train_tokenizer
from tests.training_runs import short_stories

CONVERSATION = [
    {"role": "user", "content": "a question"},
    {"role": "assistant", "content": "an answer"},
    {"role": "user", "content": "more"},
    {"role": "assistant", "content": "again"},
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder as `manage.py corpus` writes it, of two sources."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    texts = short_stories(120)
    rows = [
        {"text": text, "source": "zh" if i % 4 == 0 else "en", "language": "en", "id": str(i)}
        for i, text in enumerate(texts)
    ]
    rows[0]["text"] = "从前有一只小猫。小猫很高兴。" * 3
    for name, part in {"s-train-00": rows[:80], "s-heldout-00": rows[80:]}.items():
        lines = "".join(json.dumps(row) + "\n" for row in part)
        (folder / f"{name}.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (folder / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def tokenizer(corpus: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "tokenizer"
    save_tokenizer(train_tokenizer([corpus], 320), directory, chat=True)
    return directory


def test_words_are_cut_in_training_texts_alone_and_nothing_is_lost(
    corpus: Path, tokenizer: Path
) -> None:
    whole, cut = corpus / "whole", corpus / "cut"
    encode_into(whole, text_files([corpus]), tokenizer)
    encode_into(cut, text_files([corpus]), tokenizer, 0.5)
    first, second = load_shards([whole]), load_shards([cut])
    decoder = load_tokenizer(tokenizer)
    assert second.tokens.size > 1.05 * first.tokens.size
    assert decoder.decode(list(second.tokens)) == decoder.decode(list(first.tokens))
    for name, held in first.heldout.items():
        assert np.array_equal(held.tokens, second.heldout[name].tokens)
    encode_into(cut, text_files([corpus]), tokenizer, 0.5)
    assert np.array_equal(load_shards([cut]).tokens, second.tokens)


@pytest.mark.parametrize("text", ["", "a", "Gwendolyn's café, 小猫和小狗。", "\ud800 broken"])
def test_pieces_are_the_text(text: str) -> None:
    assert pieces(text, 0) == [text]
    for share in (0.3, 1.0):
        assert "".join(pieces(text, share)) == text
    assert len(pieces("one two three", 1.0)) == 4


def test_a_corpus_becomes_tokens_and_comes_back(corpus: Path, tokenizer: Path) -> None:
    encode_into(corpus / "shards", text_files([corpus]), tokenizer)
    data = load_shards([corpus / "shards"])
    decoder, end = load_tokenizer(tokenizer), 0
    stream = [list(part) for part in np.split(data.tokens, np.flatnonzero(data.tokens == end))[1:]]
    texts = {decoder.decode(list(map(int, part[1:]))) for part in stream}
    assert texts == {
        d.text for path in text_files([corpus]) for d in documents(path) if d.split == "train"
    }
    assert sorted(data.heldout) == ["en-en", "zh-en"]
    assert sum(shard.documents for shard in data.shards) == 120
    held = sum(len(t.encode()) for t in short_stories(120)[80:])
    assert sum(h.bytes for h in data.heldout.values()) == held


def test_a_file_is_encoded_once(
    corpus: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, files = tmp_path / "cache", text_files([corpus])
    first = encode_files(files, tokenizer, cache)
    done: list[Path] = []
    real = encoding.encode_into

    def noted(directory: Path, these: Sequence[Path], by: Path, cut: float) -> None:
        done.extend(these)
        real(directory, these, by, cut)

    monkeypatch.setattr(encoding, "encode_into", noted)
    assert encode_files(files, tokenizer, cache) == first
    assert done == []
    path = tmp_path / "more.txt"
    path.write_text("a new text")
    encode_files([*files, path], tokenizer, cache)
    assert done == [path]


def test_processes_encode_what_one_does(
    corpus: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = text_files([corpus])
    monkeypatch.setattr(encoding, "WORTH_PROCESSES", 0)
    monkeypatch.setattr(encoding, "encode_into", None)  # of this process: it is not called
    together = load_shards(encode_files(files, tokenizer, tmp_path / "cache"))
    encode_into(tmp_path / "alone", files, tokenizer)
    alone = load_shards([tmp_path / "alone"])
    assert np.array_equal(np.sort(together.tokens), np.sort(alone.tokens))
    assert together.heldout.keys() == alone.heldout.keys()


def test_shards_can_travel(
    corpus: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    folders = token_folders([corpus], tokenizer, vocab=0, cache=cache, say=lambda _: None)
    monkeypatch.setattr("inference.training.shards.SHARD_TOKENS", 1000)
    data = write_shards(folders, tmp_path / "shards")
    files = sorted((tmp_path / "shards").glob("*.npy"))
    assert len(files) > 3
    assert all(path.stat().st_size <= 2000 + 128 for path in files)
    assert np.array_equal(np.sort(data.tokens), np.sort(load_shards(folders).tokens))
    assert (tmp_path / "shards/tokenizer.json").exists()

    with pytest.raises(TrainingError, match="holds token shards already"):
        write_shards(folders, tmp_path / "shards")
    broken = bytearray(files[0].read_bytes())
    broken[-1] ^= 1
    files[0].write_bytes(broken)
    with pytest.raises(TrainingError, match=f"{files[0].name} is damaged"):
        load_shards([tmp_path / "shards"])
    files[0].unlink()
    with pytest.raises(TrainingError, match=f"{files[0].name} cannot be read"):
        load_shards([tmp_path / "shards"])


def test_only_answers_are_learned(tokenizer: Path, tmp_path: Path) -> None:
    path = tmp_path / "talk-train-0.jsonl"
    path.write_text(json.dumps({"messages": CONVERSATION}) + "\n")
    encode_into(tmp_path / "shards", [path], tokenizer)
    data = load_shards([tmp_path / "shards"])
    assert data.learned is not None
    decoder = load_tokenizer(tokenizer)

    def text(mask: np.ndarray) -> str:
        return decoder.decode(list(map(int, data.tokens[mask])), skip_special_tokens=False)

    assert text(data.learned) == "an answer<|im_end|>again<|im_end|>"
    codec = prompt_codec.chat_template(tokenizer)
    assert text(data.learned | True) == codec.render(CONVERSATION, add_generation_prompt=False)


def test_a_tokenizer_is_learned_once_for_new_texts(corpus: Path, tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        token_folders([corpus], tmp_path / "t", vocab=300, cache=tmp_path / "c", say=said.append)
    assert said == ["Training a tokenizer of 300 tokens", "Encoding 2 files", "Encoding 2 files"]
    ids = load_tokenizer(tmp_path / "t").encode("Lily", add_special_tokens=True).ids
    assert ids[0] == 0


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.txt", b"", "holds no text"),
        ("a.txt", b" \n<|endoftext|>\n ", "holds no text"),
        ("a.txt", b"\x7fELF\x00\x01", "is binary, not text .byte 4 is zero"),
        ("a.txt", b"caf\xe9", "is not UTF-8 text .byte 3"),
        ("a.jsonl", b"\n", "holds no text"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "line 2 is not JSON"),
        ("a.jsonl", b'{"text": "x"}\n["x"]\n', "line 2 must be"),
        ("a.jsonl", b'{"messages": [{"role": "user"}]}', "line 1 must be"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}', mtime=0)[:-9], "cannot be read"),
        ("a.jsonl.gz", b'{"text": "x"}', "cannot be read"),
    ],
)
def test_a_file_that_is_no_text_is_refused(
    tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TrainingError, match=complaint) as caught:
        list(documents(tmp_path / name))
    assert name in str(caught.value)


def test_a_corpus_may_hold_out_nothing_of_few_stories(corpus: Path, tmp_path: Path) -> None:
    (corpus / "s-heldout-01.jsonl.gz").write_bytes(gzip.compress(b""))
    assert list(documents(corpus / "s-heldout-01.jsonl.gz")) == []
    save_tokenizer(train_tokenizer([corpus], 320), tmp_path / "tokenizer", chat=True)


def test_inputs_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nowhere does not exist"):
        text_files([tmp_path / "nowhere"])
    with pytest.raises(TrainingError, match=r"holds no .txt"):
        text_files([tmp_path])


def test_other_texts_are_held_out_by_their_content(tmp_path: Path) -> None:
    path = tmp_path / "many.txt"
    path.write_text("<|endoftext|>".join(short_stories(500)))
    splits = {document.text: document.split for document in documents(path)}
    assert 2 <= list(splits.values()).count("heldout") <= 25
    path.write_text("<|endoftext|>".join(reversed(short_stories(500))))
    assert {document.text: document.split for document in documents(path)} == splits
    path.write_text("word " * 100)
    assert [document.split for document in documents(path)] == ["train", "heldout"]
