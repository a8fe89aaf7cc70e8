"""Tiny ONNX models, written as the bytes of their protocol buffers (onnx.proto, opset 17), by hand.

A field is its tag (number << 3 | wire type) and its value; wire type 0 is a varint, 2 a length and so many
bytes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

FLOAT, INTS = 1, 7  # TensorProto.DataType; AttributeProto.AttributeType


def varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def chunk(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor(name: str, array: NDArray[np.float32]) -> bytes:
    dims = b"".join(number(1, size) for size in array.shape)
    return dims + number(2, FLOAT) + chunk(8, name) + chunk(9, array.astype("<f4").tobytes())


def node(kind: str, inputs: Sequence[str], output: str, **ints: Sequence[int]) -> bytes:
    attributes = b"".join(
        chunk(5, chunk(1, name) + b"".join(number(8, each) for each in values) + number(20, INTS))
        for name, values in ints.items()
    )
    return b"".join(chunk(1, each) for each in inputs) + chunk(2, output) + chunk(4, kind) + attributes


def value_info(name: str, shape: Sequence[int | str]) -> bytes:
    dims = b"".join(chunk(1, number(1, d) if isinstance(d, int) else chunk(2, d)) for d in shape)
    return chunk(1, name) + chunk(2, chunk(1, number(1, FLOAT) + chunk(2, dims)))


def model(
    nodes: Sequence[bytes], weights: Mapping[str, NDArray[np.float32]], inputs: bytes, outputs: bytes
) -> bytes:
    graph = (
        b"".join(chunk(1, each) for each in nodes)
        + chunk(2, "made")
        + b"".join(chunk(5, tensor(name, array)) for name, array in weights.items())
        + chunk(11, inputs)
        + chunk(12, outputs)
    )
    return number(1, 8) + chunk(7, graph) + chunk(8, number(2, 17))


def voxelwise(gains: Sequence[float], offsets: Sequence[float]) -> bytes:
    """Channel c of the output is gains[c] × input + offsets[c], voxel by voxel."""
    weights = {
        "gain": np.array(gains, np.float32).reshape(-1, 1, 1, 1, 1),
        "offset": np.array(offsets, np.float32),
    }
    cube: tuple[int | str, ...] = ("n", 1, "a", "b", "c")
    made: tuple[int | str, ...] = ("n", len(gains), "a", "b", "c")
    conv = node("Conv", ["image", "gain", "offset"], "said", kernel_shape=(1, 1, 1))
    return model([conv], weights, value_info("image", cube), value_info("said", made))


def mean_classifier(gains: Sequence[float], offsets: Sequence[float]) -> bytes:
    """Class c is gains[c] × mean of the input + offsets[c]."""
    weights = {
        "gain": np.array(gains, np.float32).reshape(1, -1),
        "offset": np.array(offsets, np.float32),
    }
    nodes = [
        node("GlobalAveragePool", ["image"], "mean"),
        node("Flatten", ["mean"], "flat"),
        node("Gemm", ["flat", "gain", "offset"], "said"),
    ]
    return model(
        nodes, weights, value_info("image", ("n", 1, "a", "b", "c")), value_info("said", ("n", len(gains)))
    )
