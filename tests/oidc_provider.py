"""An OpenID Connect provider of our own: it knows one person and gives out one kind of code."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

PERSON = {"sub": "4711", "preferred_username": "grace", "email": "grace@elsewhere.example"}


class Provider:
    """`asked` holds the parameters of the last request for a token; `challenge` is what the site
    sent its browser here with (PKCE), and the token is given only to who knows its origin."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: dict[str, str] = {}
        self.challenge = ""

    def visit(self, address: str) -> dict[str, str]:
        """What a browser that is sent there brings back to the site."""
        sent = {key: values[0] for key, values in parse_qs(urlsplit(address).query).items()}
        self.challenge = sent["code_challenge"]
        return {"code": "the code", "state": sent["state"]}

    def answer(self, path: str, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "jwks_uri": f"{self.url}/keys",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
            }
        if path == "/token":
            self.asked = body
            known = hashlib.sha256(body["code_verifier"].encode()).digest()
            proof = base64.urlsafe_b64encode(known).rstrip(b"=").decode()
            if (body["code"], body["client_secret"], proof) == (
                "the code",
                "the secret",
                self.challenge,
            ):
                return 200, {"access_token": "a", "token_type": "Bearer", "expires_in": 60}
            return 400, {"error": "invalid_grant"}
        return (200, PERSON) if path == "/userinfo" else (404, {})


@contextmanager
def running() -> Iterator[Provider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/authorize"):
                self._send_back()
            else:
                self._say({})

        def _send_back(self) -> None:
            """A browser, which is known here and asked nothing."""
            back = parse_qs(urlsplit(self.path).query)["redirect_uri"][0]
            self.send_response(302)
            self.send_header("location", f"{back}?{urlencode(provider.visit(self.path))}")
            self.end_headers()

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["content-length"])).decode()
            self._say({key: values[0] for key, values in parse_qs(text).items()})

        def _say(self, body: dict[str, str]) -> None:
            status, told = provider.answer(self.path, body)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = Provider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield provider
    server.shutdown()
    server.server_close()
    thread.join()
