"""What `manage.py bench gpu` writes and prints, and the READMEs' table, from a made-up report."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from django.core.management import CommandError, call_command

from inference import gpu_benchmarks
from inference.benchmark_shapes import SHAPES
from inference.gpu_rates import Plan
from inference.gpu_tables import BEGIN, END, readme_section, section_of, table, with_section
from inference.kernel_benchmarks import KernelRow
from inference.management.commands.bench import GPU_JSON, READMES

ROOT = Path(__file__).resolve().parent.parent


def made_up_run(name: str) -> dict[str, Any]:
    def rate(tokens: int, readers: int, value: float) -> dict[str, Any]:
        numbers = {"value": value, "slowest": value - 1, "fastest": value + 1}
        return {"tokens": tokens, "readers": readers, **numbers, "limit": 2000.0, "share": 0.5}

    return {
        "limits": {"read": 3.1e12, "matrix": 768e12},
        "ready_s": 2.5,
        "one_token_ms": {"one kernel": 0.9, "a kernel an op": 1.1},
        "decode": [rate(128, 1, 1000.0), rate(2048, 1, 950.0), rate(7904, 1, 900.0)],
        "batches": [rate(128, n, 1000.0 * n) for n in (8, 64, 256)],
        "first_token": [
            {"tokens": 2048, "ms": 9.04, "fastest": 9.0, "slowest": 9.2, "limit_ms": 6.0}
        ],
        "memory": {"weights": 10**9, "cache": 10**8, "allocated": 2 * 10**9},
        "transformers": {
            "settings": "generate",
            "answers": [32, 288],
            "value": 35.4,
            "first_token": {"tokens": 2048, "ms": 40.0},
        },
    }


def first(run: dict[str, Any]) -> dict[str, float]:
    row: dict[str, float] = run["first_token"][0]
    return row


def made_up(name: str, _plan: Plan) -> dict[str, Any]:
    machine = {"gpu": "NVIDIA X1", "torch": "9.9", "cuda": "13.0", "date": "2030-01-01"}
    if name == "Llama-3.1-8B":
        raise RuntimeError("out of memory")
    if name == "kernels":
        good = KernelRow("product", 7.25, 7.0, 8.0, 2900.5, "GB/s", 0.94, 0.001, 0.02, 9.5)
        return {"machine": machine, "rows": list(map(asdict, (good, KernelRow("x", failure="no"))))}
    if name == "memory":
        named = {"weights": 10**9}
        return {"machine": machine, "named": named, "rows": [{"tokens": 1000, "allocated": 5}]}
    if name == "modes":
        run = made_up_run(name)
        numbers = {"one": run["decode"][0], "many": run["batches"][1], "first_token": first(run)}
        known = {"default": 12.345, "fp16": None}
        rows = [{"mode": mode, **numbers, "perplexity": ppl} for mode, ppl in known.items()]
        return {"machine": machine, "rows": rows}
    return {"machine": machine, **made_up_run(name)}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    reports = list(gpu_benchmarks.reports(gpu_benchmarks.PARTS, Plan(), made_up))
    assert len(reports) == len(gpu_benchmarks.PARTS)
    result: dict[str, Any] = json.loads(json.dumps(reports[-1]))
    return result


def test_a_part_that_fails_leaves_the_others(report: dict[str, Any]) -> None:
    assert [run["model"] for run in report["runs"]] == list(SHAPES)
    assert report["runs"][2]["failure"] == "RuntimeError: out of memory"
    assert report["kernels"]["rows"]
    assert report["machine"]["gpu"] == "NVIDIA X1"


def test_the_table_shows_everything(report: dict[str, Any]) -> None:
    text = table(report)
    for words in ("NVIDIA X1", "Llama-3.2-1B: read 3.10 TB/s", "256,000.0", "failed: RuntimeError"):
        assert words in text
    assert "35.4 tokens/s (answers of 32 and 288)" in text
    assert "2,900.5 GB/s    94%  1.0e-03  2.0e-02        9.50" in text
    assert "failed: no" in text
    assert "after  1,000 tokens" in text


def test_the_section_has_a_column_for_each_model(report: dict[str, Any]) -> None:
    section = readme_section(report, "en")
    lines = section.splitlines()
    assert lines[0].startswith("On one NVIDIA X1 (it reads 3.10 TB/s and computes 768 TFLOP/s")
    assert lines[2] == "| | SmolLM2-135M | Llama-3.2-1B | Llama-3.1-8B |"
    first = (
        "| decode, one reader, 128 tokens before it | 1,000 tok/s, 50 % | 1,000 tok/s, 50 % | – |"
    )
    assert lines[4] == first
    assert "| prompt of 2,048 tokens to first token | 9.0 ms | 9.0 ms | – |" in lines
    assert len(lines) == len(readme_section(report, "zh").splitlines())
    assert {line.count("|") for line in lines[2:]} == {5, 0, 6}
    assert "| default | 1,000 tok/s | 64,000 tok/s | 9.0 ms | 12.345 |" in lines
    assert lines[-1].startswith("| sums in fp16")
    assert lines[-1].endswith("| – |")


def test_a_report_without_models_makes_no_section(report: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="make bench-gpu"):
        readme_section({**report, "runs": []}, "en")


def test_a_section_is_put_between_its_marks() -> None:
    readme = f"# A\n\n{BEGIN}\n{END}\n\n## B\n"
    full = with_section(readme, "table\n")
    assert full == f"# A\n\n{BEGIN}\n\ntable\n\n{END}\n\n## B\n"
    assert section_of(full) == "table"
    assert with_section(full, "table\n") == full
    assert with_section(full, "") == readme
    with pytest.raises(ValueError, match="put them back"):
        with_section("# A\n", "table\n")


def test_bench_readme_writes_both(report: dict[str, Any], tmp_path: Path, settings: Any) -> None:
    settings.BASE_DIR = tmp_path
    with pytest.raises(CommandError, match=r"gpu\.json"):
        call_command("bench", "readme", stdout=StringIO())
    (tmp_path / GPU_JSON).parent.mkdir(parents=True)
    (tmp_path / GPU_JSON).write_text(json.dumps(report))
    for name in READMES:
        (tmp_path / name).write_text(f"{BEGIN}\n{END}\n")
    call_command("bench", "readme", stdout=StringIO())
    for name, language in READMES.items():
        expected = readme_section(report, language).strip()
        assert section_of((tmp_path / name).read_text("utf-8")) == expected


def test_bench_gpu_keeps_what_was_measured_before_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def apart(name: str, plan: Plan) -> dict[str, Any]:
        seen.append((tmp_path / "gpu.json").exists())
        return made_up(name, plan)

    monkeypatch.setattr(gpu_benchmarks, "_apart", apart)
    out = StringIO()
    shapes = ("SmolLM2-135M", "memory")
    call_command("bench", "gpu", shapes=shapes, output=tmp_path, stdout=out)
    assert seen == [False, True]
    assert "NVIDIA X1" in out.getvalue()
    assert json.loads((tmp_path / "gpu.json").read_text())["memory"]["rows"]
    with pytest.raises(CommandError, match="known: SmolLM2-135M"):
        call_command("bench", "gpu", shapes=("GPT-5",), stdout=StringIO())


def test_without_a_gpu_the_report_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain script, in this process: no part can run here."""
    if torch.cuda.is_available():
        pytest.fail(
            "this test is for machines without a GPU; `make test-gpu` is for those with one"
        )
    monkeypatch.setattr(gpu_benchmarks, "_apart", gpu_benchmarks.measure_part)
    gpu_benchmarks.main([str(tmp_path / "gpu.json"), "SmolLM2-135M"])
    (run,) = json.loads((tmp_path / "gpu.json").read_text())["runs"]
    assert run["failure"]


@pytest.mark.parametrize("name", READMES)
def test_the_readme_shows_what_was_measured(name: str) -> None:
    """Only while nothing was measured on a GPU, so that there is no gpu.json, nothing is shown."""
    section = section_of((ROOT / name).read_text("utf-8"))
    if not (ROOT / GPU_JSON).exists():
        assert section == ""
        return
    report = json.loads((ROOT / GPU_JSON).read_text("utf-8"))
    assert section == readme_section(report, READMES[name]).strip(), "run `manage.py bench readme`"
