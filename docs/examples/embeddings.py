"""Which sentences are nearest to a question: vectors of a running site, compared by their angles.

python embeddings.py http://localhost:3000 [model]         (needs: pip install openai)

Without a model's name it is the site's first sentence model, else the vectors of `chat`.
"""

import math
import sys

import openai

QUESTION = "How hot does an oven have to be?"
SENTENCES = (
    "Bread bakes at 230 degrees for half an hour.",
    "The night train to the coast leaves at nine.",
    "A cake wants a gentler heat than a pizza.",
    "Violins are tuned in fifths.",
)


def cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / (math.hypot(*one) * math.hypot(*other))


def main(url: str, model: str = "") -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    kinds = {each.id: getattr(each, "kind", "") for each in client.models.list()}
    model = model or next((name for name in kinds if kinds[name] == "embedding"), "chat")
    answer = client.embeddings.create(model=model, input=[QUESTION, *SENTENCES])
    question, *vectors = [each.embedding for each in answer.data]
    print(f"{QUESTION} ({model}, {len(question)} numbers)")
    pairs = zip(SENTENCES, vectors, strict=True)
    near = sorted(((cosine(question, vector), text) for text, vector in pairs), reverse=True)
    for likeness, text in near:
        print(f"{likeness:6.3f}  {text}")


main(*sys.argv[1:])
