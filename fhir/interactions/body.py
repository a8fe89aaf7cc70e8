"""A resource's text: kept as sent, with our `id` and `meta` spliced in (FHIR R4 resource.html#Meta).

Values of elements are never parsed and written again: order, numbers and escapes stay as the client wrote
them.
"""

from collections.abc import Mapping

import msgspec
import orjson
import zstandard

from fhir.model.json_codec import Json, encode_json
from server.kernel.clock import instant_text

COMPRESS_ABOVE_BYTES = 2_048  # below it zstd saves little and costs a call on each read
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # a JSON text begins with "{", so the two cannot be taken for each other
MAX_RESOURCE_BYTES = 16 << 20  # of one resource; larger content belongs into DICOM or Binary storage

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_SORTED = msgspec.json.Encoder(decimal_format="number", order="sorted")


def with_identity(text: bytes, resource_id: str, version_id: int, last_updated_us: int) -> bytes:
    """The resource's text with this id, meta.versionId and meta.lastUpdated; other meta stays as sent."""
    members = _MEMBERS.decode(text)
    meta = _MEMBERS.decode(members["meta"]) if "meta" in members else {}
    stamped = {
        "versionId": _text(str(version_id)),
        "lastUpdated": _text(instant_text(last_updated_us)),
        **{name: value for name, value in meta.items() if name not in ("versionId", "lastUpdated")},
    }
    first: dict[str, bytes | msgspec.Raw] = {
        "resourceType": members["resourceType"],
        "id": _text(resource_id),
        "meta": _joined(stamped),
    }
    return _joined(first | {name: value for name, value in members.items() if name not in first})


def members_of(text: bytes) -> Mapping[str, bytes]:
    """The top-level elements of a resource's text, each as its own text."""
    return {name: bytes(value) for name, value in _MEMBERS.decode(text).items()}


def with_members(text: bytes, changed: Mapping[str, bytes | None]) -> bytes:
    """The resource's text with these top-level elements set, or left out where None; others stay as sent."""
    members = {**members_of(text), **changed}
    return _joined({name: value for name, value in members.items() if value is not None})


def same_content(one: Json, other: Json) -> bool:
    """Whether two resources say the same, decimals to the digit, whatever their `meta` and order of names."""
    return _content(one) == _content(other)


def pack(text: bytes) -> bytes:
    """The text as it is stored."""
    if len(text) <= COMPRESS_ABOVE_BYTES:
        return text
    return zstandard.ZstdCompressor(level=3).compress(text)  # one for each call: it is not thread-safe


def unpack(body: bytes) -> bytes:
    """The text that `pack` was given."""
    if body[:4] != _ZSTD_MAGIC:
        return bytes(body)
    return zstandard.ZstdDecompressor().decompress(body)


def text_of(resource: Json) -> bytes:
    """The text of a resource that this server authored."""
    return encode_json(resource)


def _content(resource: Json) -> bytes:
    return _SORTED.encode({name: value for name, value in resource.items() if name != "meta"})


def _text(value: str) -> bytes:
    return orjson.dumps(value)


def _joined(members: Mapping[str, bytes | msgspec.Raw]) -> bytes:
    return (
        b"{" + b",".join(orjson.dumps(name) + b":" + bytes(value) for name, value in members.items()) + b"}"
    )
