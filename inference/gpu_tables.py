"""What `gpu_benchmarks` reports, as text for a terminal and as a section of the READMEs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

BEGIN = "<!-- written by manage.py bench readme -->"
END = "<!-- up to here -->"

# What the README says, by the language of the file.
_WORDS = {
    "en": {
        "intro": "On one {gpu} (it reads {read:.2f} TB/s and computes {matrix:.0f} TFLOP/s in "
        "cuBLAS' bf16 product, both measured in the same run), torch {torch}, CUDA {cuda}, bf16, "
        "random weights of three shapes, medians of {runs} runs; percentages are shares of what "
        "these limits allow:",
        "rate": "{value:,.0f} tok/s, {share:.0f} %",
        "decode": "decode, one reader, {tokens:,} tokens before it",
        "batch": "decode, {readers} readers together",
        "first": "prompt of {tokens:,} tokens to first token",
        "peer": "transformers `generate`, one reader, same run",
        "peer_first": "transformers, prompt of {tokens:,} tokens to first token",
        "modes": "The chat model (SmolLM2-135M, fp16) on it, by what is asked for; the perplexity "
        "is that of this project's documents:",
        "columns": "| | decode, one reader | decode, 64 readers | first of {tokens:,} tokens "
        "| perplexity |",
        "default": "default",
        "ours": "own products only (`--backend ours`)",
        "fp16": "sums in fp16 (`--compute fp16`)",
        "deterministic": "`--deterministic`",
    },
    "zh": {
        "intro": "一块 {gpu}（同一次测量：读显存 {read:.2f} TB/s，cuBLAS 的 bf16 矩阵乘 "
        "{matrix:.0f} TFLOP/s），torch {torch}，CUDA {cuda}，bf16，三种规模的随机权重，取 "
        "{runs} 次的中位数；百分比是达到上述上限的比例：",
        "rate": "{value:,.0f} tok/s，{share:.0f} %",
        "decode": "解码，一位读者，之前已有 {tokens:,} 个 token",
        "batch": "解码，{readers} 位读者合计",
        "first": "{tokens:,} 个 token 的提示词到第一个 token",
        "peer": "transformers `generate`，一位读者，同一次测量",
        "peer_first": "transformers，{tokens:,} 个 token 的提示词到第一个 token",
        "modes": "同一块 GPU 上的 chat 模型（SmolLM2-135M，fp16）在不同选项下；"
        "困惑度取自本项目的文档：",
        "columns": "| | 解码，一位读者 | 解码，64 位读者合计 "
        "| {tokens:,} 个 token 后的第一个 token | 困惑度 |",
        "default": "默认",
        "ours": "只用自己的矩阵乘（`--backend ours`）",
        "fp16": "以 fp16 累加（`--compute fp16`）",
        "deterministic": "`--deterministic`",
    },
}

_Cell = Callable[[dict[str, Any]], str]


def readme_section(report: dict[str, Any], language: str) -> str:
    """Markdown: a sentence and a table with a column for each model. What was not measured is a
    dash. Raises ValueError for a report without a machine or models."""
    runs, machine = report.get("runs", []), report.get("machine", {})
    measured = next((run for run in runs if "limits" in run), None)
    if measured is None or "gpu" not in machine:
        raise ValueError("gpu.json holds no run of a model: measure again with `make bench-gpu`")
    words, limits = _WORDS[language], measured["limits"]
    intro = words["intro"].format(
        **machine,
        read=limits["read"] / 1e12,
        matrix=limits["matrix"] / 1e12,
        runs=report["plan"]["runs"],
    )
    rows = list(_rows(report, words))
    lines = [f"| | {' | '.join(run['model'] for run in runs)} |", "|---" * (len(runs) + 1) + "|"]
    lines += [f"| {label} | {' | '.join(map(cell, runs))} |" for label, cell in rows]
    return f"{intro}\n\n" + "\n".join([*lines, *_mode_table(report, words)]) + "\n"


def _mode_table(report: dict[str, Any], words: dict[str, str]) -> list[str]:
    rows = report.get("modes", {}).get("rows", [])
    if not rows:
        return []
    columns = words["columns"].format(tokens=rows[0]["first_token"]["tokens"])
    lines = ["", words["modes"], "", columns, "|---" * 5 + "|"]
    for row in rows:
        rates = [f"{row[readers]['value']:,.0f} tok/s" for readers in ("one", "many")]
        known = row["perplexity"]
        cells = [*rates, f"{row['first_token']['ms']:.1f} ms", f"{known:.3f}" if known else "–"]
        lines.append(f"| {words[row['mode']]} | {' | '.join(cells)} |")
    return lines


def _rows(report: dict[str, Any], words: dict[str, str]) -> Iterable[tuple[str, _Cell]]:
    plan = report["plan"]
    for i, tokens in enumerate(plan["depths"]):
        yield words["decode"].format(tokens=tokens), _rate_cell("decode", i, words["rate"])
    for i, readers in enumerate(plan["batches"]):
        yield words["batch"].format(readers=readers), _rate_cell("batches", i, words["rate"])
    for i, tokens in enumerate(plan["first"]):
        yield words["first"].format(tokens=tokens), _first_cell(i)
    yield words["peer"], _peer_rate
    yield words["peer_first"].format(tokens=plan["first"][0]), _peer_first


def _rate_cell(kind: str, index: int, words: str) -> _Cell:
    def cell(run: dict[str, Any]) -> str:
        rates = run.get(kind, [])
        if index >= len(rates):
            return "–"
        rate = rates[index]
        return words.format(value=rate["value"], share=100 * rate["share"])

    return cell


def _first_cell(index: int) -> _Cell:
    def cell(run: dict[str, Any]) -> str:
        rows = run.get("first_token", [])
        return f"{rows[index]['ms']:.1f} ms" if index < len(rows) else "–"

    return cell


def _peer_rate(run: dict[str, Any]) -> str:
    value = run.get("transformers", {}).get("value")
    return "–" if value is None else f"{value:,.0f} tok/s"


def _peer_first(run: dict[str, Any]) -> str:
    first = run.get("transformers", {}).get("first_token")
    return "–" if first is None else f"{first['ms']:.1f} ms"


def section_of(readme: str) -> str:
    """What stands between the two marks. Raises ValueError where there are none."""
    _, begin, rest = readme.partition(BEGIN)
    section, end, _ = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README lacks the marks {BEGIN!r} and {END!r}: put them back")
    return section.strip()


def with_section(readme: str, section: str) -> str:
    """The README with another text between its marks. Raises ValueError as section_of does."""
    section_of(readme)
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    inside = f"\n\n{section.strip()}\n\n" if section.strip() else "\n"
    return f"{before}{BEGIN}{inside}{END}{after}"


def table(report: dict[str, Any]) -> str:
    """For a terminal."""
    machine = report["machine"]
    facts = ("gpu", "processor", "torch", "cuda", "cupy", "transformers", "date")
    lines = [", ".join(f"{name} {machine[name]}" for name in facts if machine.get(name))]
    for run in report["runs"]:
        lines += ["", *_run_lines(run)]
    if "kernels" in report:
        lines += ["", *_kernel_lines(report["kernels"])]
    if "modes" in report:
        lines += ["", *_mode_lines(report["modes"])]
    if "memory" in report:
        lines += ["", *_memory_lines(report["memory"])]
    return "\n".join(lines)


def _limits_text(part: dict[str, Any]) -> str:
    limits = part.get("limits")
    if not limits:
        return ""
    return f": read {limits['read'] / 1e12:.2f} TB/s, cuBLAS {limits['matrix'] / 1e12:.0f} TFLOP/s"


def _run_lines(run: dict[str, Any]) -> Iterable[str]:
    yield f"{run['model']}{_limits_text(run)}"
    if "failure" in run:
        yield f"  failed: {run['failure']}"
    if "ready_s" in run:
        ways = ", ".join(f"{way} {ms:.3f} ms" for way, ms in run["one_token_ms"].items())
        yield f"  ready after {run['ready_s']:.1f} s; one token: {ways or 'one way only'}"
    yield f"  {'readers':>7}{'tokens before':>15}{'tokens/s':>11}{'(from to)':>24}{'share':>7}"
    for rate in [*run.get("decode", []), *run.get("batches", [])]:
        spread = f"({rate['slowest']:,.1f} {rate['fastest']:,.1f})"
        counts = f"{rate['readers']:>7}{rate['tokens']:>15,}"
        yield f"  {counts}{rate['value']:>11,.1f}{spread:>24}{rate['share']:>7.0%}"
    for first in run.get("first_token", []):
        spread = f"({first['fastest']:.1f} {first['slowest']:.1f})"
        limit = f"limit {first['limit_ms']:.1f}"
        yield f"  first of {first['tokens']:,} tokens: {first['ms']:.1f} ms {spread}, {limit}"
    yield f"  transformers: {_peer_text(run.get('transformers', {}))}"
    if "memory" in run:
        sizes = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in run["memory"].items())
        yield f"  memory, GB: {sizes}"


def _peer_text(peer: dict[str, Any]) -> str:
    if "value" not in peer:
        return f"failed: {peer.get('failure', 'not measured')}"
    first = peer["first_token"]
    lengths = " and ".join(map(str, peer["answers"]))
    return (
        f"{peer['value']:.1f} tokens/s (answers of {lengths}), first of {first['tokens']:,} "
        f"tokens {first['ms']:.1f} ms; {peer['settings']}"
    )


def _kernel_lines(part: dict[str, Any]) -> Iterable[str]:
    yield f"kernels{_limits_text(part)}"
    if "failure" in part:
        yield f"  failed: {part['failure']}"
    rows = part.get("rows", [])
    width = max((len(row["name"]) for row in rows), default=0)
    yield (
        f"{'':<{width}}{'µs':>10}{'(from to)':>20}{'rate':>16}{'share':>7}{'error':>9}"
        f"{'worst':>9}   torch: µs{'error':>9}{'worst':>9}"
    )
    for row in rows:
        yield f"{row['name']:<{width}}{_kernel_cells(row)}"


def _kernel_cells(row: dict[str, Any]) -> str:
    if row["failure"]:
        return f"  failed: {row['failure']}"
    spread = f"({row['fastest']:.2f} {row['slowest']:.2f})"
    rate = f"{row['rate']:,.1f} {row['unit']}"
    errors = "".join(_small(row[name]) for name in ("error", "worst"))
    torchs = "".join(_small(row[name]) for name in ("torch_error", "torch_worst"))
    us = "" if row["torch_us"] is None else f"{row['torch_us']:.2f}"
    return f"{row['us']:>10.2f}{spread:>20}{rate:>16}{row['share']:>7.0%}{errors}{us:>12}{torchs}"


def _small(error: float | None) -> str:
    return f"{'' if error is None else format(error, '.1e'):>9}"


def _mode_lines(part: dict[str, Any]) -> Iterable[str]:
    yield f"modes, chat model in fp16{_limits_text(part)}"
    if "failure" in part:
        yield f"  failed: {part['failure']}"
    titles = ("one reader, tok/s", "64 readers", "first token, ms", "perplexity")
    yield f"{'':<16}" + "".join(f"{title:>20}" for title in titles)
    for row in part.get("rows", []):
        rates = (row["one"]["value"], row["many"]["value"], row["first_token"]["ms"])
        known = row["perplexity"]
        cells = [f"{rate:>20,.1f}" for rate in rates]
        cells.append(f"{'–' if known is None else format(known, '.4f'):>20}")
        yield f"  {row['mode']:<14}{''.join(cells)}"


def _memory_lines(part: dict[str, Any]) -> Iterable[str]:
    yield f"memory while answering{', ' + part['model'] if 'model' in part else ''}, GB"
    if "failure" in part:
        yield f"  failed: {part['failure']}"
    if "named" in part:
        yield "  " + ", ".join(f"{name} {size / 1e9:.4f}" for name, size in part["named"].items())
    for row in part.get("rows", []):
        sizes = ", ".join(f"{k} {v / 1e9:.4f}" for k, v in row.items() if k != "tokens")
        yield f"  after {row['tokens']:>6,} tokens: {sizes}"
