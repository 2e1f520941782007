"""The documents stay true: what they name exists, and what must be named is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.urls import Resolver404, resolve

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)
# Made while running, so a fresh clone has none of them.
MODEL_FILES = ("config.json", "modules.json", "tokenizer.json")
AT_RUN_TIME = (".venv", ".env", "var", "models/", "docs/benchmarks/", *MODEL_FILES)
# Text that must not be in the repository: hosts of registries, and half-finished sentences.
FORBIDDEN = [
    "pypi" + ".org",
    "python" + "hosted",
    "npm" + "js",
    "deb.debian" + ".org",
    "TO" + "DO",
    "FIX" + "ME",
    "T" + "BD",
]
FOLDERS = [
    ".ci",
    "chat",
    "docs",
    "inference",
    "kernels",
    "static",
    "templates",
    "tests",
    "tinyllm_site",
]
SOURCES = ("*.md", "*.py", "*.js", "*.css", "*.html", "*.toml", "*.txt", "*.in", "*.sh", "Makefile")


def code_spans(text: str) -> list[str]:
    """What stands in `backticks` outside of code blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def paths(text: str) -> set[str]:
    """Paths that a document names: links within the repository, and code that looks like one."""
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)}
    links |= set(re.findall(r'(?:src|href)="([^"]+)"', text))
    spans = {
        span
        for span in code_spans(text)
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", span)
        and ("/" in span or re.search(r"\.(py|md|toml|txt|in|json)$", span))
    }
    return {name for name in links | spans if name and not re.match(r"https?:", name)}


def missing_paths(document: str, text: str) -> list[str]:
    beside = (ROOT / document).parent
    return sorted(
        name
        for name in paths(text)
        if not name.startswith(AT_RUN_TIME)
        and not (beside / name).exists()
        and not (ROOT / name).exists()
    )


def unknown_commands(text: str) -> list[str]:
    """make targets and manage.py verbs that a document names and the project does not have."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)
    verbs = re.findall(r"manage\.py ([a-z_]+)", text)
    return [f"make {name}" for name in named if name not in targets] + [
        f"manage.py {verb}" for verb in verbs if verb not in get_commands()
    ]


def unknown_addresses(text: str) -> list[str]:
    """Addresses of this site that a document names and no view answers."""
    spans = (re.fullmatch(r"(?:[A-Z]+ )?(/[\w/{}.-]*)", span) for span in code_spans(text))
    named = {match[1] for match in spans if match}
    named |= set(re.findall(r"http://localhost:3000(/[\w/.-]*)", text))
    wrong = []
    for address in sorted(named):
        try:
            resolve(address.replace("{id}", "00000000-0000-4000-8000-000000000000"))
        except Resolver404:
            wrong.append(address)
    return wrong


def settings_read() -> set[str]:
    """Names of the environment variables that the settings ask for."""
    rooms = ("settings", "defaults", "accounts", "env")
    source = "".join((ROOT / f"tinyllm_site/{room}.py").read_text() for room in rooms)
    calls = r'(?:env|_env)\.\w+\(\s*"(\w+)"'
    return set(re.findall(calls, source))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    assert missing_paths(document, text) == []
    assert unknown_commands(text) == []
    assert unknown_addresses(text) == []


def test_checks_see_what_does_not_exist() -> None:
    text = (
        "See `chat/nowhere.py`, [this](docs/none.md) and ![that](docs/images/none.png).\n"
        "`make coffee`, then `manage.py dance`, or `POST /api/nothing` and `/api/chat`.\n"
    )
    assert missing_paths("README.md", text) == [
        "chat/nowhere.py",
        "docs/images/none.png",
        "docs/none.md",
    ]
    assert unknown_commands(text) == ["make coffee", "manage.py dance"]
    assert unknown_addresses(text) == ["/api/nothing"]


def test_every_setting_is_documented_and_no_other() -> None:
    table = (ROOT / "docs/settings.md").read_text()
    rows = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert rows == settings_read()
    assert len(rows) > 10, "the search for settings finds nothing any more"


def test_both_readmes_show_the_same() -> None:
    english, chinese = ((ROOT / f"README{end}.md").read_text() for end in ("", ".zh-CN"))
    for pattern in (r"```.*?```", r"^#+ ", r"^\|", r"^- ", r"<img [^>]*src=\S+"):
        flags = re.DOTALL | re.MULTILINE if "`" in pattern else re.MULTILINE
        assert re.findall(pattern, english, flags) == re.findall(pattern, chinese, flags)
    assert set(code_spans(english)) == set(code_spans(chinese))


def test_readme_begins_with_a_picture_and_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert text.startswith("![")
    assert re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1] == "make serve\nmake test\n"  # type: ignore[index]


def test_every_decision_says_why_and_what_follows() -> None:
    decisions = sorted((ROOT / "docs/adr").glob("*.md"))
    assert [path.name[:4] for path in decisions] == [f"{i + 1:04}" for i in range(len(decisions))]
    for path in decisions:
        text = path.read_text()
        assert text.startswith(f"# {int(path.name[:4])}. "), path.name
        for part in ("Status: ", "## The problem", "## The decision", "## What follows"):
            assert part in text, f"{path.name}: {part}"


def test_help_lists_the_targets() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("serve", "test", "soak", "bench", "lint"):
        assert re.search(rf"^make {target} ", listed, re.MULTILINE)


def test_nothing_forbidden_is_written_anywhere() -> None:
    folders = [ROOT / name for name in FOLDERS]
    files = [path for pattern in SOURCES for path in ROOT.glob(pattern)]
    files += [path for pattern in SOURCES for folder in folders for path in folder.rglob(pattern)]
    assert len(files) > 100, "the search for sources finds nothing any more"
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in files
        for word in FORBIDDEN
        if re.search(rf"\b{re.escape(word)}", path.read_text(errors="replace"))
    ]
    assert found == []
