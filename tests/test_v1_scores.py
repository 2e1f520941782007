"""Log probabilities and vectors in the clients that people have, against a started server; and the
evaluation harness of others, which finds what our own scoring says of the same data."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr

from inference.offline import OfflineModel
from inference.options import EngineOptions
from inference.scoring import log_probabilities
from inference.types import ModelKind
from tests.server_process import ROOT, ServerProcess
from tests.test_v1_clients import HELLO, client, server
from tests.tiny_llama import EOS_ID, SPECIAL_TOKENS, write_json

__all__ = ["client", "server"]
pytestmark = pytest.mark.real_engine

TASKS = Path(__file__).parent / "lm_eval_tasks"
LogLikelihood = Callable[[list[int], list[int]], float]


def test_log_probabilities(client: openai.OpenAI) -> None:
    """A stream's are those of the whole answer, and an echo's those of the answer it is made of."""
    asked: Any = {"model": "tiny", "messages": HELLO, "max_tokens": 6, "seed": 7}
    asked |= {"logprobs": True, "top_logprobs": 20}
    choice = client.chat.completions.create(**asked).choices[0]
    assert choice.logprobs is not None
    told = choice.logprobs.content
    assert told is not None
    text = b"".join(bytes(each.bytes or []) for each in told).decode(errors="replace")
    assert choice.message.content is not None
    assert text.startswith(choice.message.content.rstrip("\ufffd"))
    for each in told:
        values = [other.logprob for other in each.top_logprobs]
        assert (len(values), values) == (20, sorted(values, reverse=True))
        assert each.logprob <= values[0] < 0
    pieces = [chunk.choices[0] for chunk in client.chat.completions.create(**asked, stream=True)]
    streamed = [e for each in pieces if each.logprobs for e in each.logprobs.content or []]
    assert streamed == told

    with pytest.raises(openai.BadRequestError) as many:
        client.chat.completions.create(**{**asked, "top_logprobs": 21})
    assert many.value.param == "top_logprobs"


def test_an_echos_log_probabilities_are_those_of_writing_it(client: openai.OpenAI) -> None:
    """Each token is written once more, by a bias that its log probability knows nothing of."""
    text = "Once upon a time, 小猫"
    ids = client.post("/../tokenize", body={"model": "tale", "prompt": text}, cast_to=object)
    tokens: list[int] = ids["tokens"]  # type: ignore[index]
    asked: Any = {"model": "tale", "temperature": 0, "logprobs": 1}
    echo = client.completions.create(prompt=text, max_tokens=0, echo=True, **asked).choices[0]
    assert (echo.text, echo.finish_reason) == (text, "length")
    assert echo.logprobs is not None
    told = echo.logprobs.token_logprobs
    assert told is not None
    assert (told[0], len(told)) == (None, len(tokens))
    for place in (1, 5, len(tokens) - 1):
        forced: Any = {"logit_bias": {str(tokens[place]): 100}, "max_tokens": 1}
        answer = client.completions.create(prompt=tokens[:place], **forced, **asked).choices[0]
        assert answer.logprobs is not None
        assert answer.logprobs.token_logprobs == pytest.approx([told[place]], abs=1e-4)


def test_embeddings(client: openai.OpenAI, server: ServerProcess) -> None:
    """The client asks for base64; texts that say the same are the same, alone and among others."""
    texts = ["The cat sat on the mat.", "Hello!", "The cat sat on the mat."]
    answer = client.embeddings.create(model="tiny", input=texts)
    first, second, third = (each.embedding for each in answer.data)
    plain = client.embeddings.create(model="tiny", input=texts[1], encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(second, abs=1e-5)
    assert first == pytest.approx(third, abs=1e-5)
    assert first != pytest.approx(second, abs=1e-2)
    assert sum(number**2 for number in first) == pytest.approx(1, abs=1e-5)
    of_langchain = OpenAIEmbeddings(
        model="tiny",
        base_url=f"{server.url}/v1",
        api_key=SecretStr("none"),
        check_embedding_ctx_length=False,
    )
    assert of_langchain.embed_query(texts[1]) == pytest.approx(second, abs=1e-5)
    with pytest.raises(openai.BadRequestError) as empty:
        client.embeddings.create(model="tiny", input="")
    assert empty.value.param == "input[0]"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TASKS / name).read_text("utf-8").splitlines()]


def harness(server: ServerProcess, folder: Path, *tasks: str) -> dict[str, dict[str, float]]:
    """The results of each task."""
    model = {
        "model": "tiny",
        "base_url": f"{server.url}/v1/completions",
        "tokenizer": str(server.directory / "tiny"),
        "tokenizer_backend": "huggingface",
        "max_retries": "1",
    }
    arguments = ",".join(f"{name}={value}" for name, value in model.items())
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "local-completions"]
    command += ["--model_args", arguments, "--include_path", str(TASKS), "--tasks", *tasks]
    made = subprocess.run(
        [*command, "--output_path", str(folder / "report.json")],
        cwd=ROOT,
        env={
            **server.environment,
            "HF_HOME": str(folder),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    (report,) = folder.rglob("report*.json")
    results: dict[str, dict[str, float]] = json.loads(report.read_text())["results"]
    return results


def ours(directory: Path) -> tuple[Callable[[str], list[int]], LogLikelihood]:
    """Encoding, and the log likelihood of an end after a beginning."""
    options = EngineOptions(device="cpu", threads=1, kv_tokens=4096, deterministic=True)
    model = OfflineModel(directory, ModelKind.CHAT, options)

    def likelihood(begin: list[int], end: list[int]) -> float:
        return float(log_probabilities(model, begin, end).sum())

    return model.codec.encode, likelihood


def test_the_harness_finds_what_our_own_scoring_does(server: ServerProcess, tmp_path: Path) -> None:
    folder = server.directory / "tiny"
    config = json.loads((folder / "tokenizer_config.json").read_text())
    fast = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIAL_TOKENS[EOS_ID]}
    write_json(folder / "tokenizer_config.json", {**config, **fast})
    found = harness(server, tmp_path, "tinyllm_choice", "tinyllm_perplexity")

    encode, likelihood = ours(folder)
    right, right_by_length = 0, 0
    stories = rows("choice.jsonl")
    for story in stories:
        begin = encode(story["story"])
        wholes = [encode(f"{story['story']} {end}") for end in story["ends"]]
        assert all(whole[: len(begin)] == begin for whole in wholes)
        scores = [likelihood(begin, whole[len(begin) :]) for whole in wholes]
        by_length = [s / len(end) for s, end in zip(scores, story["ends"], strict=True)]
        right += scores[story["right"]] == max(scores)
        right_by_length += by_length[story["right"]] == max(by_length)
    assert found["tinyllm_choice"]["acc,none"] == right / len(stories)
    assert found["tinyllm_choice"]["acc_norm,none"] == right_by_length / len(stories)
    assert 0 < right < len(stories)

    texts = [row["text"] for row in rows("texts.jsonl")]
    total = sum(likelihood([EOS_ID], encode(text)) for text in texts)
    size = sum(len(text.encode()) for text in texts)
    words = sum(len(re.split(r"\s+", text)) for text in texts)
    perplexity = found["tinyllm_perplexity"]
    assert perplexity["byte_perplexity,none"] == pytest.approx(math.exp(-total / size), rel=1e-4)
    assert perplexity["word_perplexity,none"] == pytest.approx(math.exp(-total / words), rel=1e-3)
