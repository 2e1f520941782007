"""Make .venv hold what a lock file pins: `python3 .ci/install.py requirements.txt`.

Run by make, in the project's root, with the system's Python. Where there is an NVIDIA driver, the
lock of CuPy for its CUDA is installed on top. It does nothing when the locks are unchanged, so
that a second `make serve` works with the network cut. Two calls at once wait for each other.
`.venv/installed.json` is written last and removed first: an environment without it was
interrupted, and since pip takes a half-unpacked package for an installed one, it is made anew.
Parses on old Pythons, to be able to tell them that they are too old.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
VENV = Path(".venv")
STAMP = VENV / "installed.json"
GUARD = Path(".venv.lock")
# Major versions of CUDA that there is a CuPy for, newest first, each with the oldest Linux driver
# that runs its programs.
CUDA_DRIVERS = {13: 580, 12: 525}
DRIVER_FILE = Path("/proc/driver/nvidia/version")


def included(lock: Path) -> list[Path]:
    """The lock files that a lock file includes with -r."""
    lines = lock.read_text().splitlines()
    return [lock.parent / line.split()[1] for line in lines if line.startswith("-r ")]


def digest(lock: Path) -> str:
    """sha256 over a lock file and those that it includes."""
    parts = [lock.read_text(), *map(digest, included(lock))]
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


def pip(*arguments: str) -> int:
    command = [str(VENV / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    return subprocess.run([*command, *arguments]).returncode


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
    if pip("install", "-r", str(lock)):
        sys.exit(f"pip could not install {lock}; its message is above. Run the same command again.")
    write_stamp(lock, stamp or {})


def write_stamp(lock: Path, before: dict[str, str]) -> None:
    """The locks of one state of the project agree with each other. What a lock of another state
    asked for may have been replaced: its text, and so its digest, was another one."""
    kept = {name: value for name, value in before.items() if still_says(name, value)}
    done = {path.name: digest(path) for path in (*included(lock), lock)}
    STAMP.write_text(json.dumps({"python": sys.version, **kept, **done}, indent=1))


def still_says(name: str, stamped: str) -> bool:
    return Path(name).is_file() and digest(Path(name)) == stamped


def install_cupy() -> None:
    """Where there is an NVIDIA driver: CuPy for the CUDA that torch was built for, or for the
    driver's where torch was built without. The site runs without it, so it may fail."""
    driver = driver_cuda()
    major = driver and (torch_cuda() or driver)
    lock, stamp = Path(f"requirements-cuda{major}.txt"), read_stamp()
    if not lock.exists() or stamp is None or stamp.get(lock.name) == digest(lock):
        return
    print(f"Found an NVIDIA driver. Installing {lock} into .venv", flush=True)
    STAMP.unlink()
    pip("uninstall", "--yes", "--quiet", *(f"cupy-cuda{m}x" for m in CUDA_DRIVERS if m != major))
    if pip("install", "-r", str(lock)):
        print(f"pip could not install {lock}; its message is above. The CPU computes meanwhile.")
        STAMP.write_text(json.dumps(stamp, indent=1))
    else:
        write_stamp(lock, stamp)


def torch_cuda() -> int | None:
    """The major version of CUDA that the torch in .venv was built for."""
    for path in VENV.glob("lib/python*/site-packages/torch/version.py"):
        found = re.search(r"^cuda\b.*= ['\"](\d+)\.", path.read_text(), re.MULTILINE)
        return int(found[1]) if found else None
    return None


def driver_cuda() -> int | None:
    """The newest major version of CUDA that the NVIDIA driver runs and CuPy knows; None without
    a driver, or with one from before."""
    version = re.search(r"\b(\d{3,})\.\d+", nvidia_smi() or driver_file())
    if version:
        return next((m for m, oldest in CUDA_DRIVERS.items() if int(version[1]) >= oldest), None)
    # some containers have the library alone
    number = ctypes.c_int()
    try:
        ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number))
    except OSError:
        return None
    return next((m for m in CUDA_DRIVERS if number.value // 1000 >= m), None)


def nvidia_smi() -> str:
    """The driver's version as nvidia-smi says it; empty where it cannot."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if run.returncode else run.stdout


def driver_file() -> str:
    try:
        return DRIVER_FILE.read_text()
    except OSError:
        return ""


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
        install_cupy()


if __name__ == "__main__":
    main()
