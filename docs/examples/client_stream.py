"""Follow an answer word by word, with everything that happens before and after it.

python client_stream.py http://localhost:3000        (needs: pip install ./chat/client)
"""

import sys

from tinyllm_client import Client, End, Progress, Queued, Started, Text

with Client(sys.argv[1]) as client:
    session_id = None
    for event in client.stream("Name three rivers.", seed=7, max_tokens=60):
        match event:
            case Started():
                session_id = event.session_id
            case Queued(position):
                print(f"[{position} before us]")
            case Progress(done, total):
                print(f"[{done} of {total} tokens read]")
            case Text(text):
                print(text, end="", flush=True)
            case End():
                print(f"\n[{event.status}: {event.usage.output_tokens} tokens, seed {event.seed}]")
    assert session_id is not None

    answer = client.send("And one more.", session_id=session_id, max_tokens=30)
    print(answer.text)
    print("kept:", [message.role for message in client.messages(session_id)])
    client.delete_session(session_id)
