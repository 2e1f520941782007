"""What guesses from the text so far give one reader: where an answer repeats what was said, and
where it does not. Each text is answered with and without, by turns."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inference.machine import machine
from inference.offline import Generated, OfflineModel
from inference.options import EngineOptions
from inference.types import ModelKind, SamplingParams

RUNS = 3
TOKENS = 200
# What is asked, and the file and its part, from one word to another, that it is asked about.
REPEATING = {
    "edit a paragraph": (
        "Replace the word server by machine. Repeat everything else word for word:",
        ("docs/architecture.md", "The default: nobody", "\n\n## Admin"),
    ),
    "rename in code": (
        "Rename the class Launched to Pass in this code and print all of it:",
        ("inference/flight.py", "@dataclass(slots=True", "index: which"),
    ),
    "summarise": (
        "Summarise this text in a few sentences:",
        ("docs/adr/0007-cache.md", "A request used", "- Who waits"),
    ),
    "list to JSON": (
        "Write this list as JSON with the keys name, default and meaning:",
        ("docs/settings.md", "`TINYLLM_THREADS`", "| `TINYLLM_COMPUTE`"),
    ),
}
OTHERS = {
    "explain": "Explain why the sky is blue, and what happens at sunset.",
    "tell a story": "Write a story about a lighthouse keeper who finds a letter.",
    "give advice": "What should I see in Rome in two days, and why?",
}


@dataclass(frozen=True, slots=True)
class Row:
    """Tokens a second after the first one: median of the runs without and with guesses, the
    slowest and the fastest. drafted and accepted of the last run, and whether its tokens were those
    of ordinary decoding to the last one."""

    name: str
    repeats: bool
    output_tokens: int
    ordinary: float
    ordinary_spread: tuple[float, float]
    guessing: float
    guessing_spread: tuple[float, float]
    drafted: int
    accepted: int
    same_tokens: bool


def speculation(directory: Path, root: Path, most: int, options: EngineOptions) -> dict[str, Any]:
    """The whole report, ready for JSON. root: of this repository, whose texts are asked about.
    most: `SamplingParams.prompt_lookup`. Raises EngineError, OSError."""
    asked = {name: about(root, *of) for name, of in REPEATING.items()} | OTHERS
    samplings = [
        SamplingParams(temperature=0, max_tokens=TOKENS, prompt_lookup=n) for n in (0, most)
    ]
    model = OfflineModel(directory, ModelKind.CHAT, options)
    rows = [_row(model, name, text, samplings) for name, text in asked.items()]
    on_gpu = options.device == "cuda"
    return {
        "machine": machine(options.device),
        "model": directory.name,
        "device": options.device,
        "threads": None if on_gpu else options.threads,
        "deterministic": options.deterministic,
        "prompt_lookup": most,
        "rows": [asdict(row) for row in rows],
    }


def table(report: dict[str, Any]) -> str:
    """The report for a terminal."""
    most, names = report["prompt_lookup"], ("tokens/s", "guessing", "gain", "guesses", "right")
    lines = [
        f"{report['model']} on {report['device']}, at most {most} guesses a step",
        f"{'':<20}{'tokens':>7}" + "".join(f"{name:>10}" for name in names),
    ]
    for row in report["rows"]:
        gain = row["guessing"] / row["ordinary"] if row["ordinary"] else 1.0
        right = f"{row['accepted'] / row['drafted']:.0%}" if row["drafted"] else ""
        lines.append(
            f"{row['name']:<20}{row['output_tokens']:>7}{row['ordinary']:>10.1f}"
            f"{row['guessing']:>10.1f}{gain:>10.2f}{row['drafted']:>10}{right:>10}"
        )
    return "\n".join(lines)


def about(root: Path, question: str, of: tuple[str, str, str]) -> str:
    path, begin, end = of
    text = (root / path).read_text(encoding="utf-8")
    start = text.index(begin)
    return f"{question}\n\n{text[start : text.index(end, start)]}"


def _row(model: OfflineModel, name: str, text: str, samplings: list[SamplingParams]) -> Row:
    messages = [{"role": "user", "content": text}]
    prompt = model.codec.encode(model.codec.render(messages, add_generation_prompt=True))
    model.generate(prompt, SamplingParams(temperature=0, max_tokens=1))  # reads it once for all
    runs: list[list[Generated]] = [[], []]
    for _ in range(RUNS):
        for done, sampling in zip(runs, samplings, strict=True):
            done.append(model.generate(prompt, sampling))
    ordinary, guessing = ([_rate(run) for run in done] for done in runs)
    last = runs[1][-1]
    return Row(
        name=name,
        repeats=name in REPEATING,
        output_tokens=last.finished.output_tokens,
        ordinary=statistics.median(ordinary),
        ordinary_spread=(min(ordinary), max(ordinary)),
        guessing=statistics.median(guessing),
        guessing_spread=(min(guessing), max(guessing)),
        drafted=last.finished.drafted_tokens,
        accepted=last.finished.accepted_tokens,
        same_tokens=last.token_ids == runs[0][-1].token_ids,
    )


def _rate(run: Generated) -> float:
    seconds = run.finished.timings.decode_s
    return (run.finished.output_tokens - 1) / seconds if seconds else 0.0
