"""The process that runs one tool once: `python -m chat.site_tools`, started by
`chat.site_tools.process`. In: JSON {name, arguments, path, most}. Out: JSON {text, failed}."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import entry_points
from typing import Any

from chat.site_tools.kinds import GROUP


def ran(name: str, arguments: dict[str, Any], most: int) -> dict[str, Any]:
    try:
        (point,) = entry_points(group=GROUP, name=name)
        text = point.load()()(**arguments)
    except Exception as error:  # whatever a stranger's code does
        return {"text": f"{type(error).__name__}: {error}"[:most], "failed": True}
    if not isinstance(text, str):
        return {"text": f"it gave {type(text).__name__}, not a text", "failed": True}
    if len(text) > most:
        told = f"what it gave has {len(text)} characters, and at most {most} are read"
        return {"text": told, "failed": True}
    return {"text": text, "failed": False}


def main() -> None:
    asked = json.load(sys.stdin)
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the tool prints belongs to the log
    sys.path[:] = asked["path"]
    print(json.dumps(ran(asked["name"], asked["arguments"], asked["most"])), file=answer)
    answer.flush()
    os._exit(0)  # threads that it left behind are not waited for


if __name__ == "__main__":
    main()
