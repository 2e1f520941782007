"""Projects with plugins, installed as far as anybody looks at it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from tests.server_process import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "plugin"


def install(folder: Path, project: dict[str, Any]) -> Path:
    """What pip writes of a project, as far as anybody looks at it."""
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    about = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(about)
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


def install_example(folder: Path) -> Path:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    return install(folder, project)
