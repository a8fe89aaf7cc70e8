"""JSON Patch (RFC 6902) over JSON Pointer (RFC 6901), on values with exact decimals.

Own code: the libraries take Python's equality for JSON's, where `true` is 1, and copy with floats in mind.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from fhir.model.json_codec import Json, encode_json, require_shallow
from fhir.patching.faults import InvalidPatch, PatchFailed

MAX_OPERATIONS = 1_000  # of one patch
MAX_COPIED_BYTES = 1 << 20  # by `copy`, together: each may double what the one before has made

_END = "-"  # the place after the last entry of an array

Pointer = tuple[str, ...]
Decode = Callable[[bytes], Json]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `value` and `source` only where it has them."""

    op: str
    path: Pointer
    value: Json = None
    source: Pointer = ()


def read_json_patch(text: bytes, decode: Decode) -> tuple[Operation, ...]:
    """The operations of a patch document; `decode` reads JSON exactly.

    Raises:
        InvalidJson: as `decode` does.
        InvalidPatch: no JSON Patch.
    """
    written = decode(text)
    if not isinstance(written, list) or not all(isinstance(each, dict) for each in written):
        raise InvalidPatch("The body is no JSON Patch: an array of operations.")
    if len(written) > MAX_OPERATIONS:
        raise InvalidPatch(f"A patch has at most {MAX_OPERATIONS} operations.")
    return tuple(_operation(at, members) for at, members in enumerate(written))


def apply_json_patch(operations: Sequence[Operation], resource: Json) -> Json:
    """A copy of the resource with all operations applied in order; all or none.

    Raises:
        PatchFailed: one cannot be applied, or a test does not hold.
    """
    root = {"": deepcopy(resource)}
    copied = 0
    for at, operation in enumerate(operations):
        try:
            if operation.op == "copy" and (copied := copied + _size_of(root, operation)) > MAX_COPIED_BYTES:
                raise PatchFailed(f"A patch copies at most {MAX_COPIED_BYTES} bytes.")
            _APPLY[operation.op](root, operation)
        except (KeyError, IndexError, ValueError):
            raise PatchFailed(f"Operation {at} ({operation.op}) does not fit the resource.") from None
    if "" not in root:
        raise PatchFailed("A patch does not remove the resource itself.")
    return root[""]


def _operation(at: int, members: Mapping[str, Json]) -> Operation:
    op = members.get("op")
    if not isinstance(op, str) or op not in _APPLY:
        raise InvalidPatch(f"Operation {at} is none of {', '.join(_APPLY)}.")
    if op in ("add", "replace", "test") and "value" not in members:
        raise InvalidPatch(f"Operation {at} ({op}) needs a value.")
    source = _pointer(at, members.get("from")) if op in ("move", "copy") else ()
    path = _pointer(at, members.get("path"))
    if op == "move" and path[: len(source)] == source and path != source:
        raise InvalidPatch(f"Operation {at} moves a value into itself.")
    return Operation(op, path, members.get("value"), source)


def _pointer(at: int, text: Json) -> Pointer:
    """A JSON Pointer's tokens, below the empty name that holds the resource."""
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise InvalidPatch(f"Operation {at} has no JSON Pointer where one is needed.")
    tokens = text.split("/")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in tokens)


def _parent(root: Json, path: Pointer) -> Json:
    node = root
    for token in path[:-1]:
        node = _child(node, token)
    return node


def _child(node: Json, token: str) -> Json:
    if isinstance(node, list):
        return node[_index(token)]
    if isinstance(node, dict):
        return node[token]
    raise KeyError(token)


def _index(token: str) -> int:
    if not token.isascii() or not token.isdigit() or (token[0] == "0" and len(token) > 1) or len(token) > 9:
        raise IndexError(token)
    return int(token)


def _add(root: Json, operation: Operation) -> None:
    parent, last = _parent(root, operation.path), operation.path[-1]
    if isinstance(parent, list):
        index = len(parent) if last == _END else _index(last)
        if index > len(parent):
            raise IndexError(last)
        parent.insert(index, deepcopy(operation.value))
    elif isinstance(parent, dict):
        parent[last] = deepcopy(operation.value)
    else:
        raise KeyError(last)


def _remove(root: Json, operation: Operation) -> None:
    _take(root, operation.path)


def _take(root: Json, path: Pointer) -> Json:
    """Take the value out; what it leaves empty stays: a later operation may fill it."""
    parent, last = _parent(root, path), path[-1]
    if isinstance(parent, list):
        return parent.pop(_index(last))
    if isinstance(parent, dict):
        return parent.pop(last)
    raise KeyError(last)


def _replace(root: Json, operation: Operation) -> None:
    parent, last = _parent(root, operation.path), operation.path[-1]
    _child(parent, last)  # it must be there
    parent[_index(last) if isinstance(parent, list) else last] = deepcopy(operation.value)


def _move(root: Json, operation: Operation) -> None:
    value = _take(root, operation.source)
    _add(root, Operation("add", operation.path, value))


def _copy(root: Json, operation: Operation) -> None:
    _add(root, Operation("add", operation.path, _source(root, operation)))


def _source(root: Json, operation: Operation) -> Json:
    return _child(_parent(root, operation.source), operation.source[-1])


def _size_of(root: Json, operation: Operation) -> int:
    """The bytes that a `copy` adds; what is too deep to be copied is refused."""
    value = _source(root, operation)
    require_shallow(value)
    return len(encode_json(value))


def _test(root: Json, operation: Operation) -> None:
    if not _equal(_child(_parent(root, operation.path), operation.path[-1]), operation.value):
        raise ValueError("differs")


def _equal(one: Json, other: Json) -> bool:
    """Equality of JSON values (RFC 6902 §4.6): numbers by value, and no boolean is a number."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


_APPLY: Mapping[str, Callable[[Any, Operation], None]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
