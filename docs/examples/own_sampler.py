"""A sampler of one's own: the runner gives the logits of the next token, the rest is up to you.

This one keeps tokens whose surprise is near what the model expects of any (locally typical
sampling, Meister et al., 2022).

PYTHONPATH=. python docs/examples/own_sampler.py models/chat
"""

import sys
from pathlib import Path

import numpy as np

from inference.offline import OfflineModel
from inference.options import EngineOptions
from inference.runner import Array
from inference.scheduler import Chunk
from inference.sequence import Sequence
from inference.types import GenerateRequest, ModelKind


def typical(logits: Array, mass: float, random: np.random.Generator) -> int:
    surprise = np.logaddexp.reduce(logits) - logits
    chances = np.exp(-surprise)
    order = np.argsort(np.abs(surprise - (chances * surprise).sum()))
    kept = order[: int(np.searchsorted(np.cumsum(chances[order]), mass)) + 1]
    return int(random.choice(kept, p=chances[kept] / chances[kept].sum()))


model = OfflineModel(Path(sys.argv[1]), ModelKind.COMPLETION, EngineOptions(kv_tokens=512))
prompt = model.codec.encode("Once upon a time")
most = len(prompt) + 20
sequence = Sequence(GenerateRequest("own", "", tuple(prompt)), most, 0, 0)
assert model.engine.cache.admit(sequence, most)
random = np.random.default_rng(1)
for _ in range(20):
    chunk = Chunk(sequence, sequence.pending)
    logits = model.runner.run((chunk,))[0].astype(np.float64)
    sequence.computed += chunk.length
    sequence.tokens.append(typical(logits, 0.9, random))
model.engine.cache.release(sequence)
print(model.codec.decode(sequence.tokens))
