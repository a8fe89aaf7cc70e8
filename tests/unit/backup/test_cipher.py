"""Encrypted files: nothing readable, nothing changed, moved, cut or swapped without being told."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.backup.cipher import (
    CHUNK_BYTES,
    HEADER_BYTES,
    SEALED_CHUNK_BYTES,
    KeyDerivation,
    Opener,
    Sealer,
)
from server.backup.faults import DamagedBackup

KEY = bytes(range(32))
SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 3 * CHUNK_BYTES + 17]


def seal(plain: bytes, name: str = "a", step: int = 50_000) -> bytes:
    sealer = Sealer(KEY, name)
    pieces = [sealer.add(plain[at : at + step]) for at in range(0, len(plain), step)]
    return b"".join(pieces) + sealer.end()


def unseal(sealed: bytes, name: str = "a", key: bytes = KEY, step: int = 70_000) -> bytes:
    opener = Opener(key, name)
    pieces = [opener.add(sealed[at : at + step]) for at in range(0, len(sealed), step)]
    return b"".join(pieces) + opener.end()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("step", [1000, CHUNK_BYTES, 200_000])
def test_opens_to_what_was_sealed(size: int, step: int) -> None:
    plain = os.urandom(size)
    sealed = seal(plain, step=step)
    assert unseal(sealed, step=step + 7) == plain
    assert size < 16 or plain[:16] not in sealed


@given(st.integers(0, 2**32), st.integers(1, 255))
def test_any_changed_byte_is_told(at: int, by: int) -> None:
    sealed = bytearray(SEALED)
    sealed[at % len(sealed)] ^= by
    with pytest.raises(DamagedBackup):
        unseal(bytes(sealed))


SEALED = seal(os.urandom(2 * CHUNK_BYTES + 5))
FIRST, SECOND = (HEADER_BYTES + number * SEALED_CHUNK_BYTES for number in (0, 1))


@pytest.mark.parametrize(
    "sealed",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(SEALED[: HEADER_BYTES - 1], id="no whole header"),
        pytest.param(SEALED[:HEADER_BYTES], id="no chunk"),
        pytest.param(SEALED[:-1], id="a byte less"),
        pytest.param(SEALED[: SECOND + SEALED_CHUNK_BYTES], id="without the last chunk"),
        pytest.param(SEALED + b"\x00", id="a byte more"),
        pytest.param(SEALED[:FIRST] + SEALED[SECOND:], id="without the first chunk"),
        pytest.param(
            SEALED[:FIRST]
            + SEALED[SECOND : SECOND + SEALED_CHUNK_BYTES]
            + SEALED[FIRST:SECOND]
            + SEALED[SECOND + SEALED_CHUNK_BYTES :],
            id="in another order",
        ),
    ],
)
def test_cut_or_reordered_is_told(sealed: bytes) -> None:
    with pytest.raises(DamagedBackup):
        unseal(sealed)


def test_file_under_another_name_is_told() -> None:
    with pytest.raises(DamagedBackup):
        unseal(seal(b"content", "rows/one"), "rows/two")


def test_other_key_opens_nothing() -> None:
    with pytest.raises(DamagedBackup):
        unseal(seal(b"content"), key=bytes(32))


def test_key_depends_on_passphrase_and_salt() -> None:
    first = KeyDerivation(b"salt" * 8, n=1 << 10)
    assert first.key("one") == first.key("one")
    assert len({first.key("one"), first.key("two"), KeyDerivation(b"tlas" * 8, n=1 << 10).key("one")}) == 3
