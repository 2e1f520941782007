"""The protocol without a client package: docs/protocol.md, and docs/protocol.schema.json.

python websocket_by_hand.py http://localhost:3000    (needs: pip install websockets)
"""

import json
import sys
import uuid

from websockets.sync.client import connect

url = sys.argv[1].replace("http", "ws", 1) + "/ws/chat/"
submit = {
    "v": 1,
    "type": "turn.submit",
    "client_id": uuid.uuid4().hex,  # sent again under this name, it is not said twice
    "session_id": None,
    "parent_id": None,
    "text": "Name three rivers.",
    "model": "chat",
    "sampling": {"max_tokens": 40},
}
seen = 0  # the last number: {"type": "session.open", "session_id": …, "after": seen} goes on there
with connect(url) as socket:
    socket.send(json.dumps(submit))
    for message in socket:
        frame = json.loads(message)
        seen = frame.get("seq", seen)
        if frame["type"] == "error":
            sys.exit(f"{frame['code']}: {frame['message']}")
        if frame["type"] == "message.delta":
            print(frame["text"], end="", flush=True)
        if frame["type"] == "message.end":
            print(f"\n[{frame['status']}, {frame['usage']['output_tokens']} tokens, event {seen}]")
            break
