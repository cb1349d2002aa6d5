"""Small servers on loopback: one that answers as Lince does, or almost, and one that says whatever a test wants."""

import email
import email.policy
import io
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from lince import calibration
from lince.inference.answers import answer
from lince.types import Calibration

CLASSES = ("cat", "dog", "fox")
MODEL = {
    "name": "pets",
    "version": "0123456789ab",
    "classes": list(CLASSES),
    "image": {"height": 4, "width": 6, "resize": "crop"},
    "limits": {"max_parts": 5, "max_body_bytes": 10_000},
    "calibration": {"temperature": 1.5, "coverage": 0.9, "set_threshold": 0.2, "abstain_below": 0.4, "n": 100},
    "extra": "ignored",
}

Talk = Callable[[socket.socket], None]


def answer_pixels(pixels: np.ndarray) -> np.ndarray:
    """A network: logits f32[n,3], from the mean of each colour."""
    return pixels.mean(axis=(1, 2)).astype(np.float32) / 20


def some_images(n: int) -> np.ndarray:
    """Noise of the size that the model takes."""
    return np.random.default_rng(0).integers(0, 256, (n, 4, 6, 3), np.uint8)


@dataclass
class FakeLince:
    """What the server says, and what it was asked."""

    model: Any = field(default_factory=lambda: MODEL)
    prefix: str = ""
    change: Any = lambda answer: answer  # last touch to the answer of /predict
    status: int = 200
    raw: bytes | None = None  # sent in place of any JSON
    parts: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def get(self, path: str) -> Any:
        self.paths.append(path)
        return self.model

    def post(self, path: str, content_type: str, body: bytes) -> Any:
        self.paths.append(path)
        files = [body] if content_type == "application/octet-stream" else self._files(content_type, body)
        self.parts.append(len(files))
        images = [Image.open(io.BytesIO(file)) for file in files]
        assert {image.format for image in images} == {"PNG"}
        logits = answer_pixels(np.stack([np.asarray(image) for image in images]))
        fitted = msgspec.convert(self.model["calibration"], Calibration)
        distances = np.arange(len(logits), dtype=np.float32) if fitted.distance_weight else None
        prediction = calibration.apply(logits, fitted, distances=distances)
        rows = [answer(prediction, row, tuple(self.model["classes"]), top=1, logits=True) for row in range(len(logits))]
        model = {key: self.model[key] for key in ("name", "version")}
        return self.change({"model": model, "predictions": rows})

    def _files(self, content_type: str, body: bytes) -> list[bytes]:
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        parts = list(email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts())
        self.names |= {part.get_param("name", header="content-disposition") for part in parts}
        return [part.get_payload(decode=True) for part in parts]


@contextmanager
def serve(fake: FakeLince, *, certificate: Path | None = None) -> Iterator[str]:
    """Runs the fake on a port of loopback, by TLS with a file of key and certificate; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(fake.get(self.path))

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(fake.post(self.path, self.headers["Content-Type"], body))

        def answer(self, content: Any):
            data = json.dumps(content).encode() if fake.raw is None else fake.raw
            self.send_response(fake.status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http{'s' * (certificate is not None)}://127.0.0.1:{server.server_port}{fake.prefix}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class LyingServer:
    """An address, and the requests that came there."""

    url: str
    requests: list[bytes] = field(default_factory=list)


@contextmanager
def lying_server(*talks: Talk, host: str = "127.0.0.1") -> Iterator[LyingServer]:
    """Answers connection after connection, each by the next of `talks`; the last one is used again."""
    stopping = threading.Event()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listener:
        listener.settimeout(0.05)
        port = listener.getsockname()[1]
        found = LyingServer(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

        def run() -> None:
            while not stopping.is_set():
                with suppress(TimeoutError):
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        connection.settimeout(5)
                        found.requests.append(read_request(connection))
                        talks[min(len(found.requests), len(talks)) - 1](connection)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield found
        finally:
            stopping.set()
            thread.join()


def read_request(connection: socket.socket) -> bytes:
    """Head and body of a request."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    if found := re.search(rb"content-length: (\d+)", head.lower()):
        while len(body) < int(found[1]):
            body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def says(content: bytes, head: bytes = b"HTTP/1.1 200 OK\r\n") -> Talk:
    """Answers with this body, and closes the connection."""
    head += b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(content)
    return lambda connection: connection.sendall(head + content)


def says_json(content: object, head: bytes = b"HTTP/1.1 200 OK\r\n") -> Talk:
    """The same, in JSON."""
    return says(json.dumps(content).encode(), head)


def says_busy(status: int = 503, head: bytes = b"") -> Talk:
    """An error of the service's shape, with further headers."""
    error = {"error": {"code": "overloaded", "message": "Come back later."}}
    return says_json(error, b"HTTP/1.1 %d Busy\r\n" % status + head)


def repeats(head: bytes, piece: bytes, pause_s: float = 0.0) -> Talk:
    """Sends the head, and then the piece without end."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(pause_s)

    return talk


def closes(_: socket.socket) -> None:
    """Ends the connection without an answer."""
