"""docs/monitoring/grafana.json asks for nothing that /metrics does not say, and for all that it
says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from inference.types import EngineStatus, ModelStatus
from tests.fake_engine import FakeEngine
from tests.server_process import ROOT
from tests.v1_client import chat

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.fake_engine]

BOARD: dict[str, Any] = json.loads((ROOT / "docs" / "monitoring" / "grafana.json").read_text())
FUNCTIONS = {"sum", "by", "rate", "histogram_quantile"}
LABELS = {"model_name", "finished_reason", "le", "instance", "job"}


def asked(expression: str) -> set[str]:
    """The names of metrics in an expression of Prometheus' language."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", expression)
    return set(re.findall(r"\b[a-z][a-z0-9_]{2,}\b", bare)) - FUNCTIONS - LABELS


def expressions() -> list[str]:
    return [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]


async def said() -> tuple[set[str], set[str]]:
    """Names of samples, and of metrics by family."""
    answer = await AsyncClient().get("/metrics")
    families = list(text_string_to_metric_families(answer.content.decode()))
    return {sample.name for family in families for sample in family.samples}, {
        family.name for family in families
    }


async def test_every_metric_of_the_board_is_there(
    site: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelStatus(("chat",), "ready", "cpu", 700, used_blocks=1, total_blocks=2)

    async def status() -> EngineStatus:
        return EngineStatus((model,), budget=1)

    monkeypatch.setattr(site, "status", status)
    await chat()
    names, families = await said()
    wanted = {name for expression in expressions() for name in asked(expression)}
    variables = {
        found
        for variable in BOARD["templating"]["list"]
        if isinstance(variable["query"], dict)
        for found in re.findall(r"tinyllm_\w+", variable["query"]["query"])
    }
    assert wanted | variables <= names
    ours = {name for name in families if name.startswith("tinyllm_")}
    shown = {re.sub(r"_(total|bucket)$", "", name) for name in wanted}
    assert ours - shown == set()


def test_names_are_told_from_the_rest_of_an_expression() -> None:
    expression = 'histogram_quantile(0.5, sum by (le) (rate(tinyllm_x_bucket{job="a_job"}[5m])))'
    assert asked(expression) == {"tinyllm_x_bucket"}
    assert asked("tinyllm_a{} / rate(tinyllm_b[1h])") == {"tinyllm_a", "tinyllm_b"}


def test_the_board_can_be_imported() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["targets"]
        assert panel["description"] is not None
    known = {variable["name"] for variable in BOARD["templating"]["list"]} | {"__rate_interval"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(BOARD)))
    assert used <= known
