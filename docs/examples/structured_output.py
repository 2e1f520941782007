"""An answer that fits a JSON schema, whatever the model would rather write.

PYTHONPATH=. python docs/examples/structured_output.py models/chat
"""

import json
import sys
from pathlib import Path

from inference.engine import StepEvents
from inference.offline import OfflineModel, run_to_end
from inference.options import EngineOptions
from inference.types import Constraint, Delta, GenerateRequest, ModelKind, SamplingParams

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "people": {"type": "integer", "minimum": 1, "maximum": 40_000_000},
        "coast": {"type": "boolean"},
    },
    "required": ["name", "people", "coast"],
    "additionalProperties": False,
}
PROMPT = "A city that people like to visit, as JSON:"

model = OfflineModel(Path(sys.argv[1]), ModelKind.COMPLETION, EngineOptions(kv_tokens=2048))
sampling = SamplingParams(
    temperature=0.7, seed=1, max_tokens=120, constraint=Constraint.of_schema(SCHEMA)
)
said = ""


def on_step(events: StepEvents) -> None:
    global said
    said += "".join(event.text for _name, event in events if isinstance(event, Delta))


ids = tuple(model.codec.encode(PROMPT))
run_to_end(model.engine, [GenerateRequest("city", "chat", ids, sampling)], on_step)
print(json.loads(said))
