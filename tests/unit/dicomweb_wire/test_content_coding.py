"""Accept-Encoding (RFC 9110 §12.5.3) and the codings themselves."""

import gzip

import pytest
import zstandard

from dicomweb.wire.content_coding import Coding, encode, new_encoder, select_coding
from dicomweb.wire.faults import NotAcceptable

ZSTD, GZIP, IDENTITY = Coding
TEXT = b'{"00080018":{"vr":"UI","Value":["1.2.3"]}}' * 5000


@pytest.mark.parametrize(
    ("fields", "coding"),
    [
        ([], IDENTITY),
        ([""], IDENTITY),
        (["gzip"], GZIP),
        (["gzip, deflate"], GZIP),
        (["gzip, deflate, br, zstd"], ZSTD),
        (["deflate", "gzip"], GZIP),
        (["x-gzip"], GZIP),
        (["GZIP"], GZIP),
        (["zstd;q=0.5, gzip"], GZIP),
        (["zstd;q=0.5, gzip;q=0.5"], ZSTD),
        (["gzip;q=0"], IDENTITY),
        (["gzip; q=0.2, identity"], IDENTITY),
        (["identity;q=0.5, gzip"], GZIP),
        (["br"], IDENTITY),
        (["*"], ZSTD),
        (["*;q=0, gzip"], GZIP),
        (["zstd;q=0, *"], GZIP),
        (["identity;q=0, gzip;q=0.1"], GZIP),
        (["gzip;q=nonsense, zstd"], ZSTD),
        (["\u00e4\u00f6"], IDENTITY),
    ],
)
def test_the_best_that_is_accepted(fields: list[str], coding: Coding) -> None:
    assert select_coding(fields) is coding


@pytest.mark.parametrize("field", ["identity;q=0", "*;q=0", "br, *;q=0", "identity;q=0, gzip;q=0, zstd;q=0"])
def test_none_is_accepted(field: str) -> None:
    with pytest.raises(NotAcceptable):
        select_coding([field])


def test_where_there_is_no_coding() -> None:
    assert select_coding(["gzip"], (IDENTITY,)) is IDENTITY
    with pytest.raises(NotAcceptable):
        select_coding(["gzip, identity;q=0"], (IDENTITY,))


DECODE = {
    ZSTD: lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    GZIP: gzip.decompress,
    IDENTITY: bytes,
}


@pytest.mark.parametrize("coding", list(Coding))
def test_whole_and_in_pieces(coding: Coding) -> None:
    assert DECODE[coding](encode(TEXT, coding)) == TEXT
    assert encode(TEXT, coding) == encode(TEXT, coding)
    encoder = new_encoder(coding)
    pieces = [encoder.compress(TEXT[at : at + 999]) for at in range(0, len(TEXT), 999)]
    assert DECODE[coding](b"".join([*pieces, encoder.flush()])) == TEXT
