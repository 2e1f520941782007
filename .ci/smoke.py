"""Run the README's commands as a reader would: `make serve`, then every curl line in it.

Called by .ci/run, once with the network and once without. Uses a free port and a data folder of
its own, so that it meets the first start of a new machine and leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 1800  # installing torch and fetching a model on a slow line
STOP_LIMIT_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def curl_commands() -> list[str]:
    """The curl commands in the README's shell blocks, continuation lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("curl ")]


def wait_until_up(base: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            sys.exit(f"make serve ended with {server.returncode} before it answered")
        try:
            with urllib.request.urlopen(f"{base}/", timeout=5):  # noqa: S310 (our own)
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    sys.exit(f"no answer from {base}/ in {START_LIMIT_S} s")


def check_site(base: str) -> None:
    """The page comes up, and each curl line of the README answers with JSON that is no error."""
    with urllib.request.urlopen(f"{base}/", timeout=60) as page:  # noqa: S310 (our own)
        text = page.read().decode()
    if "<textarea" not in text:
        sys.exit("the page has no place to write in")
    commands = curl_commands()
    if not any("/api/chat" in command for command in commands):
        sys.exit("the README shows no curl command for /api/chat")
    for command in commands:
        command = command.replace("http://localhost:3000", base)
        print(f"$ {command}", flush=True)
        run = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=600)
        reply = json.loads(run.stdout)
        print(json.dumps(reply, ensure_ascii=False)[:400], flush=True)
        if run.returncode or (isinstance(reply, dict) and "error" in reply):
            sys.exit(f"the README's command failed: {command}\n{run.stderr}")
        if "/api/chat" in command and not {"session_id", "response", "model"} <= reply.keys():
            sys.exit(f"the reply lacks fields: {sorted(reply)}")


def main() -> None:
    port = free_port()
    with tempfile.TemporaryDirectory() as data:
        server = subprocess.Popen(
            ["make", "serve", f"PORT={port}"],
            cwd=ROOT,
            env={**os.environ, "TINYLLM_DATA_DIR": data},
            start_new_session=True,
        )
        try:
            wait_until_up(f"http://localhost:{port}", server)
            check_site(f"http://localhost:{port}")
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
            server.wait(STOP_LIMIT_S)
    print("The README's commands work", flush=True)


if __name__ == "__main__":
    main()
