"""Specific Character Set (0008,0005) to text (PS3.3 C.12.1.1.2, PS3.5 §6.1.2).

A `CharacterSet` decodes strictly first; what does not decode is replaced, and the caller flags it. Spellings
that differ from the defined terms in case, blanks, hyphens or underscores only are understood.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

Decode = Callable[[bytes], str]

# Defined terms without code extensions (Tables C.12-2 and C.12-5), reduced to letters and digits -> codec.
SINGLE_CODECS: Mapping[str, str] = {
    "": "ascii",
    "ISOIR6": "ascii",
    "ISOIR13": "shift_jis",
    "ISOIR100": "latin_1",
    "ISOIR101": "iso8859_2",
    "ISOIR109": "iso8859_3",
    "ISOIR110": "iso8859_4",
    "ISOIR126": "iso8859_7",
    "ISOIR127": "iso8859_6",
    "ISOIR138": "iso8859_8",
    "ISOIR144": "iso8859_5",
    "ISOIR148": "iso8859_9",
    "ISOIR166": "tis_620",
    "ISOIR192": "utf_8",
    "ISOIR203": "iso8859_15",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
# Defined terms with code extensions (Tables C.12-3, C.12-4) as the initial set -> codec.
EXTENSION_CODECS: Mapping[str, str] = {
    "ISO2022" + term.removeprefix("ISO"): codec
    for term, codec in SINGLE_CODECS.items()
    if term.startswith("ISOIR")
} | {"ISO2022IR149": "euc_kr", "ISO2022IR58": "gb2312", "ISO2022IR87": "ascii", "ISO2022IR159": "ascii"}

# Escape sequences of Tables C.12-3 and C.12-4 -> (codec, what the codec needs put before the bytes).
ESCAPES: Mapping[bytes, tuple[str, bytes]] = {
    b"(B": ("ascii", b""),
    b"(J": ("shift_jis", b""),
    b")I": ("shift_jis", b""),
    b"-A": ("latin_1", b""),
    b"-B": ("iso8859_2", b""),
    b"-C": ("iso8859_3", b""),
    b"-D": ("iso8859_4", b""),
    b"-F": ("iso8859_7", b""),
    b"-G": ("iso8859_6", b""),
    b"-H": ("iso8859_8", b""),
    b"-L": ("iso8859_5", b""),
    b"-M": ("iso8859_9", b""),
    b"-T": ("tis_620", b""),
    b"-b": ("iso8859_15", b""),
    b"$B": ("iso2022_jp", b"\x1b$B"),
    b"$(D": ("iso2022_jp_2", b"\x1b$(D"),
    b"$)C": ("euc_kr", b""),
    b"$)A": ("gb2312", b""),
}
_ESCAPE = re.compile(rb"\x1b(\([BJ]|\)I|-[A-DFGHLMTb]|\$B|\$\(D|\$\)[AC])")
# After these the initial character set is in force again (PS3.5 §6.1.2.5.3). Two-byte sets in G0 use the same
# byte values inside characters, and return by an escape sequence; the pattern is for the others.
_RESET = re.compile(rb"[\\^=\r\n\t\f]")


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """How text of one data set becomes `str`."""

    decode: Decode  # raises UnicodeDecodeError
    decode_anyway: Decode  # replaces what does not decode
    known: bool = True  # False: the data set names a term that is not defined


def _single(codec: str, anyway: str | None = None, *, known: bool = True) -> CharacterSet:
    return CharacterSet(
        decode=lambda raw: raw.decode(codec),
        decode_anyway=lambda raw: raw.decode(anyway or codec, "replace"),
        known=known,
    )


# Without a Specific Character Set only ASCII is allowed; what is there nevertheless is most often Latin-1.
DEFAULT = _single("ascii", "latin_1")
UNKNOWN = _single("ascii", "latin_1", known=False)


def _decode_segment(raw: bytes, codec: str, prefix: bytes, initial: str, errors: str) -> str:
    """One stretch between escape sequences."""
    reset = None if prefix else _RESET.search(raw)
    if reset is None:
        return (prefix + raw).decode(codec, errors)
    at = reset.start()
    return raw[:at].decode(codec, errors) + raw[at:].decode(initial, errors)


def decode_iso_2022(raw: bytes, initial: str, errors: str = "strict") -> str:
    """Text with code extension techniques (PS3.5 §6.1.2.5): `initial` is the codec of the first value.

    Raises:
        UnicodeDecodeError: with `errors` "strict", bytes that their character set does not have.
    """
    if b"\x1b" not in raw:
        return raw.decode(initial, errors)
    pieces = _ESCAPE.split(raw)
    text = [pieces[0].decode(initial, errors)]
    for escape, segment in zip(pieces[1::2], pieces[2::2], strict=True):
        codec, prefix = ESCAPES[escape]
        text.append(_decode_segment(segment, codec, prefix, initial, errors))
    return "".join(text)


def _normalized(term: object) -> str:
    return re.sub(r"[^A-Z0-9]", "", str(term or "").upper())


@lru_cache(maxsize=256)
def _character_set(terms: tuple[str, ...]) -> CharacterSet:
    first = terms[0]
    if len(terms) == 1 and first in SINGLE_CODECS:
        return _single(SINGLE_CODECS[first], "latin_1" if SINGLE_CODECS[first] == "ascii" else None)
    initial = EXTENSION_CODECS.get(first) or SINGLE_CODECS.get(first)
    if initial is None:
        return UNKNOWN
    if initial in ("utf_8", "gb18030", "gbk"):  # stand alone: further values mean nothing
        return _single(initial)
    lenient = "latin_1" if initial == "ascii" else initial
    return CharacterSet(
        decode=lambda raw: decode_iso_2022(raw, initial),
        decode_anyway=lambda raw: decode_iso_2022(raw, lenient, "replace"),
    )


def character_set(values: Sequence[object]) -> CharacterSet:
    """The character set that the values of (0008,0005) name; unknown terms give ASCII with `known` False."""
    terms = tuple(_normalized(value)[:32] for value in values[:16])
    return _character_set(terms) if terms else DEFAULT


_CODECS_OF_BYTES = frozenset(
    codec for codec in SINGLE_CODECS.values() if codec.startswith(("iso8859", "latin", "tis"))
)
_CODECS_OF_ALL = frozenset({"utf_8", "gb18030", "gbk"})


def encode_text(text: str, values: Sequence[object]) -> bytes:
    """Text in the character set that the values of (0008,0005) name, without code extensions.

    Raises:
        UnicodeEncodeError: the character set has no such text, or only by an escape sequence.
    """
    terms = tuple(_normalized(value)[:32] for value in values[:16]) or ("",)
    codec = SINGLE_CODECS.get(terms[0]) or EXTENSION_CODECS.get(terms[0], "ascii")
    is_alone = codec in _CODECS_OF_ALL or codec in _CODECS_OF_BYTES
    return text.encode(codec if is_alone else "ascii")
