"""One model, one prompt, no server.

PYTHONPATH=. python docs/examples/load_and_generate.py models/chat
"""

import sys
from pathlib import Path

from inference.offline import OfflineModel
from inference.options import EngineOptions
from inference.types import ModelKind, SamplingParams

model = OfflineModel(Path(sys.argv[1]), ModelKind.CHAT, EngineOptions(kv_tokens=1024))
messages = [{"role": "user", "content": "What is the capital of France?"}]
prompt = model.codec.encode(model.codec.render(messages, add_generation_prompt=True))

answer = model.generate(
    prompt,
    SamplingParams(temperature=0.2, max_tokens=20, seed=1),
    on_text=lambda text: print(text, end="", flush=True),
)
timings = answer.finished.timings
print(f"\n[{answer.finished.reason}: {len(answer.token_ids)} tokens in {timings.decode_s:.2f} s]")
