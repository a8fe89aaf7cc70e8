"""Content codings of answers that are text: gzip and zstd, by Accept-Encoding (RFC 9110 §12.5.3). Pure."""

import gzip
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Protocol

import zstandard

from dicomweb.wire.faults import NotAcceptable

LEVEL = 1  # of both: metadata shrinks to a tenth or less, and higher levels take longer than they save
MAX_CODINGS = 32  # named by a client

_ONE = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:;\s*[qQ]\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?")


class Coding(Enum):
    """A content coding that this server can apply; the first is preferred among equals."""

    ZSTD = "zstd"  # RFC 8878
    GZIP = "gzip"
    IDENTITY = "identity"


class Encoder(Protocol):
    """Codes a body that comes in pieces."""

    def compress(self, data: bytes, /) -> bytes:
        """What can leave once `data` has been taken in."""
        ...

    def flush(self) -> bytes:
        """The rest."""
        ...


def parse_accept_encoding(fields: Sequence[str]) -> Mapping[str, float]:
    """Coding → quality as the client says it, names in lower case.

    What cannot be read is passed over: the worst that follows is an answer without coding.
    """
    qualities: dict[str, float] = {}
    for text in ",".join(fields).split(",")[:MAX_CODINGS]:
        if (found := _ONE.fullmatch(text)) is not None:
            name = found[1].lower().removeprefix("x-")
            qualities.setdefault(name, float(found[2] or 1))
    return qualities


def select_coding(fields: Sequence[str], available: Sequence[Coding] = tuple(Coding)) -> Coding:
    """The coding of the answer: of those `available` the one with the highest quality.

    Raises:
        NotAcceptable: the client takes none of them, and not identity either.
    """
    qualities = parse_accept_encoding(fields)
    if not qualities:
        return Coding.IDENTITY
    rest = qualities.get("*", 0.0)
    asked = {
        coding: qualities.get(coding.value, rest) for coding in available if coding is not Coding.IDENTITY
    }
    best = max(asked, key=lambda coding: asked[coding], default=Coding.IDENTITY)
    identity = qualities.get(
        "identity", qualities.get("*")
    )  # None: acceptable, and nothing better is refused
    if best is not Coding.IDENTITY and asked[best] > 0 and asked[best] >= (identity or 0):
        return best
    if identity == 0:
        raise NotAcceptable(
            "the content coding identity is refused", available=[each.value for each in available]
        )
    return Coding.IDENTITY


def encode(data: bytes, coding: Coding) -> bytes:
    """A whole body, coded."""
    return _ENCODE[coding](data)


def new_encoder(coding: Coding) -> Encoder:
    """An encoder of a body in pieces."""
    return _NEW_ENCODER[coding]()


class _Identity:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


_ENCODE: Mapping[Coding, Callable[[bytes], bytes]] = {
    Coding.ZSTD: lambda data: zstandard.ZstdCompressor(level=LEVEL).compress(data),
    Coding.GZIP: lambda data: gzip.compress(data, LEVEL, mtime=0),
    Coding.IDENTITY: lambda data: data,
}
_NEW_ENCODER: Mapping[Coding, Callable[[], Encoder]] = {
    Coding.ZSTD: lambda: zstandard.ZstdCompressor(level=LEVEL).compressobj(),
    Coding.GZIP: lambda: zlib.compressobj(LEVEL, wbits=31),
    Coding.IDENTITY: _Identity,
}
