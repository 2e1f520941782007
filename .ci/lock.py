"""Write requirements.txt and the locks that add to it: every package with its exact version.

Run by `make lock`. pip resolves requirements*.in without installing anything. A local version
part (`+cpu`) names one machine's build, and torch and CuPy bring the GPU packages that fit a
machine by themselves: neither belongs into a lock that has to work everywhere, unless a
requirements*.in asks for it by name.
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
# What these bring is the machine's: not pinned, so the lock asks for it as the source does.
EXTRAS = dict.fromkeys(("cupy-cuda12x", "cupy-cuda13x"), "[ctk]")
HEADER = "# Written by `make lock` from {source}: edit that file, not this one.\n"


def resolve(source: str, *arguments: str) -> dict[str, str]:
    """Normalised name -> version of everything that `pip install -r SOURCE ARGUMENTS` would
    bring and that holds on every machine."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed"]
    command += ["--quiet", "--report", "-", "-r", source, *arguments]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=ROOT).stdout)
    found = {
        re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower(): item["metadata"]["version"]
        for item in report["install"]
    }
    asked = set(re.findall(r"^[\w-]+", (ROOT / source).read_text(), re.MULTILINE))
    return {
        name: version.partition("+")[0]
        for name, version in sorted(found.items())
        if name in asked or not MACHINE_PACKAGES.match(name)
    }


def write(name: str, source: str, pins: dict[str, str], first: str = "") -> None:
    lines = "".join(
        f"{package}{EXTRAS.get(package, '')}=={version}{ONLY_ON.get(package, '')}\n"
        for package, version in pins.items()
    )
    (ROOT / name).write_text(HEADER.format(source=source) + first + lines)


def main() -> None:
    runtime = resolve("requirements.in")
    write("requirements.txt", "requirements.in", runtime)
    for kind in ("dev", "cuda12", "cuda13"):
        source = f"requirements-{kind}.in"
        everything = resolve(source, "-c", "requirements.txt")
        extra = {name: version for name, version in everything.items() if name not in runtime}
        write(f"requirements-{kind}.txt", source, extra, first="-r requirements.txt\n")


if __name__ == "__main__":
    main()
