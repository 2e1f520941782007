"""Make .venv hold what a lock file pins: `python3 .ci/install.py requirements.txt`.

Run by make, in the project's root, with the system's Python. It does nothing when the lock is
unchanged, so that a second `make serve` works with the network cut. Two calls at once wait for
each other. `.venv/installed.json` is written last and removed first: an environment without it
was interrupted, and since pip takes a half-unpacked package for an installed one, it is made
anew. Parses on old Pythons, to be able to tell them that they are too old.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
VENV = Path(".venv")
STAMP = VENV / "installed.json"
GUARD = Path(".venv.lock")


def digest(lock: Path) -> str:
    """sha256 over a lock file and the lock files that it includes with -r."""
    text = lock.read_text()
    included = [line.split()[1] for line in text.splitlines() if line.startswith("-r ")]
    parts = [text, *(digest(lock.parent / name) for name in included)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def read_stamp() -> dict[str, str] | None:
    """What is installed, or None where it is unknown or was made by another Python."""
    try:
        stamp = dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return None
    return stamp if stamp.get("python") == sys.version and (VENV / "bin/python").exists() else None


def make_venv() -> None:
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if subprocess.run(command).returncode:
        sys.exit(
            "This Python cannot make a virtual environment. On Debian and Ubuntu: "
            "apt-get install python3-venv python3-pip"
        )


def install(lock: Path) -> None:
    """Bring .venv to `lock`; exits with a message when pip cannot."""
    stamp = read_stamp()
    if stamp is not None and stamp.get(lock.name) == digest(lock):
        return
    if stamp is None:
        print("Making .venv", flush=True)
        make_venv()
    STAMP.unlink(missing_ok=True)
    print(f"Installing {lock} into .venv", flush=True)
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check"]
    if subprocess.run([*pip, "--no-input", "-r", str(lock)]).returncode:
        sys.exit(f"pip could not install {lock}; its message is above. Run the same command again.")
    # What the other lock asked for may have been replaced: only this one is known to hold.
    stamp = {"python": sys.version, lock.name: digest(lock)}
    for line in lock.read_text().splitlines():
        if line.startswith("-r "):
            stamp[line.split()[1]] = digest(lock.parent / line.split()[1])
    STAMP.write_text(json.dumps(stamp, indent=1))


def main() -> None:
    if sys.version_info < OLDEST:
        sys.exit(
            "TinyLLM needs Python {}.{} or newer, and {} is {}.{}. Install a newer one and name "
            "it: make serve PYTHON=python3.12".format(*OLDEST, sys.executable, *sys.version_info)
        )
    import fcntl  # after the check: its message must come first, wherever this is run

    with GUARD.open("w") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another make is installing: waiting for it", flush=True)
            fcntl.flock(guard, fcntl.LOCK_EX)
        install(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
