"""An encoder that runs: token ids go in, one vector of each text comes out. On the CPU, in fp32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.nn.functional import normalize

from inference.errors import ModelInvalid
from inference.sentence_layout import SentenceLayout


class SentenceEncoder:
    def __init__(self, directory: Path, layout: SentenceLayout) -> None:
        """Raises ModelInvalid."""
        self._layout = layout
        try:
            self._model = _loaded(directory.absolute())
        except ModelInvalid:
            raise
        except Exception as error:  # transformers and its files fail in a dozen ways
            raise ModelInvalid(
                f"{directory} cannot be loaded ({error}).", path=str(directory)
            ) from error

    @torch.inference_mode()
    def vectors(self, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        """[text, number] in fp32. Texts are padded to the longest one, which is not seen."""
        longest = max(map(len, texts))
        ids = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts])
        lengths = torch.tensor([len(text) for text in texts])
        mask = (torch.arange(longest) < lengths[:, None]).long()
        # positions are counted by what is not padding
        ids = ids.masked_fill(mask == 0, self._model.config.pad_token_id or 0)
        states: torch.Tensor = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        if self._layout.pooling == "cls":
            pooled = states[:, 0]
        else:
            pooled = (states * mask[:, :, None]).sum(1) / lengths[:, None]
        return normalize(pooled) if self._layout.normalizes else pooled


def _loaded(directory: Path) -> Any:
    """Nothing is fetched, and no code of the model's folder is run. Raises ModelInvalid."""
    transformers.utils.logging.disable_progress_bar()
    model, found = transformers.AutoModel.from_pretrained(
        str(directory),
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        dtype=torch.float32,
        output_loading_info=True,
    )
    # What is missing would be drawn at random. The pooler is not asked.
    missing = sorted(name for name in found["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ModelInvalid(
            f"{directory} lacks {', '.join(missing[:3])}{' and more' if len(missing) > 3 else ''}.",
            path=str(directory),
        )
    return model.eval()
