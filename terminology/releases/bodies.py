"""What is said of one concept, as it is stored: an entry of CodeSystem.concept without those below it.

Numbers keep their digits: a decimal is read and written as it was.
"""

import threading
from decimal import Decimal
from typing import Any

import msgspec
import zstandard

Json = Any

COMPRESS_ABOVE_BYTES = 256


class _OfThread(threading.local):
    """Both are not thread-safe, and take as long to make as to use."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=3)
        self.decompressor = zstandard.ZstdDecompressor()


_OF_THREAD = _OfThread()
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def encode_body(entry: Json) -> bytes:
    """An entry as it is stored."""
    text = _ENCODER.encode(entry)
    if len(text) <= COMPRESS_ABOVE_BYTES:
        return text
    return _OF_THREAD.compressor.compress(text)


def decode_body(body: bytes) -> Json:
    """The entry that `encode_body` was given."""
    if body[:4] == _ZSTD_MAGIC:
        body = _OF_THREAD.decompressor.decompress(body)
    return _DECODER.decode(body)
