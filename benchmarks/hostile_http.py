"""One exchange with a service over a socket, whatever the bytes are."""

import json
import re
import socket
from contextlib import suppress

_TIMEOUT_S = 60


def exchange(port: int, data: bytes, timeout_s: float = _TIMEOUT_S) -> tuple[int, dict]:
    """Sends bytes, and reads status and JSON of the answer. The status is 0 when the connection ends without one."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        received = b""
        with suppress(ConnectionError):  # the server may have said its word already: read it
            connection.sendall(data)
        with suppress(ConnectionError):
            while not _is_whole(received) and (piece := connection.recv(65_536)):
                received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return (int(head.split(b" ", 2)[1]), json.loads(body or b"{}")) if _is_whole(received) else (0, {})


def _is_whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"^content-length: (\d+)\r?$", head, re.IGNORECASE | re.MULTILINE)
    return bool(separator and length and len(body) >= int(length[1]))


def is_clear(status: int, answer: dict) -> bool:
    """Whether the answer has the form of a refusal."""
    error = answer.get("error", {})
    return 400 <= status < 500 and set(error) == {"code", "message"} and len(error["message"]) > 20
