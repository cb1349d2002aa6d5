"""Do damaged requests of every protocol get an answer that is no fault of the server?

    python benchmarks/protocol_fuzz.py [--requests 100000] [--seed 0] [--server PATH_OF_lince]

Valid requests are damaged by chance: bytes are changed, cut out and repeated, values of JSON are exchanged, lengths are
changed. Each must get a status below 500, and an error in the form of its protocol. The last line of stdout is one JSON
object: statuses by protocol, tracebacks, and the most memory of the service with its children. The exit code is 1 when
a request was answered by 5xx or not at all, or the log has a traceback.
"""

import argparse
import base64
import copy
import gzip
import http.client
import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hostile_requests import FORM, encoded, form
from process_tree import Watch
from server_process import COMMAND, running_server

_CLIENTS = 4
_TIMEOUT_S = 30
_LENGTH = "Inference-Header-Content-Length"
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 1e308, 0.5, "", "é\0", "x" * 5000),
    *([], {}, [[] for _ in range(50)], [{}], {"b64": ""}, {"b64": "*"}, [0] * 3072),
    *([0, 2**31, 2**31, 2**31], [2**31] * 8, [1, 1, 1, 1, 1, 1, 1, 1]),
    *("BYTES", "UINT8", "FP32", "pixels", "image", "base64"),
)
_TOKENS = (
    *(b"[" * 2000, b"{", b'"', b"\\", b"\\u0000", b"\0", b"\xff\xfe", b"-", b"1e999", b"null"),
    *(b"\r\n\r\n", b"--b0undary"),
)


@dataclass(frozen=True)
class Request:
    """A request, valid or damaged."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def _pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (int(rng.integers(1, 3)), 32, 32, 3), dtype=np.uint8)


def _native_form(rng: np.random.Generator) -> Request:
    return Request("/predict", form(*[("file", encoded(rng, "PNG"))] * int(rng.integers(1, 4))), FORM)


def _json(path: str, content: Any, rng: np.random.Generator) -> Request:
    return Request(path, json.dumps(_exchanged(content, rng)).encode(), {"Content-Type": "application/json"})


def _open_inference_json(rng: np.random.Generator) -> Request:
    images = _pixels(rng)
    data = images.tolist() if rng.integers(2) else images.ravel().tolist()
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": list(images.shape), "data": data}
    if rng.integers(2):
        text = base64.b64encode(encoded(rng, "PNG")).decode()
        tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}
        tensor["parameters"] = {"content_type": "base64"}
    wanted = [{"name": "logits", "parameters": {"classification": 3, "binary_data": bool(rng.integers(2))}}]
    content = {"id": "1", "inputs": [tensor], "outputs": wanted, "parameters": {"binary_data_output": True}}
    return _json("/v2/models/cifar10/infer", content, rng)


def _open_inference_binary(rng: np.random.Generator) -> Request:
    images = _pixels(rng)
    blob, shape = images.tobytes(), list(images.shape)
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": shape}
    if rng.integers(2):
        picture = encoded(rng, "PNG")
        blob = len(picture).to_bytes(4, "little") + picture
        tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    tensor["parameters"] = {"binary_data_size": len(blob)}
    head = json.dumps(_exchanged({"inputs": [tensor]}, rng)).encode()
    length = len(head) + int(rng.choice([0, 0, 0, 0, 1, -1, 10**6]))
    return Request("/v2/models/cifar10/infer", head + blob, {_LENGTH: str(length)})


def _tensorflow_serving(rng: np.random.Generator) -> Request:
    images: Any = (
        [{"b64": base64.b64encode(encoded(rng, "PNG")).decode()}] if rng.integers(2) else _pixels(rng).tolist()
    )
    if rng.integers(2):
        images = [{"image": image} for image in images]
    content = {("instances", "inputs")[rng.integers(2)]: images, "signature_name": "serving_default"}
    return _json("/v1/models/cifar10:predict", content, rng)


def _native_json(rng: np.random.Generator) -> Request:
    one = {"image": {"b64": base64.b64encode(encoded(rng, "PNG")).decode()}}
    return _json("/predict", [one, one] if rng.integers(2) else one, rng)


def _raw(rng: np.random.Generator) -> Request:
    return Request("/v2/models/cifar10/infer", encoded(rng, "PNG"), {_LENGTH: "0"})


def _packed(rng: np.random.Generator) -> Request:
    request = (_open_inference_json, _open_inference_binary, _tensorflow_serving)[rng.integers(3)](rng)
    return Request(request.path, gzip.compress(request.body), request.headers | {"Content-Encoding": "gzip"})


PROTOCOLS: dict[str, Callable[[np.random.Generator], Request]] = {
    "form": _native_form,
    "native JSON": _native_json,
    "raw": _raw,
    "packed": _packed,
    "open inference, JSON": _open_inference_json,
    "open inference, binary": _open_inference_binary,
    "TensorFlow Serving": _tensorflow_serving,
}


def _exchanged(content: Any, rng: np.random.Generator) -> Any:
    """JSON of which, in half of the cases, one value or key somewhere is another."""
    if rng.integers(2):
        return content
    content = copy.deepcopy(content)
    place: Any = content
    while True:
        key = rng.integers(len(place)) if isinstance(place, list) else list(place)[rng.integers(len(place))]
        inner = place[key]
        if isinstance(inner, list | dict) and inner and rng.integers(4):
            place = inner
            continue
        kind = rng.integers(3)
        if kind == 0 and isinstance(place, dict):
            place[str(rng.integers(9))] = place.pop(key)
        elif kind == 1:
            del place[key]
        else:
            place[key] = _VALUES[rng.integers(len(_VALUES))]
        return content


def damaged(body: bytes, rng: np.random.Generator) -> bytes:
    """Bytes with up to three faults; in a third of the cases as they were."""
    for _ in range(int(rng.integers(0, 3))):
        start, count = int(rng.integers(len(body) + 1)), int(rng.integers(1, 40))
        fault = rng.integers(5)
        if fault == 0:
            body = body[:start] + rng.bytes(count) + body[start + count :]
        elif fault == 1:
            body = body[:start] + body[start + count :]
        elif fault == 2:
            body = body[:start] + _TOKENS[rng.integers(len(_TOKENS))] + body[start:]
        elif fault == 3:
            body = body[:start]
        else:
            body = body[:start] + body[start : start + count] * 3 + body[start + count :]
    return body


def drawn(seed: int, index: int) -> tuple[str, Request]:
    """The request of an index: its protocol's name, and the damaged request."""
    rng = np.random.default_rng((seed, index))
    name = list(PROTOCOLS)[index % len(PROTOCOLS)]
    request = PROTOCOLS[name](rng)
    return name, Request(request.path, damaged(request.body, rng), request.headers)


def is_answered(path: str, status: int, body: bytes) -> bool:
    """Whether an answer is no fault of the server: 200 with answers, or a 4xx with an error as the protocol has it."""
    if status == 200:
        return any(name in body for name in (b'"predictions":[{', b'"outputs":[{', b'"outputs":{"'))
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return False
    is_formed = set(error) == {"code", "message"} if path == "/predict" else isinstance(error, str) and len(error) > 20
    return 400 <= status < 500 and is_formed


def _send(port: int, seed: int, indices: range) -> tuple[Counter[str], list[str]]:
    """Statuses by protocol, and what was wrong, of some requests on one connection after the other."""
    statuses: Counter[str] = Counter()
    wrong = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    for index in indices:
        name, request = drawn(seed, index)
        try:
            connection.request("POST", request.path, request.body, request.headers)
            response = connection.getresponse()
            status, body = response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            status, body = 0, repr(error).encode()
            connection.close()
        statuses[f"{name}: {status}"] += 1
        if not is_answered(request.path, status, body):
            wrong.append(f"request {index} ({name}): {status} {body[:200]!r}")
    connection.close()
    return statuses, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--server", default=COMMAND[0], help="the `lince` of another version, to compare")
    options = parser.parse_args()
    statuses: Counter[str] = Counter()
    wrong: list[str] = []
    with (
        running_server(command=[options.server, *COMMAND[1:]]) as server,
        ThreadPoolExecutor(_CLIENTS) as clients,
        Watch(server.process.pid) as watch,
    ):
        shares = [range(first, options.requests, _CLIENTS) for first in range(_CLIENTS)]
        for found, faults in clients.map(lambda share: _send(server.port, options.seed, share), shares):
            statuses += found
            wrong += faults
        tracebacks = server.log.read_text().count("Traceback")
    for fault in wrong[:20]:
        sys.stderr.write(f"{fault}\n")
    result = {
        "cores": os.cpu_count(),
        "requests": options.requests,
        "statuses": dict(sorted(statuses.items())),
        "wrong": len(wrong),
        "tracebacks": tracebacks,
        "peak_mb": round((watch.peak_share or watch.peak_resident) / 1e6),
    }
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if wrong or tracebacks else 0


if __name__ == "__main__":
    sys.exit(main())
