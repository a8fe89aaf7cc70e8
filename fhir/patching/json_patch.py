"""JSON Patch (RFC 6902) over JSON Pointer (RFC 6901), on values with exact decimals.

Own code: the libraries take Python's equality for JSON's, where `true` is 1, and copy with floats in mind.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import msgspec

from fhir.model.json_codec import Json
from fhir.patching.faults import InvalidPatch, PatchFailed

MAX_OPERATIONS = 1_000  # of one patch; each may copy a part of the resource

_DECODER = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
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
    """The operations of a patch document; `decode` reads a value exactly.

    Raises:
        InvalidPatch: no JSON Patch.
    """
    try:
        written = _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidPatch("The body is no JSON Patch: an array of operations.") from None
    if len(written) > MAX_OPERATIONS:
        raise InvalidPatch(f"A patch has at most {MAX_OPERATIONS} operations.")
    return tuple(_operation(at, members, decode) for at, members in enumerate(written))


def apply_json_patch(operations: Sequence[Operation], resource: Json) -> Json:
    """A copy of the resource with all operations applied in order; all or none.

    Raises:
        PatchFailed: one cannot be applied, or a test does not hold.
    """
    root = {"": deepcopy(resource)}
    for at, operation in enumerate(operations):
        try:
            _APPLY[operation.op](root, operation)
        except (KeyError, IndexError, ValueError):
            raise PatchFailed(f"Operation {at} ({operation.op}) does not fit the resource.") from None
    if "" not in root:
        raise PatchFailed("A patch does not remove the resource itself.")
    return root[""]


def _operation(at: int, members: Mapping[str, msgspec.Raw], decode: Decode) -> Operation:
    op = _string(members.get("op"))
    if op is None or op not in _APPLY:
        raise InvalidPatch(f"Operation {at} is none of {', '.join(_APPLY)}.")
    if op in ("add", "replace", "test") and "value" not in members:
        raise InvalidPatch(f"Operation {at} ({op}) needs a value.")
    source = _pointer(at, members.get("from")) if op in ("move", "copy") else ()
    path = _pointer(at, members.get("path"))
    if op == "move" and path[: len(source)] == source and path != source:
        raise InvalidPatch(f"Operation {at} moves a value into itself.")
    value = decode(bytes(members["value"])) if "value" in members else None
    return Operation(op, path, value, source)


def _string(raw: msgspec.Raw | None) -> str | None:
    found = None if raw is None else msgspec.json.decode(raw)
    return found if isinstance(found, str) else None


def _pointer(at: int, raw: msgspec.Raw | None) -> Pointer:
    """A JSON Pointer's tokens, below the empty name that holds the resource."""
    text = _string(raw)
    if text is None or (text and not text.startswith("/")):
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
    value = _child(_parent(root, operation.source), operation.source[-1])
    _add(root, Operation("add", operation.path, value))


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
