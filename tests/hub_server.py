"""A hub on this machine: serves repositories as the real one does, and breaks on request.

Small files answer directly with git's blob digest as ETag; weights redirect to a content address
on another host name, with their sha256 in X-Linked-Etag.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote

COMMIT = "c0ffee" + "0" * 34


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. `status`: answer this; `break_after`: drop the line after
    so many bytes; `corrupt`: flip the first byte; `hang`: say nothing (after `break_after`)."""

    status: int | None = None
    break_after: int | None = None
    corrupt: bool = False
    hang: bool = False


@dataclass(frozen=True)
class Seen:
    """One request as it arrived. `sent` counts the bytes of the body that went out."""

    method: str
    path: str
    file: str
    range: str | None
    authorization: str | None
    sent: int


@dataclass
class Hub:
    """`files`: repository -> file -> content. `faults`: (method, file) -> one per request to come;
    for files that redirect, GET faults happen where the content is."""

    files: dict[str, dict[str, bytes]]
    endpoint: str = ""
    honours_ranges: bool = True
    names_digests: bool = True
    faults: dict[tuple[str, str], list[Fault]] = field(default_factory=lambda: defaultdict(list))
    log: list[Seen] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def fails(self, method: Literal["HEAD", "GET"], file: str, *faults: Fault) -> None:
        self.faults[method, file] += faults

    def bodies(self, file: str) -> list[Seen]:
        """The requests for a file's content, in order, without redirects."""
        return [s for s in self.log if s.method == "GET" and s.file == file and s.sent >= 0]


@contextmanager
def serve(files: dict[str, dict[str, bytes]]) -> Iterator[Hub]:
    hub = Hub(files)

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_GET(self) -> None:
        self._answer("GET")

    def _answer(self, method: str) -> None:
        self.close_connection = True
        path = unquote(self.path)
        repo, _, rest = path.strip("/").partition("/resolve/")
        file = rest.partition("/")[2]
        if path.startswith("/cdn/"):
            repo, _, file = path.removeprefix("/cdn/").rpartition("/")
        content = self.hub.files.get(repo, {}).get(file)
        redirects = file.endswith(".safetensors") and not path.startswith("/cdn/")
        fault = Fault()
        if (method == "HEAD" or not redirects) and self.hub.faults[method, file]:
            fault = self.hub.faults[method, file].pop(0)
        if fault.hang and fault.break_after is None:
            self._note(method, path, file, 0)
            self.hub.closing.wait()
        elif fault.status or content is None:
            self._note(method, path, file, 0)
            self._head(fault.status or 404, {"Content-Length": "0"})
        elif redirects:
            self._note(method, path, file, -1)
            self._redirect(repo, file, content)
        else:
            self._send(method, path, file, content, fault)

    def _redirect(self, repo: str, file: str, content: bytes) -> None:
        port = self.hub.endpoint.rpartition(":")[2]
        headers = {
            "Location": f"http://localhost:{port}/cdn/{repo}/{file}",
            "Content-Length": "0",
            "X-Linked-Size": str(len(content)),
            "X-Repo-Commit": COMMIT,
        }
        if self.hub.names_digests:
            headers["X-Linked-Etag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        self._head(302, headers)

    def _send(self, method: str, path: str, file: str, content: bytes, fault: Fault) -> None:
        headers = {"X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if self.hub.names_digests and not path.startswith("/cdn/"):
            blob = b"blob %d\0" % len(content) + content
            headers["ETag"] = f'"{hashlib.sha1(blob, usedforsecurity=False).hexdigest()}"'
        begin = 0
        if self.hub.honours_ranges and (asked := self.headers.get("Range")):
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        body = content[begin:]
        headers["Content-Length"] = str(len(body))
        if fault.corrupt:
            body = bytes([body[0] ^ 0xFF]) + body[1:]
        sent = b"" if method == "HEAD" else body[: fault.break_after]
        self._note(method, path, file, len(sent))
        self._head(206 if "Content-Range" in headers else 200, headers)
        self.wfile.write(sent)
        if fault.hang:
            self.wfile.flush()
            self.hub.closing.wait()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _note(self, method: str, path: str, file: str, sent: int) -> None:
        seen = self.headers.get("Range"), self.headers.get("Authorization")
        self.hub.log.append(Seen(method, path, file, *seen, sent))

    def log_message(self, format: str, *args: object) -> None:
        """The test's output stays the test's."""
