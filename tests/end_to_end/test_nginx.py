"""`deploy/nginx.conf` in front of the real server: requests, errors of both, and connections that are kept."""

import http.client
import io
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from app_client import Png
from server_process import free_port, running_server

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
OPENSSL = shutil.which("openssl")
HOSTS = '["lince.example", "127.0.0.1"]'
RAW = {"Content-Type": "image/png", "Host": "lince.example"}

pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: nginx-light)"),
    pytest.mark.skipif(OPENSSL is None, reason="openssl is not installed, which makes a certificate"),
]

# What nginx needs around a file of conf.d, so that it runs as any user and writes into one folder.
_AROUND = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/log;
events {{ worker_connections 64; }}
http {{
    access_log {folder}/access;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/lince.conf;
}}
"""


def write_configuration(folder: Path, *, server: int, plain: int, secure: int) -> Path:
    """The file that users get, with other ports and a certificate of its own."""
    key, certificate = folder / "lince.key", folder / "lince.crt"
    made = ["-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=lince.example"]
    subprocess.run([OPENSSL, "req", "-x509", *made], check=True, capture_output=True, timeout=60)
    text = CONFIGURATION.read_text(encoding="utf-8")
    for old, new in {
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{server};",
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl;": f"listen 127.0.0.1:{secure} ssl;",
        "/etc/nginx/lince.crt": str(certificate),
        "/etc/nginx/lince.key": str(key),
    }.items():
        assert 1 == text.count(old), old
        text = text.replace(old, new)
    (folder / "lince.conf").write_text(text, encoding="utf-8")
    (folder / "nginx.conf").write_text(_AROUND.format(folder=folder), encoding="utf-8")
    return folder / "nginx.conf"


@dataclass(frozen=True)
class Proxy:
    """nginx: its folder and its ports, and the port of the server behind it."""

    folder: Path
    plain: int
    secure: int
    server: int

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.folder / "lince.crt"))
        context.check_hostname = False  # the name is not in the system's tables
        return http.client.HTTPSConnection("127.0.0.1", self.secure, context=context, timeout=30)

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8")


@contextmanager
def running_nginx(folder: Path, *, server: int) -> Iterator[Proxy]:
    """nginx before a server's port, ready."""
    plain, secure = free_port(), free_port()
    configuration = write_configuration(folder, server=server, plain=plain, secure=secure)
    process = subprocess.Popen([NGINX, "-p", folder, "-e", folder / "log", "-c", configuration])
    try:
        wait_until_open(process, secure)
        yield Proxy(folder, plain, secure, server)
    finally:
        process.terminate()
        process.wait(20)


def wait_until_open(process: subprocess.Popen, port: int) -> None:
    end = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < end:
        with suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        time.sleep(0.02)
    raise AssertionError("nginx does not start")


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """nginx and a server behind it."""
    with (
        running_server(allowed_hosts=HOSTS) as server,
        running_nginx(tmp_path_factory.mktemp("nginx"), server=server.port) as proxy,
    ):
        yield proxy


def exchange(connection: http.client.HTTPConnection, method: str, path: str, body=None, **headers: str):
    """Status, headers and body of one answer."""
    connection.request(method, path, body, RAW | headers)
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def test_configuration_is_valid(tmp_path: Path):
    """`nginx -t` takes it, without a warning."""
    configuration = write_configuration(tmp_path, server=8000, plain=8080, secure=8443)
    command = [NGINX, "-t", "-p", tmp_path, "-e", tmp_path / "log", "-c", configuration]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_answers_are_those_of_the_server(proxy: Proxy, png: Png):
    """A picture's answer and heat map, and an error of the server, arrive as the server sent them."""
    direct = http.client.HTTPConnection("127.0.0.1", proxy.server, timeout=30)
    through = proxy.connect()
    for path, body in (("/predict", png()), ("/explain", png()), ("/predict", b"no picture"), ("/nowhere", b"")):
        expected, found = exchange(direct, "POST", path, body), exchange(through, "POST", path, body)
        assert (expected[0], expected[2]) == (found[0], found[2])
    direct.close()
    through.close()


def test_connections_are_kept(proxy: Proxy, png: Png):
    """One connection of a client carries many requests, and so does one of nginx to the server."""
    connection = proxy.connect()
    sockets = set()
    for seed in range(20):
        assert 200 == exchange(connection, "POST", "/predict", png(seed))[0]
        sockets.add(connection.sock.getsockname())
    connection.close()
    assert 1 == len(sockets)
    assert 1 == len(connections_to(proxy.server))


def connections_to(port: int) -> list[str]:
    """Open connections to a server on 127.0.0.1 from elsewhere than itself: rows of the kernel's table."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return [row[1] for row in rows if row[2] == f"0100007F:{port:04X}" and row[3] == "01"]


def test_a_body_of_the_limit_passes_and_more_is_413(proxy: Proxy):
    """Both limits are the same, for declared and chunked bodies. nginx refuses in the shape of the server's errors."""
    limit = 10 * 2**20
    connection = proxy.connect()
    status, _, body = exchange(connection, "POST", "/predict", bytes(limit))
    assert (415, "unsupported_format") == (status, json.loads(body)["error"]["code"])
    connection.close()
    for content in (bytes(limit + 1), io.BytesIO(bytes(limit + 1))):  # the second one is sent in chunks
        connection = proxy.connect()
        status, headers, body = exchange(connection, "POST", "/predict", content)
        assert (413, "application/json") == (status, headers["Content-Type"])
        error = json.loads(body)["error"]
        assert "body_too_large" == error["code"]
        assert error["message"].endswith("Expected at most 10,485,760 bytes: scale the image down or send fewer.")
        connection.close()


def test_metrics_stay_inside(proxy: Proxy):
    """Numbers are not shown to the network; the server's own address answers."""
    connection = proxy.connect()
    assert 403 == exchange(connection, "GET", "/metrics")[0]
    connection.close()


def test_plain_http_leads_to_tls(proxy: Proxy):
    """A client without TLS is sent to the other port."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.plain, timeout=30)
    status, headers, _ = exchange(connection, "GET", "/readyz")
    assert (301, "https://lince.example/readyz") == (status, headers["Location"])
    connection.close()


def test_no_picture_is_written_to_disk(proxy: Proxy):
    """A large body passes through memory alone."""
    connection = proxy.connect()
    exchange(connection, "POST", "/predict", bytes(5 * 2**20))
    connection.close()
    assert [] == [path for path in (proxy.folder / "body").rglob("*") if path.is_file()]
    assert "buffered to a temporary file" not in proxy.log()


def test_a_server_that_is_gone(tmp_path: Path, png: Png):
    """nginx answers 503 with Retry-After, in the server's shape."""
    with running_nginx(tmp_path, server=free_port()) as proxy:
        connection = proxy.connect()
        status, headers, body = exchange(connection, "POST", "/predict", png())
        connection.close()
    assert (503, "1", "not_ready") == (status, headers["Retry-After"], json.loads(body)["error"]["code"])
