"""Write requirements.txt and requirements-dev.txt: every package with its exact version.

Run by `make lock`. pip resolves requirements*.in without installing anything. A local version
part (`+cpu`) names one machine's build, and torch brings the GPU packages that fit a machine by
itself: neither belongs into a lock that has to work everywhere.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MACHINE_PACKAGES = re.compile(r"nvidia-|cuda-|triton$")
# Numba runs its loops on TBB where there is a wheel of it, and on a layer of its own elsewhere.
ONLY_ON = dict.fromkeys(("tbb", "tcmlib"), '; platform_machine == "x86_64"')
HEADER = "# Written by `make lock` from {source}: edit that file, not this one.\n"


def resolve(*arguments: str) -> dict[str, str]:
    """Normalised name -> version of everything that `pip install ARGUMENTS` would bring."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
    command += ["--quiet", "--report", "-", *arguments]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
    found = {
        re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(): item["metadata"]["version"]
        for item in report["install"]
    }
    return {
        name: version.partition("+")[0]
        for name, version in sorted(found.items())
        if not MACHINE_PACKAGES.match(name)
    }


def write(name: str, source: str, pins: dict[str, str], first: str = "") -> None:
    lines = "".join(
        f"{package}=={version}{ONLY_ON.get(package, '')}\n" for package, version in pins.items()
    )
    (ROOT / name).write_text(HEADER.format(source=source) + first + lines)


def main() -> None:
    runtime = resolve("-r", "requirements.in")
    write("requirements.txt", "requirements.in", runtime)
    everything = resolve("-r", "requirements-dev.in", "-c", "requirements.txt")
    extra = {name: version for name, version in everything.items() if name not in runtime}
    write("requirements-dev.txt", "requirements-dev.in", extra, first="-r requirements.txt\n")


if __name__ == "__main__":
    main()
