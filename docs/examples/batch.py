"""Many prompts through one engine: it reads and writes them together, and tells as each one ends.

PYTHONPATH=. python docs/examples/batch.py models/chat
"""

import sys
from pathlib import Path

from inference.engine import StepEvents
from inference.errors import EngineError
from inference.offline import OfflineModel, run_to_end
from inference.options import EngineOptions
from inference.types import Delta, Finished, GenerateRequest, ModelKind, SamplingParams

PROMPTS = ("Once upon a time", "The old house", "In the morning", "Nobody knew why")

model = OfflineModel(Path(sys.argv[1]), ModelKind.COMPLETION, EngineOptions(kv_tokens=2048))
sampling = SamplingParams(temperature=0.8, max_tokens=16, seed=1, ignore_eos=True)
requests = [
    GenerateRequest(text, "batch", tuple(model.codec.encode(text)), sampling) for text in PROMPTS
]
texts = dict.fromkeys(PROMPTS, "")


def on_step(events: StepEvents) -> None:
    for name, event in events:
        if isinstance(event, EngineError):
            print(f"{name}: {event.message}")
        elif isinstance(event, Delta):
            texts[name] += event.text
        elif isinstance(event, Finished):
            print(f"{name} …{texts[name]!r} ({event.output_tokens} tokens)")


run_to_end(model.engine, requests, on_step)
