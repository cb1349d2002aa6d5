"""Writes a small LiteRT flatbuffer: only what inference reads, and equal vectors once."""

from typing import Any

import flatbuffers
import numpy as np

_IDENTIFIER = b"TFL3"


def pack(model: Any) -> bytes:
    """Serialises a parsed flatbuffer.

    Names of constants, the converter's metadata and unused buffers are left out. Tensors that operations write keep
    their names. Vectors of equal content are stored once, for example the zero points of per-channel weights (8 bytes
    a channel, all 0): the format allows any number of references to one vector.

    Args:
        model: as `flatbuffer_utils` parses it; it is modified.
    """
    model.metadata = model.metadataBuffer = model.description = None
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            _slim(tensor, constant=model.buffers[tensor.buffer].data is not None)
    _drop_unused_buffers(model)
    for buffer in model.buffers:  # flatbuffers writes a bytearray byte by byte: 3 s for 8 MB
        buffer.data = _array(buffer.data, np.uint8)
    builder = _SharingBuilder(1024)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _slim(tensor: Any, *, constant: bool) -> None:
    """Drops what inference does not read, and makes lists arrays: only arrays reach `CreateNumpyVector`."""
    tensor.shape, tensor.shapeSignature = _array(tensor.shape, np.int32), _array(tensor.shapeSignature, np.int32)
    if constant:
        tensor.name = tensor.shapeSignature = None
    quantization = tensor.quantization
    if quantization is not None:
        quantization.min = quantization.max = None
        quantization.scale = _array(quantization.scale, np.float32)
        quantization.zeroPoint = _array(quantization.zeroPoint, np.int64)


def _array(values: Any, dtype: type[np.generic]) -> np.ndarray | None:
    return None if values is None else np.asarray(values, dtype)


def _drop_unused_buffers(model: Any) -> None:
    """Buffer 0 stays: by convention it is empty, and every tensor that is not a constant refers to it."""
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    used = sorted({0, *(tensor.buffer for tensor in tensors)})
    places = {old: new for new, old in enumerate(used)}
    model.buffers = [model.buffers[old] for old in used]
    for tensor in tensors:
        tensor.buffer = places[tensor.buffer]


class _SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers has no type stubs
    """Writes each vector once, and refers to it when another has the same type and content."""

    def __init__(self, size: int):
        super().__init__(size)
        self._written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802, the base class's name
        key = (x.dtype.str, x.tobytes())
        if key not in self._written:
            self._written[key] = int(super().CreateNumpyVector(x))
        return self._written[key]
