"""/healthz, /readyz, /version and /metrics: what they say while things happen."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import AsyncClient
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from chat import engine, operator_key
from chat.accounts import tokens
from chat.accounts.tokens import Scope
from chat.database import in_database
from chat.generation import turns
from chat.identity import local_user
from chat.models import User
from chat.monitoring.registry import TOKEN_S, TokenHistogram
from chat.submission import Submission
from inference.errors import RequestFailed
from inference.latencies import BOUNDS, Latencies
from inference.types import EngineStatus, GenerateRequest, ModelStatus, Totals
from tests.fake_engine import FakeEngine
from tests.v1_client import arrived, chat

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

Samples = dict[tuple[str, str], float]


async def scraped() -> Samples:
    """Value by name and the label that is not the model's."""
    answer = await AsyncClient().get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    return {
        (
            sample.name,
            sample.labels.get("finished_reason", sample.labels.get("le", "")),
        ): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
        if sample.labels.get("model_name", "chat") == "chat"
    }


def grown(before: Samples, after: Samples, name: str, label: str = "") -> float:
    return after[f"tinyllm_{name}", label] - before.get((f"tinyllm_{name}", label), 0)


async def test_alive_ready_and_which(site: FakeEngine) -> None:
    client = AsyncClient()
    for path in ("/healthz", "/readyz", "/health"):
        assert (await client.get(path)).json() == {"status": "ok"}
    found = (await client.get("/version")).json()["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", found)
    assert (await client.post("/healthz")).status_code == 405


async def test_not_ready_while_loading_without_an_engine_and_at_the_end(
    site: FakeEngine, monkeypatch: Any
) -> None:
    client = AsyncClient()

    async def loading() -> EngineStatus:
        return EngineStatus((ModelStatus(("chat",), "loading", "cpu", 7),), 9)

    monkeypatch.setattr(site, "status", loading)
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"status": "loading"})
    assert answer["Retry-After"] == "5"
    engine.install(None)
    for path in ("/readyz", "/health"):
        assert (await client.get(path)).json() == {"status": "engine_stopped"}
    await turns().drain(grace_s=0)
    assert (await client.get("/readyz")).json() == {"status": "shutting_down"}
    assert (await client.get("/healthz")).status_code == 200
    turns.cache_clear()


async def test_answers_are_counted(site: FakeEngine) -> None:
    before = await scraped()
    await chat()
    owner = await in_database(lambda: local_user().id)
    turn = await turns().submit(owner_id=owner, submission=Submission(text="Hi", model="chat"))
    assert turn.live is not None
    await turn.live.wait_end()
    after = await scraped()
    prompts = sum(len(request.prompt_ids) for request in site.requests)
    assert grown(before, after, "prompt_tokens_total") == prompts
    assert grown(before, after, "prefix_cache_queries_total") == prompts
    assert grown(before, after, "prefix_cache_hits_total") == 0
    tokens = len("You said: Hello") + len("You said: Hi") + 2
    assert grown(before, after, "generation_tokens_total") == tokens
    assert grown(before, after, "request_success_total", "stop") == 2
    for name in (
        "time_to_first_token_seconds", "e2e_request_latency_seconds", "request_queue_time_seconds",
    ):  # fmt: skip
        assert grown(before, after, f"{name}_count") == 2
    first_words = 2 * len("You ")
    assert grown(before, after, "inter_token_latency_seconds_count") == tokens - first_words


async def test_buckets_and_the_engines_own_numbers(site: FakeEngine, monkeypatch: Any) -> None:
    async def busy() -> EngineStatus:
        model = ModelStatus(
            ("chat", "story"), "ready", "cpu", 7, 3, 4, 5, 20, totals=Totals(preemptions=6)
        )
        return EngineStatus((model,), 9, Latencies().and_one(0.004).and_one(9.0))

    monkeypatch.setattr(site, "status", busy)
    await chat()
    told = await scraped()
    bounds = [label for name, label in told if name == "tinyllm_time_to_first_token_seconds_bucket"]
    assert [float(bound) for bound in bounds] == [
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20,
        40, 80, float("inf"),
    ]  # fmt: skip
    assert told["tinyllm_num_requests_running", ""] == 3
    assert told["tinyllm_num_requests_waiting", ""] == 4
    assert told["tinyllm_kv_cache_usage_perc", ""] == 0.25
    assert told["tinyllm_num_preemptions_total", ""] == 6
    assert told["tinyllm_cancel_latency_seconds_bucket", "0.0025"] == 0
    assert told["tinyllm_cancel_latency_seconds_bucket", "0.005"] == 1
    assert told["tinyllm_cancel_latency_seconds_bucket", "5.0"] == 1
    assert told["tinyllm_cancel_latency_seconds_count", ""] == 2
    assert told["tinyllm_cancel_latency_seconds_sum", ""] == pytest.approx(9.004)
    assert {("tinyllm_ws_connections", ""), ("tinyllm_stream_resumes_total", "")} <= set(told)
    assert any(name.startswith("process_") for name, _ in told)


def test_a_latency_at_a_bound_counts_as_below_it() -> None:
    assert Latencies().and_one(BOUNDS[3]).up_to()[3] == (str(BOUNDS[3]), 1)


async def test_who_leaves_and_what_fails_is_counted_apart(site: FakeEngine) -> None:
    def endless(request: GenerateRequest) -> Any:
        while True:
            yield "more "

    before = await scraped()
    site.script = endless
    asking = asyncio.create_task(chat(max_tokens=None))
    await arrived(site, 1)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    site.script = lambda request: [RequestFailed("Numbers.", request_id="r")]
    await chat()
    after = await scraped()
    assert grown(before, after, "request_success_total", "abort") == 1
    assert grown(before, after, "request_success_total", "error") == 1


async def test_metrics_are_for_staff_where_there_are_accounts(
    site: FakeEngine, settings: Any
) -> None:
    settings.TINYLLM_LOCAL = False
    settings.SECURE_SSL_REDIRECT = False
    client = AsyncClient()
    assert (await client.get("/metrics")).status_code == 403
    key = {"authorization": operator_key.header()}
    assert (await client.get("/metrics", headers=key)).status_code == 200
    for name, status in {"ada": 403, "boss": 200}.items():
        user = await in_database(User.objects.create_user, name, is_staff=name == "boss")
        await client.aforce_login(user)
        assert (await client.get("/metrics")).status_code == status
    for scope, status in {Scope.READ: 403, Scope.ADMIN: 200}.items():  # of boss
        _, token = await in_database(
            tokens.token_create, owner=user, name=str(scope), scopes=[scope]
        )
        bearer = {"authorization": f"Bearer {token}"}
        assert (await AsyncClient().get("/metrics", headers=bearer)).status_code == status
    assert (await AsyncClient().get("/readyz")).status_code == 200


@pytest.mark.parametrize("amount", [0.0, 0.0007, 0.001, 0.0010001, 0.3, 2.5, 2.5000001, 99.0])
def test_tokens_told_of_together_are_counted_like_one_by_one(amount: float) -> None:
    """Also at a bound, which belongs to its bucket, and above the last one."""

    def told(observe: Callable[[TokenHistogram], None]) -> list[Any]:
        apart = CollectorRegistry()
        its = TokenHistogram("gaps", "Of a test.", ["model_name"], buckets=TOKEN_S, registry=apart)
        observe(its)
        (family,) = apart.collect()
        return [
            (sample.name, sample.labels.get("le", ""), pytest.approx(sample.value))
            for sample in family.samples
        ]

    def one_by_one(its: TokenHistogram) -> None:
        its.labels("chat").observe(0.02)
        for _ in range(7):
            its.labels("chat").observe(amount)

    def together(its: TokenHistogram) -> None:
        its.labels("chat").observe_each(0.02, 1)
        its.labels("chat").observe_each(amount, 7)

    assert told(together) == told(one_by_one)
