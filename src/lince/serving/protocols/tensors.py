"""Requests and answers of the Open Inference Protocol as bytes: JSON, and tensors in binary behind it.

The tensors of a request hold their data in JSON; or the JSON has `Inference-Header-Content-Length` bytes, and behind it
is the data of those tensors that have the parameter `binary_data_size`, in their order. Numbers are little-endian. An
element of BYTES has its length before it, 4 bytes. Source: the protocol's "Inference REST", and its extension "binary
tensor data" as Triton defines it. Nothing here knows about images.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from jaxtyping import Shaped, UInt8

from lince.serving.protocols.named_outputs import MAX_NUMBERS, invalid, shown

LENGTH_HEADER = "inference-header-content-length"

_SIZE, _ENCODED = "binary_data_size", "content_type"
_LENGTH_BYTES = 4
_MAX_SHAPE_BYTES = 200
_MAX_OUTPUTS = 16  # that a request names
# Objects in the JSON of a request: each tensor has parameters, and some clients send further objects.
_MAX_OBJECTS = 100
_OF_OUTPUTS = {"FP32": "<f4", "BOOL": "?"}  # and BYTES

Name = Annotated[str, msgspec.Meta(max_length=1000)]
_Shape = Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=2**31)]], msgspec.Meta(max_length=8)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class InputParameters(msgspec.Struct, frozen=True):
    """Parameters of an input that are known. Others are ignored, as the protocol asks."""

    binary_data_size: _Count | None = None
    content_type: str | None = None


class OutputParameters(msgspec.Struct, frozen=True):
    """Parameters of an output that are known."""

    binary_data: bool | None = None
    classification: _Count = 0
    shared_memory_region: str | None = None  # of an extension that this server does not have


class RequestParameters(msgspec.Struct, frozen=True):
    """Parameters of a request that are known."""

    binary_data_output: bool = False


class Input(msgspec.Struct, frozen=True):
    """A tensor of a request, as its JSON describes it."""

    name: Name
    datatype: Name
    shape_json: msgspec.Raw = msgspec.field(name="shape")
    parameters: InputParameters | None = None
    data: msgspec.Raw = msgspec.Raw()

    def __post_init__(self) -> None:
        if len(self.shape_json) > _MAX_SHAPE_BYTES:  # before it becomes a list of millions of numbers
            raise ValueError("the shape is longer than that of any tensor")
        self.shape  # noqa: B018 (it is checked)

    @property
    def shape(self) -> list[int]:
        return msgspec.json.decode(self.shape_json, type=_Shape)


class WantedOutput(msgspec.Struct, frozen=True):
    """An output that a request names."""

    name: Name
    parameters: OutputParameters | None = None


class InferRequest(msgspec.Struct, frozen=True):
    """The JSON of a request."""

    inputs: list[Input]
    id: Name | None = None
    parameters: RequestParameters | None = None
    outputs: Annotated[list[WantedOutput], msgspec.Meta(max_length=_MAX_OUTPUTS)] | None = None


@dataclass(frozen=True)
class Tensor:
    """An output with its data.

    Attributes:
        name, datatype, shape: as the protocol has them.
        data: an array of the shape; for BYTES a flat sequence of elements.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Shaped[np.ndarray, "..."] | Sequence[bytes]


def parse(body: bytes, header_length: str | None) -> tuple[InferRequest, memoryview]:
    """The JSON of a request, and the bytes behind it. Data are not read: the shape of an input says how much there is.

    Args:
        body: whole, not compressed.
        header_length: the value of `LENGTH_HEADER`, if the request has that header.

    Raises:
        RequestError: the body does not keep to the protocol.
    """
    length = _header_length(header_length, len(body))
    head = body[:length]
    if head.count(b"{") > _MAX_OBJECTS:
        raise invalid(f"The JSON of the request has more than {_MAX_OBJECTS} objects. Expected one input, and outputs.")
    try:
        request = msgspec.json.decode(head, type=InferRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The JSON of the request is not valid: {error}. Expected an object with 'inputs'.") from error
    return request, memoryview(body)[length:]


def pixels(one: Input, rest: memoryview) -> UInt8[np.ndarray, "..."]:
    """The data of a UINT8 input, which is the only one of its request, in its shape.

    Args:
        one: of a shape that was accepted, so that its size is bounded.
        rest: the bytes behind the JSON.

    Raises:
        RequestError: the data are not of that shape, or bytes are left.
    """
    count, blob = math.prod(one.shape), _blob(one, rest)
    if blob is None:
        return _numbers(one, count)
    if len(blob) != count:
        raise invalid(f"Input {shown(one.name)} has {len(blob):,} bytes of data. Expected {count:,} for {one.shape}.")
    return np.frombuffer(blob, np.uint8).reshape(one.shape)


def elements(one: Input, rest: memoryview) -> list[bytes]:
    """The elements of a BYTES input. Args and errors as of `pixels`."""
    count, blob = math.prod(one.shape), _blob(one, rest)
    found = _encoded(one, count) if blob is None else _delimited(one, blob, count)
    if len(found) != count:
        received = f"more than {count:,}" if len(found) > count else f"{len(found):,}"
        raise invalid(f"Input {shown(one.name)} has {received} elements. Expected {count:,} for {one.shape}.")
    return found


def render(answer: Mapping[str, Any], outputs: Sequence[Tensor], binary: Sequence[bool]) -> tuple[bytes, int | None]:
    """An answer as bytes.

    Args:
        answer: what its JSON has besides `outputs`.
        outputs: in their order.
        binary: whether each is binary, behind the JSON.

    Returns:
        The body, and the length of its JSON where something is behind it.
    """
    described, blobs = [], []
    for output, is_binary in zip(outputs, binary, strict=True):
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if is_binary:
            blobs.append(_to_binary(output))
            entry["parameters"] = {_SIZE: len(blobs[-1])}
        elif isinstance(output.data, np.ndarray):
            entry["data"] = output.data.ravel().tolist()
        else:
            entry["data"] = [element.decode() for element in output.data]
        described.append(entry)
    head = msgspec.json.encode({**answer, "outputs": described})
    return b"".join([head, *blobs]), len(head) if blobs else None


def _header_length(received: str | None, count: int) -> int:
    if received is None:
        return count
    if not (received.isascii() and received.isdigit() and len(received) < 20) or int(received) > count:
        raise invalid(
            f"Inference-Header-Content-Length is {shown(received)}. Expected the number of bytes of the JSON at the "
            f"start of the body, 0 to {count:,}."
        )
    return int(received)


def _blob(one: Input, rest: memoryview) -> memoryview | None:
    """The binary data of an input; None if it has its data in JSON."""
    size = one.parameters.binary_data_size if one.parameters else None
    if (size is None) == (not one.data):
        found = "neither 'data' nor" if size is None else "both 'data' and"
        raise invalid(f"Input {shown(one.name)} has {found} {_SIZE!r}. Expected one of them.")
    if (size or 0) > len(rest):
        raise invalid(f"{_SIZE!r} of input {shown(one.name)} is {size:,}. Only {len(rest):,} bytes follow the JSON.")
    if len(rest) > (size or 0):
        raise invalid(f"{len(rest) - (size or 0):,} bytes follow the last tensor. Expected none: see {_SIZE!r}.")
    return None if size is None else rest


def _delimited(one: Input, blob: memoryview, most: int) -> list[bytes]:
    """Elements that have their length before them; no more than one above `most`."""
    found: list[bytes] = []
    place = 0
    while place < len(blob) and len(found) <= most:
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(blob[place:start], "little")
        if start > len(blob) or place > len(blob):
            raise invalid(
                f"Element {len(found)} of input {shown(one.name)} ends behind the data. Expected a length of "
                f"{_LENGTH_BYTES} bytes, little-endian, and as many bytes."
            )
        found.append(bytes(blob[start:place]))
    return found


def _numbers(one: Input, count: int) -> UInt8[np.ndarray, "..."]:
    """Numbers in JSON, flat or nested as the shape is.

    Brackets and commas are counted first: a body of empty lists would take 20 times its size as Python objects.
    """
    if count > MAX_NUMBERS:
        raise invalid(
            f"Input {shown(one.name)} has {count:,} numbers in JSON. Expected at most {MAX_NUMBERS:,}: send them "
            f"as binary data, with {_SIZE!r}."
        )
    text = bytes(one.data)
    lists = sum(math.prod(one.shape[:rank]) for rank in range(len(one.shape)))
    brackets = text.count(b"[")
    if text.count(b",") != count - 1 or brackets not in (1, lists):
        raise invalid(
            f"The data of input {shown(one.name)} does not have {count:,} numbers. Expected a list of as many as the "
            f"shape {one.shape} has, or lists in lists of that shape."
        )
    kind: Any = Annotated[int, msgspec.Meta(ge=0, le=255)]
    for _ in range(len(one.shape) if brackets > 1 else 1):
        kind = list[kind]
    try:
        return np.array(msgspec.json.decode(text, type=kind), np.uint8).reshape(one.shape)
    except (msgspec.DecodeError, ValueError) as error:
        raise invalid(f"The data of input {shown(one.name)} is not UINT8 {one.shape}: {error}.") from error


def _encoded(one: Input, count: int) -> list[bytes]:
    """Elements of BYTES in JSON, which are base64 here: JSON has no bytes."""
    if one.parameters is None or one.parameters.content_type != "base64":
        raise invalid(
            f"Input {shown(one.name)} is BYTES in JSON. Expected base64, and the parameter {_ENCODED!r}: 'base64' with "
            f"it, or binary data with {_SIZE!r}."
        )
    text, lists = bytes(one.data), (1,) if len(one.shape) == 1 else (1, count + 1)
    if text.count(b",") != count - 1 or text.count(b"[") not in lists:  # see `_numbers`
        raise invalid(f"The data of input {shown(one.name)} does not have {count:,} texts, as {one.shape} says.")
    try:
        found = msgspec.json.decode(text, type=list[bytes | list[bytes]])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(f"The data of input {shown(one.name)} is not a list of base64 texts: {error}.") from error
    return [element for entry in found for element in ([entry] if isinstance(entry, bytes) else entry)]


def _to_binary(output: Tensor) -> bytes:
    if isinstance(output.data, np.ndarray):
        return output.data.astype(_OF_OUTPUTS[output.datatype]).tobytes()
    return b"".join(part for one in output.data for part in (len(one).to_bytes(_LENGTH_BYTES, "little"), one))
