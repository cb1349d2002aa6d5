"""Requests and answers of the Open Inference Protocol as bytes: JSON, and tensors in binary behind it.

The tensors of a request hold their data in JSON; or the JSON has `Inference-Header-Content-Length` bytes, and behind it
is the data of those tensors that have the parameter `binary_data_size`, in their order. Numbers are little-endian. An
element of BYTES has its length before it, 4 bytes. Source: the protocol's "Inference REST", and its extension "binary
tensor data" as Triton defines it. Nothing here knows about images.
"""

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from jaxtyping import Shaped

from lince.serving.protocols.named_outputs import MAX_NUMBERS, invalid, shown

LENGTH_HEADER = "inference-header-content-length"

_SIZE, _SIZED, _ENCODED = "binary_data_size", "<u4", "content_type"
_LENGTH_BYTES = 4
_MAX_RANK = 8
_MAX_TENSORS = 16  # of a request: inputs, and outputs that it names
_OF_INPUTS = ("UINT8", "BYTES")
_OF_OUTPUTS = {"FP32": "<f4", "BOOL": "?"}  # and BYTES

Name = Annotated[str, msgspec.Meta(max_length=1000)]
Shape = Annotated[list[Annotated[int, msgspec.Meta(ge=0, le=2**31)]], msgspec.Meta(max_length=_MAX_RANK)]
Parameters = dict[str, str | bool | int | float | None]


class Input(msgspec.Struct, frozen=True):
    """A tensor of a request, as its JSON describes it."""

    name: Name
    shape: Shape
    datatype: str
    parameters: Parameters = {}
    data: msgspec.Raw = msgspec.Raw()


class WantedOutput(msgspec.Struct, frozen=True):
    """An output that a request names."""

    name: Name
    parameters: Parameters = {}


class InferRequest(msgspec.Struct, frozen=True):
    """The JSON of a request. Other keys are ignored, as the protocol asks."""

    inputs: Annotated[list[Input], msgspec.Meta(max_length=_MAX_TENSORS)]
    id: Name | None = None
    parameters: Parameters = {}
    outputs: Annotated[list[WantedOutput], msgspec.Meta(max_length=_MAX_TENSORS)] = []


@dataclass(frozen=True)
class Tensor:
    """A tensor with its data.

    Attributes:
        name, datatype, shape: as the protocol has them.
        data: an array of the shape; for BYTES a flat sequence of elements. An input is UINT8 or BYTES.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Shaped[np.ndarray, "..."] | Sequence[bytes]


def parse(body: bytes, header_length: str | None) -> tuple[InferRequest, tuple[Tensor, ...]]:
    """The JSON of a request, and its tensors with their data.

    Args:
        body: whole, not compressed.
        header_length: the value of `LENGTH_HEADER`, if the request has that header.

    Raises:
        RequestError: the body does not keep to the protocol.
    """
    length = _header_length(header_length, len(body))
    try:
        request = msgspec.json.decode(body[:length], type=InferRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The JSON of the request is not valid: {error}. Expected an object with 'inputs'.") from error
    names = [one.name for one in request.inputs]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise invalid(f"Received two inputs {shown(min(doubled))}. Expected each name once.")
    tensors, rest = [], memoryview(body)[length:]
    for one in request.inputs:
        tensor, rest = _tensor(one, rest)
        tensors.append(tensor)
    if rest:
        raise invalid(f"{len(rest):,} bytes follow the last tensor. Expected none: see {_SIZE!r} of the inputs.")
    return request, tuple(tensors)


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


def _tensor(one: Input, rest: memoryview) -> tuple[Tensor, memoryview]:
    """A tensor with its data, and what is left of the bytes behind the JSON."""
    count, size = math.prod(one.shape), one.parameters.get(_SIZE)
    if one.datatype not in _OF_INPUTS:
        expected = " or ".join(_OF_INPUTS)
        raise invalid(f"Input {shown(one.name)} has the datatype {shown(one.datatype)}. Expected {expected}.")
    if size is not None and one.data:
        raise invalid(f"Input {shown(one.name)} has both 'data' and {_SIZE!r}. Expected one of them.")
    if size is None:
        if not one.data:
            raise invalid(f"Input {shown(one.name)} has neither 'data' nor {_SIZE!r}. Expected one of them.")
        data = _encoded(one, count) if one.datatype == "BYTES" else _numbers(one, count)
        return Tensor(one.name, one.datatype, tuple(one.shape), data), rest
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
        raise invalid(
            f"{_SIZE!r} of input {shown(one.name)} is {shown(size)}. Expected a number of bytes, at most the "
            f"{len(rest):,} that are left of the body."
        )
    blob = rest[:size]
    found = _elements(one, blob, count) if one.datatype == "BYTES" else _array(one, blob, count)
    return Tensor(one.name, one.datatype, tuple(one.shape), found), rest[size:]


def _array(one: Input, blob: memoryview, count: int) -> np.ndarray:
    if len(blob) != count:
        raise invalid(f"Input {shown(one.name)} has {len(blob):,} bytes of data. Expected {count:,} for {one.shape}.")
    return np.frombuffer(blob, np.uint8).reshape(one.shape)


def _elements(one: Input, blob: memoryview, count: int) -> list[bytes]:
    """The elements of BYTES: each has its length before it."""
    found: list[bytes] = []
    place = 0
    while place < len(blob) and len(found) <= count:
        start = place + _LENGTH_BYTES
        place = start + int.from_bytes(blob[place:start], "little")
        if start > len(blob) or place > len(blob):
            raise invalid(
                f"Element {len(found)} of input {shown(one.name)} ends behind the data. Expected a length of "
                f"{_LENGTH_BYTES} bytes, little-endian, and as many bytes."
            )
        found.append(bytes(blob[start:place]))
    if len(found) != count:
        received = f"more than {count:,}" if len(found) > count else f"{len(found):,}"
        raise invalid(f"Input {shown(one.name)} has {received} elements. Expected {count:,} for {one.shape}.")
    return found


def _numbers(one: Input, count: int) -> np.ndarray:
    """Numbers in JSON, flat or nested as the shape is.

    Brackets and commas are counted first: a body of empty lists would take 20 times its size as Python objects.
    """
    text = bytes(one.data)
    lists = sum(math.prod(one.shape[:rank]) for rank in range(len(one.shape)))
    is_nested = text.count(b"[") > 1
    if count > MAX_NUMBERS:
        raise invalid(
            f"Input {shown(one.name)} has {count:,} numbers in JSON. Expected at most {MAX_NUMBERS:,}: send them "
            f"as binary data, with {_SIZE!r}."
        )
    if text.count(b",") != max(0, count - 1) or text.count(b"[") not in (1, lists):
        raise invalid(
            f"The data of input {shown(one.name)} does not have {count:,} numbers. Expected a list of as many as the "
            f"shape {one.shape} has, or lists in lists of that shape."
        )
    kind: Any = Annotated[int, msgspec.Meta(ge=0, le=255)]
    for _ in range(len(one.shape) if is_nested else 1):
        kind = list[kind]
    try:
        return np.array(msgspec.json.decode(text, type=kind), np.uint8).reshape(one.shape)
    except (msgspec.DecodeError, ValueError) as error:
        raise invalid(f"The data of input {shown(one.name)} is not UINT8 {one.shape}: {error}.") from error


def _encoded(one: Input, count: int) -> list[bytes]:
    """Elements of BYTES in JSON, which are base64 here: JSON has no bytes."""
    if one.parameters.get(_ENCODED) != "base64":
        raise invalid(
            f"Input {shown(one.name)} is BYTES in JSON. Expected base64, and the parameter {_ENCODED!r}: 'base64' with "
            f"it, or binary data with {_SIZE!r}."
        )
    text = bytes(one.data)
    if text.count(b"[") not in (1, count + 1):  # see `_numbers`
        raise invalid(f"The data of input {shown(one.name)} does not have {count:,} texts, as {one.shape} says.")
    try:
        texts = msgspec.json.decode(text, type=list[str | list[str]])
        flat = [text for entry in texts for text in ([entry] if isinstance(entry, str) else entry)]
        found = [base64.b64decode(text, validate=True) for text in flat]
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise invalid(f"The data of input {shown(one.name)} is not a list of base64 texts: {error}.") from error
    if len(found) != count:
        raise invalid(f"Input {shown(one.name)} has {len(found):,} elements. Expected {count:,} for {one.shape}.")
    return found


def _to_binary(output: Tensor) -> bytes:
    if isinstance(output.data, np.ndarray):
        return output.data.astype(_OF_OUTPUTS[output.datatype]).tobytes()
    return b"".join(part for one in output.data for part in (len(one).to_bytes(_LENGTH_BYTES, "little"), one))
