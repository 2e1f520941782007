"""Debian's nginx as an ordinary process, with docs/deploying/nginx.conf on free ports."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.server_process import ROOT

CONFIGURATION = ROOT / "docs" / "deploying" / "nginx.conf"
TRIES = 5
POLL_S = 0.05
AROUND = """
daemon off;
{user}
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


class NginxProcess:
    """In front of `upstream`, a port. Its certificate is for localhost, and its own authority."""

    def __init__(self, folder: Path, upstream: int) -> None:
        self._folder, self._upstream = folder, upstream
        self._process: subprocess.Popen[bytes] | None = None
        self.http = self.https = 0
        make_certificate(folder)
        self.trust = ssl.create_default_context(cafile=str(folder / "fullchain.pem"))

    @property
    def url(self) -> str:
        return f"https://localhost:{self.https}"

    def start(self) -> NginxProcess:
        for _ in range(TRIES):
            self.http, self.https = free_ports(2)
            self._write()
            command = [program(), "-p", str(self._folder), "-c", str(self._folder / "main.conf")]
            self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            while self._process.poll() is None:
                if answers(self.https):
                    return self
                time.sleep(POLL_S)
        raise AssertionError(f"nginx ended: {(self._folder / 'nginx.log').read_text()}")

    def end(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(60)

    def _write(self) -> None:
        site = CONFIGURATION.read_text()
        for old, new in (
            ("127.0.0.1:3000;", f"127.0.0.1:{self._upstream};"),
            ("listen 80;", f"listen 127.0.0.1:{self.http};"),
            ("listen 443 ", f"listen 127.0.0.1:{self.https} "),
            ("/etc/letsencrypt/live/chat.example.org", str(self._folder)),
        ):
            assert old in site, old
            site = site.replace(old, new)
        site = re.sub(r"^ *listen \[::\].*\n", "", site, flags=re.MULTILINE)
        (self._folder / "site.conf").write_text(site)
        user = "user root;" if Path("/proc/self").stat().st_uid == 0 else ""
        (self._folder / "main.conf").write_text(AROUND.format(folder=self._folder, user=user))


def program() -> str:
    found = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert found, "nginx is missing, which these tests need. Install the package nginx-light."
    return found


def free_ports(count: int) -> list[int]:
    lines = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [line.getsockname()[1] for line in lines]
    for line in lines:
        line.close()
    return ports


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=60).close()
    except ConnectionRefusedError:
        return False
    return True


def make_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "fullchain.pem").write_bytes(certificate.public_bytes(pem))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "privkey.pem").write_bytes(key.private_bytes(pem, form, plain))
