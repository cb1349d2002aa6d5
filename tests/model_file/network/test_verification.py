"""Networks that nobody vouches for: what Lince writes passes; one thing altered is refused before LiteRT reads it."""

import struct
from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from mutate_model import places

from lince.errors import ModelFileError
from lince.model_file import artifact, network
from lince.model_file.network import graph, verification
from lince.model_file.network.flatbuffer import Table

SHIPPED = artifact.read(artifact.locate(artifact.SHIPPED)).flatbuffer
PIXELS, CONVOLUTION, POOLING, ADDITION, DENSE = 0, 1, 3, 6, 18  # places of operations of the model that ships


def parsed() -> Any:
    return flatbuffer_utils.read_model_from_bytearray(bytearray(SHIPPED))


def written(model: Any) -> bytes:
    """The flatbuffer of a parsed model, nothing left out."""
    builder = flatbuffers.Builder(2**22)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def operand(model: Any, operation: int, number: int) -> Any:
    """The tensor that an operation reads at a place."""
    found = model.subgraphs[0]
    return found.tensors[found.operators[operation].inputs[number]]


def result(model: Any, operation: int) -> Any:
    found = model.subgraphs[0]
    return found.tensors[found.operators[operation].outputs[0]]


def options(model: Any, operation: int) -> Any:
    return model.subgraphs[0].operators[operation].builtinOptions


def changed(thing: Callable[[Any], Any], **values: Any) -> Callable[[Any], None]:
    """A change of attributes of the thing that is found in a parsed model."""

    def change(model: Any) -> None:
        found = thing(model)
        for name, value in values.items():
            assert hasattr(found, name)
            setattr(found, name, value)

    return change


def kernel(model: Any) -> Any:
    return operand(model, CONVOLUTION, 1)


def data_of(model: Any, tensor: Any) -> Any:
    return model.buffers[tensor.buffer]


def cut_kernel(model: Any) -> None:
    found = data_of(model, kernel(model))
    found.data = found.data[:-1]


def cut_scales(model: Any) -> None:
    found = kernel(model).quantization
    found.scale, found.zeroPoint = found.scale[:-1], found.zeroPoint[:-1]


def second_graph(model: Any) -> None:
    model.subgraphs.append(model.subgraphs[0])


def reversed_order(model: Any) -> None:
    model.subgraphs[0].operators.reverse()


def cycle(model: Any) -> None:
    model.subgraphs[0].operators[ADDITION].inputs = list(model.subgraphs[0].operators[ADDITION].outputs) * 2


def written_twice(model: Any) -> None:
    model.subgraphs[0].operators.insert(2, model.subgraphs[0].operators[1])


def constant_written(model: Any) -> None:
    found = model.subgraphs[0].operators
    found[CONVOLUTION].outputs = [found[CONVOLUTION].inputs[1]]


def activation_as_kernel(model: Any) -> None:
    found = model.subgraphs[0].operators[CONVOLUTION]
    found.inputs = [found.inputs[0], found.inputs[0], found.inputs[2]]


def with_outputs(*indices: int) -> Callable[[Any], None]:
    """A change of the outputs, which the signature names, too."""

    def change(model: Any) -> None:
        model.subgraphs[0].outputs = list(indices)
        ends = [schema.TensorMapT() for _ in indices]
        for end, index in zip(ends, indices, strict=True):
            end.name, end.tensorIndex = f"output {index}".encode(), index
        model.signatureDefs[0].outputs = ends

    return change


def huge_pooling(model: Any) -> None:
    found = options(model, POOLING)
    found.filterWidth = found.filterHeight = 1024
    found.strideW = found.strideH = 1
    found.padding = 0
    result(model, POOLING).shape = operand(model, POOLING, 0).shape
    result(model, POOLING).shapeSignature = None


CHANGES = {
    "schema version": (changed(lambda model: model, version=4), "of schema version 4"),
    "two graphs": (second_graph, "2 subgraphs, not one"),
    "description": (changed(lambda model: model, description=b"mine"), "field 3, which Lince never writes"),
    "custom operation": (changed(lambda model: model.operatorCodes[0], customCode=b"Flex"), "field 1, which Lince"),
    "other operation": (
        changed(lambda model: model.operatorCodes[0], builtinCode=5, deprecatedBuiltinCode=5),
        "LiteRT's number 5, which Lince never writes",
    ),
    "two codes": (changed(lambda model: model.operatorCodes[0], deprecatedBuiltinCode=9), "codes 3 and 9"),
    "version": (changed(lambda model: model.operatorCodes[0], version=-1), "an operation of codes"),
    "code that is not there": (changed(lambda model: model.subgraphs[0].operators[0], opcodeIndex=99), "code 99 of 5"),
    "variable": (changed(kernel, isVariable=True), "field 5, which Lince never writes"),
    "outside buffer": (changed(lambda model: model.buffers[1], offset=8, size=8), "field 1, which Lince never writes"),
    "buffer that is not there": (changed(kernel, buffer=999), "lies in buffer 999"),
    "negative shape": (changed(kernel, shape=[24, -2, 2, 3]), "no shape of one to four positive dimensions"),
    "zero shape": (changed(kernel, shape=[24, 0, 2, 3]), "no shape of one to four positive dimensions"),
    "no shape": (changed(kernel, shape=None), "no shape of one to four positive dimensions"),
    "five dimensions": (changed(kernel, shape=[24, 1, 2, 2, 3]), "no shape of one to four positive dimensions"),
    "large shape": (changed(lambda model: result(model, 1), shape=[2**31 - 1] * 4, shapeSignature=None), "bytes, more"),
    "signature": (changed(lambda model: result(model, 1), shapeSignature=[-1, 3, 3, 3]), "another shape than its sign"),
    "type": (changed(kernel, type=schema.TensorType.STRING), "is of type 5"),
    "wider type": (changed(kernel, type=schema.TensorType.INT32), "its buffer has"),
    "short constant": (cut_kernel, "needs 288 bytes, its buffer has 287"),
    "scales for some": (cut_scales, "23 scales and 23 zero points"),
    "scales without zero points": (changed(lambda model: kernel(model).quantization, zeroPoint=None), "0 zero points"),
    "another axis": (changed(lambda model: kernel(model).quantization, quantizedDimension=3), "zero points along 3"),
    "negative axis": (changed(lambda model: kernel(model).quantization, quantizedDimension=-1), "zero points along -1"),
    "scale 0": (changed(lambda model: result(model, 1).quantization, scale=[0.0]), "scales that are not positive"),
    "scale below 0": (changed(lambda model: result(model, 1).quantization, scale=[-0.1]), "scales that are not posit"),
    "scale NaN": (changed(lambda model: result(model, 1).quantization, scale=[float("nan")]), "scales that are not p"),
    "scale infinite": (changed(lambda model: result(model, 1).quantization, scale=[float("inf")]), "scales that are n"),
    "zero point": (changed(lambda model: result(model, 1).quantization, zeroPoint=[128]), "that its type does not all"),
    "quotient of scales": (changed(lambda model: result(model, 1).quantization, scale=[1e-20]), "scales that LiteRT"),
    "sum of scales": (changed(lambda model: result(model, 6).quantization, scale=[1e-9]), r"\(ADD\) has scales that"),
    "no quantization": (changed(lambda model: result(model, 1), quantization=None), "scales that LiteRT cannot"),
    "stride 0": (changed(lambda model: options(model, CONVOLUTION), strideW=0), r"strides of \(1, 0\)"),
    "stride below 0": (changed(lambda model: options(model, POOLING), strideH=-2), r"strides of \(-2, 2\)"),
    "large stride": (changed(lambda model: options(model, POOLING), strideH=2**30), r"strides of \(1073741824, 2\)"),
    "filter 0": (changed(lambda model: options(model, POOLING), filterHeight=0), r"windows of \(0, 2\)"),
    "large filter": (huge_pooling, r"31 × 31 windows of \(1024, 1024\)"),
    "padding": (changed(lambda model: options(model, CONVOLUTION), padding=2), "padding 2"),
    "dilation 0": (changed(lambda model: options(model, CONVOLUTION), dilationWFactor=0), "has a dilation"),
    "activation": (changed(lambda model: options(model, CONVOLUTION), fusedActivationFunction=4), "activation 4"),
    "weights format": (changed(lambda model: options(model, DENSE), weightsFormat=1), "field 1, which Lince"),
    "options of another": (
        changed(lambda model: model.subgraphs[0].operators[CONVOLUTION], builtinOptionsType=5),
        "options of type 5",
    ),
    "no options": (
        changed(lambda model: model.subgraphs[0].operators[CONVOLUTION], builtinOptionsType=0, builtinOptions=None),
        "options of type 0",
    ),
    "result": (changed(lambda model: result(model, POOLING), shape=[1, 16, 15, 96], shapeSignature=None), "writes"),
    "operand missing": (changed(lambda model: model.subgraphs[0].operators[1], inputs=[-1, 21, 22]), "no value"),
    "operand outside": (changed(lambda model: model.subgraphs[0].operators[1], inputs=[0, 21, 999]), "does not exist"),
    "operands few": (changed(lambda model: model.subgraphs[0].operators[1], inputs=[0]), "1 inputs"),
    "operands none": (changed(lambda model: model.subgraphs[0].operators[1], inputs=None), "one to three inputs"),
    "result outside": (changed(lambda model: model.subgraphs[0].operators[1], outputs=[-1]), "does not exist"),
    "order": (reversed_order, "reads a tensor that has no value"),
    "cycle": (cycle, "reads a tensor that has no value"),
    "written twice": (written_twice, "a tensor that was written before"),
    "constant written": (constant_written, "writes a constant"),
    "activation for a constant": (activation_as_kernel, "of the wrong kind"),
    "input outside": (changed(lambda model: model.subgraphs[0], inputs=[42]), "inputs are not exactly one tensor"),
    "inputs two": (changed(lambda model: model.subgraphs[0], inputs=[41, 0]), "inputs are not exactly one tensor"),
    "input of another type": (
        changed(lambda model: operand(model, PIXELS, 0), type=0, quantization=None),
        "reads tensors of type 0",
    ),
    "output": (changed(lambda model: result(model, DENSE), shape=[1, 2, 5], shapeSignature=None), "returns type"),
    "output not written": (lambda model: model.subgraphs[0].operators.pop(), "nothing writes its output"),
    "outputs three": (with_outputs(40, 33, 28), "outputs are not one or two tensors"),
    "output twice": (with_outputs(40, 40), "outputs are not one or two tensors"),
    "outputs exchanged": (with_outputs(33, 40), "returns type 9 and shape"),
    "output outside": (with_outputs(40, 42), "outputs are not one or two tensors"),
    "pixels for features": (with_outputs(40, 41), "returns features of type 3"),
    "biases for features": (with_outputs(40, 22), "returns features of type 2"),
    "a kernel for features": (with_outputs(40, 21), r"returns features of type 9 and shape \(24, "),
    "features not in the signature": (
        changed(lambda model: model.subgraphs[0], outputs=[40, 28]),
        "signature does not name",
    ),
    "signature elsewhere": (
        changed(lambda model: model.signatureDefs[0].inputs[0], tensorIndex=1000),
        "signature does not name",
    ),
    "signature of another graph": (changed(lambda model: model.signatureDefs[0], subgraphIndex=1), "not name its own"),
    "signature without a key": (changed(lambda model: model.signatureDefs[0], signatureKey=None), "not name its own"),
    "long name": (changed(lambda model: result(model, 1), name=b"n" * 5000), "points out of bounds"),
    "name of bytes": (changed(lambda model: result(model, 1), name=b"\xff"), "not UTF-8"),
    "name with an end": (changed(lambda model: result(model, 1), name=b"a\0b"), "points out of bounds"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "match"), CHANGES.values(), ids=CHANGES.keys())
def test_one_thing_altered_is_refused(change: Callable[[Any], None], match: str):
    """A flatbuffer that is sound as a flatbuffer; the sentence says what is wrong with it, and what to do."""
    model = parsed()
    change(model)
    with pytest.raises(ModelFileError, match=rf"its network cannot be trusted: .*{match}.*Write the file again"):
        network.verify(written(model))


def test_what_ships_passes():
    """As it is, and written anew as the changes above are."""
    network.verify(SHIPPED)
    network.verify(written(parsed()))


def test_a_network_without_features_passes():
    """One output is enough."""
    model = parsed()
    with_outputs(40)(model)
    assert 0 == network.verify(written(model)).num_features


def test_features_are_bounded(monkeypatch: pytest.MonkeyPatch):
    """Their covariance is a square."""
    monkeypatch.setattr(verification, "MOST_FEATURES", 175)
    with pytest.raises(ModelFileError, match="returns 176 features, more than 175"):
        network.verify(SHIPPED)


def test_every_word_of_the_tables_can_be_anything():
    """Offsets, vtables and lengths that lead nowhere, or to each other: refused or read, never another error."""
    rng = np.random.default_rng(0)
    refused = 0
    for place in rng.choice(np.unique(places(SHIPPED) & ~3), 1000, replace=False):
        data = bytearray(SHIPPED)
        struct.pack_into("<I", data, int(place), int(rng.choice((0, 1, 4, 2**16, 2**31 - 1, 2**31, 2**32 - 4))))
        try:
            network.verify(bytes(data))
        except ModelFileError:
            refused += 1
    assert refused > 300


@pytest.mark.parametrize("length", [0, 4, 7, 8, 20, 100, len(SHIPPED) // 2, len(SHIPPED) - 1])
def test_cut_off(length: int):
    """Wherever it ends early."""
    with pytest.raises(ModelFileError, match=r"points out of bounds|subgraphs"):
        network.verify(SHIPPED[:length])


def test_vtables_are_small():
    """A vtable of 65,534 bytes, which thousands of tables may share, is not read entry by entry."""
    data = bytearray(200_000)
    struct.pack_into("<i", data, 1000, 1000 - 2000)
    struct.pack_into("<HH", data, 2000, 65534, 8)
    with pytest.raises(ModelFileError, match="a table points out of bounds"):
        Table(bytes(data), 1000, {}, "a table")


def test_costs_are_bounded():
    """Weights that many operations share are counted for each, since XNNPACK keeps a copy of them for each."""
    model = parsed()
    found = model.subgraphs[0]
    pattern, source = found.operators[4], result(model, 4)
    for _ in range(3500):  # 96 channels to 96: a chain that is sound but for its cost
        tensor = schema.TensorT()
        vars(tensor).update(vars(source))
        found.tensors.append(tensor)
        another = schema.OperatorT()
        vars(another).update(vars(pattern))
        another.inputs = [pattern.inputs[0], *pattern.inputs[1:]]
        another.outputs = [len(found.tensors) - 1]
        found.operators.append(another)
    with pytest.raises(ModelFileError, match=r"multiplies .* times an image, more than|weights, more than"):
        network.verify(written(model))


def test_reads_what_is_there():
    """The records say what LiteRT's own reader says."""
    read, model = graph.read(SHIPPED), parsed().subgraphs[0]
    assert [tuple(tensor.shape) for tensor in model.tensors] == [tensor.shape for tensor in read.tensors]
    assert [tuple(one.inputs) for one in model.operators] == [operator.inputs for operator in read.operators]
    assert ([read.pixels], [read.logits, read.features]) == (list(model.inputs), list(model.outputs))
