"""Talks to a TinyLLM site, from a program or a notebook.

    from tinyllm_client import Client, Text

    with Client("http://localhost:3000") as client:
        for event in client.stream("Hello!"):
            if isinstance(event, Text):
                print(event.text, end="", flush=True)

`AsyncClient` has the same calls to be awaited. A stream goes on by itself where the connection is
lost: no token is missing, and none comes twice. It needs httpx and websockets, nothing of the site.
Its files import each other relatively, since the package is `chat.client` in the repository.
"""

from .asynchronous import AsyncClient
from .errors import AnswerFailed, ApiError, ConnectionLost, TinyLLMError
from .events import Answer, End, Event, Loading, Progress, Queued, Started, Text, Usage
from .shapes import Hit, Message, Page, Session
from .synchronous import Client

__all__ = [
    "Answer",
    "AnswerFailed",
    "ApiError",
    "AsyncClient",
    "Client",
    "ConnectionLost",
    "End",
    "Event",
    "Hit",
    "Loading",
    "Message",
    "Page",
    "Progress",
    "Queued",
    "Session",
    "Started",
    "Text",
    "TinyLLMError",
    "Usage",
]
