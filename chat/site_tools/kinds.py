"""What a tool of the site is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

GROUP = "tinyllm.tools"
"""Of entry points: a class that is called without arguments and gives a `SiteTool`. The entry
point's name is the tool's."""


class SiteTool(Protocol):
    """description and parameters, a JSON schema of an object, are what the model reads. It is
    called in a process of its own with the arguments that the model wrote, which may be any."""

    description: str
    parameters: dict[str, Any]

    def __call__(self, **arguments: Any) -> str:
        """What the model reads of it. Whatever it raises, the model reads in its place."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a call gave. failed: `text` says why there is nothing."""

    text: str
    failed: bool = False
