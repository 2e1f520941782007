"""Three conversations at once: the engine computes their answers together.

python client_async.py http://localhost:3000         (needs: pip install ./chat/client)
"""

import asyncio
import sys

from tinyllm_client import ApiError, AsyncClient, Text

QUESTIONS = ("What is a river?", "What is a lake?", "What is a sea?")


async def ask(client: AsyncClient, question: str) -> str:
    events = client.stream(question, max_tokens=40)
    return "".join([event.text async for event in events if isinstance(event, Text)])


async def main(url: str) -> None:
    async with AsyncClient(url) as client:
        for answer in await asyncio.gather(*(ask(client, each) for each in QUESTIONS)):
            print("-", answer)
        try:
            await client.send("Hello", model="no-such-model")
        except ApiError as error:
            print(f"{error.code}: {error}")


asyncio.run(main(sys.argv[1]))
