"""A model on a GPU beside the fp32 reference, half layer by half layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.layer_check import checked
from inference.offline import OfflineModel
from inference.options import EngineOptions
from inference.types import ModelKind
from tests.tiny_llama import write_tiny_llama

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_healthy_model_agrees(tmp_path: Path, dtype: str) -> None:
    directory = write_tiny_llama(tmp_path / "tiny", layers=4)
    options = EngineOptions(device="cuda", kv_tokens=1024, max_batch=4, dtype=dtype)
    model = OfflineModel(directory, ModelKind.CHAT, options)
    parts = list(checked(model, directory, range(20, 60)))
    assert [part for part in parts if part.departs] == []
