"""The learning page: its steps, the source files that they point to, and what it asks of the
engine. The numbers themselves are checked in test_traces."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import AsyncClient, Client

from chat.learn.steps import STEPS
from inference.examination import MAX_TRACED, TraceRequest
from tests.fake_engine import FakeEngine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]


async def post(**body: Any) -> tuple[int, Any]:
    client = AsyncClient()
    answer = await client.post("/api/learn/trace", json.dumps(body), "application/json")
    return answer.status_code, answer.json()


async def test_a_text_is_traced_with_the_values_of_the_page(site: FakeEngine) -> None:
    status, told = await post(input="Zë", layer=2, head=1, top_k=5, temperature=0.5, seed=9)
    assert status == 200
    (question,) = site.questions
    assert isinstance(question, TraceRequest)
    assert (question.ids, question.layer, question.head) == (tuple("Zë".encode()), 2, 1)
    assert (question.sampling.top_k, question.sampling.temperature) == (5, 0.5)
    assert question.sampling.seed == 9
    assert told["ids"] == [*"Zë".encode()]
    assert told["texts"] == {"90": "Z", "195": "⟨C3⟩", "171": "⟨AB⟩", "100": "d"}
    assert told["layer"]["before"][0] == 0.33333
    assert (told["token"], told["ends"], told["limit"]) == (ord("d"), False, MAX_TRACED)


async def test_the_next_token_is_appended_by_its_id(site: FakeEngine) -> None:
    status, told = await post(input="ignored", ids=[90, 100])
    assert (status, told["ids"], told["text"]) == (200, [90, 100], "Zd")
    (question,) = site.questions
    assert isinstance(question, TraceRequest)
    assert question.ids == (90, 100)


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"input": "  "}, 400, "input"),
        ({"input": "a" * 65}, 400, "input"),
        ({"input": "a" * 1001}, 400, "input"),
        ({"input": "\ud800"}, 400, "input"),
        ({"ids": [1] * 65}, 400, "input"),
        ({"input": "a", "temperature": 3}, 400, "temperature"),
        ({"input": "a", "layer": -1}, 400, "layer"),
        ({"input": "a", "layer": "first"}, 400, "layer"),
        ({"input": "a", "seed": -1}, 400, "seed"),
        ({"input": "a", "model": "nothing"}, 404, None),
    ],
)
async def test_what_cannot_be_traced_is_refused(
    site: FakeEngine, body: dict[str, Any], status: int, param: str | None
) -> None:
    got, told = await post(**body)
    assert (got, told["error"]["param"]) == (status, param)
    assert site.questions == []


def test_the_page_shows_every_step_and_the_story_model_first(fake_engine: FakeEngine) -> None:
    page = Client().get("/learn/").content.decode()
    assert [page.count(f'data-step="{step.name}"') for step in STEPS] == [1] * len(STEPS)
    assert page.index('value="story"') < page.index('value="chat"')
    assert 'value="absent"' not in page


def test_every_source_that_a_step_points_to_is_shown(fake_engine: FakeEngine) -> None:
    for step in STEPS:
        page = Client().get(f"/learn/source/{step.source}")
        assert page.status_code == 200
        assert b'<span class="k">from</span>' in page.content or b"import" in page.content
    for other in ("tinyllm_site/settings.py", "../../etc/passwd", "inference/../manage.py"):
        assert Client().get(f"/learn/source/{other}").status_code == 404


def test_the_page_is_for_who_signed_in(fake_engine: FakeEngine, settings: Any) -> None:
    settings.TINYLLM_LOCAL, settings.SECURE_SSL_REDIRECT = False, False
    for path in ("/learn/", "/learn/source/inference/sampler.py"):
        assert Client().get(path).status_code == 302
