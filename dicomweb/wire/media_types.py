"""Media types of requests and answers: parsing them, and what to answer with (PS3.18 §8.7, RFC 9110 §12.5.1).

Parsing is lenient where clients are: `type=application/dicom` comes without quotes although it is no token,
names come in any case, several ranges in one field or in several, the transfer syntax within the quotes of
`type`, and `accept=application/dicom+json` with its plus not encoded.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dicomweb.wire.faults import NotAcceptable

MAX_ACCEPT_CHARACTERS = 8192  # of all Accept fields together
MAX_RANGES = 64

_NAME = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*")
_PARAMETER = re.compile(r"""\s*;\s*(?:([^\s=;,"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*)))?\s*""")
_PLUS = re.compile(r"(?<=[a-z.-]) (?=(?:json|xml)\b)", re.IGNORECASE)  # a "+" that was sent as it is in a URL
_SEPARATOR = re.compile(r"[\s,]*,[\s,]*|\s*$")
_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type, or a range of them, with its parameters; names are lower case."""

    name: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def _parse_one(text: str, pos: int) -> tuple[MediaType, int] | None:
    """The media type at `pos` and where it ends; None when there is none."""
    name = _NAME.match(text, pos)
    if name is None:
        return None
    pos = name.end()
    parameters: dict[str, str] = {}
    while pos < len(text) and text[pos] == ";":
        match = _PARAMETER.match(text, pos)
        if match is None:
            return None
        key, quoted, plain = match.groups()
        if key:
            value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            parameters.setdefault(key.lower(), value)
        pos = match.end()
    return MediaType(name[1].lower(), parameters), pos


def parse_media_type(text: str) -> MediaType | None:
    """The one media type of a Content-Type field, None when it is not one (RFC 9110 §8.3.1)."""
    parsed = _parse_one(text[:MAX_ACCEPT_CHARACTERS], 0)
    if parsed is None or parsed[1] != len(text):
        return None
    return parsed[0]


@dataclass(frozen=True, slots=True)
class MediaRange:
    """One acceptable media type as PS3.18 §8.7 has them."""

    name: str  # "multipart/related", "application/dicom", "image/*", "*/*"
    part_type: str | None = None  # of multipart: what its parts may be, also "*/*"; None: not stated
    transfer_syntax: str | None = None  # a UID, or "*" for as stored; None: not stated
    quality: float = 1.0

    @property
    def multipart(self) -> bool:
        """Whether the range asks for a multipart message."""
        return self.name in ("multipart/related", "multipart/*")

    @property
    def content(self) -> str:
        """The media types of the content itself that the range takes."""
        if self.multipart:
            return self.part_type or "*/*"
        return self.name


ANYTHING = MediaRange("*/*", transfer_syntax="*")


def _media_range(media_type: MediaType) -> MediaRange:
    parameters = media_type.parameters
    stated = parameters.get("q", "1").strip()
    quality = float(stated) if _QUALITY.fullmatch(stated) else 1.0
    part_type, within = parameters.get("type", "").strip().lower(), ""
    if ";" in part_type and (inner := parse_media_type(part_type)) is not None:
        part_type, within = inner.name, inner.parameters.get("transfer-syntax", "")
    return MediaRange(
        name=media_type.name,
        part_type=part_type or None,
        transfer_syntax=parameters.get("transfer-syntax", within).strip() or None,
        quality=quality,
    )


def parse_accept(fields: Sequence[str], query: str | None = None) -> tuple[MediaRange, ...]:
    """The acceptable media types, best first; those with quality 0, which are refused, last.

    `fields`: the values of the Accept header fields, none or empty meaning anything. `query`: the `accept`
    query parameter, which takes the place of the header (PS3.18 §8.3.3.1): browsers send one of their own.

    Raises:
        NotAcceptable: the text cannot be read as media types.
    """
    text = _PLUS.sub("+", query) if query else ", ".join(fields)
    if not text.strip(" ,"):
        return (ANYTHING,)
    if len(text) > MAX_ACCEPT_CHARACTERS:
        raise NotAcceptable("the acceptable media types are too long")
    ranges: list[MediaRange] = []
    pos = len(text) - len(text.lstrip(" ,"))
    while pos < len(text):
        parsed = _parse_one(text, pos)
        separator = _SEPARATOR.match(text, parsed[1]) if parsed else None
        if parsed is None or separator is None or len(ranges) >= MAX_RANGES:
            raise NotAcceptable("the acceptable media types cannot be read")
        ranges.append(_media_range(parsed[0]))
        pos = max(separator.end(), parsed[1])
    return tuple(sorted(ranges, key=lambda each: -each.quality))


def matches(pattern: str, media_type: str) -> bool:
    """Whether a media range such as `image/*` takes a media type (RFC 9110 §12.5.1)."""
    if pattern in ("*/*", "*", media_type):
        return True
    kind, _, subtype = pattern.partition("/")
    return subtype == "*" and media_type.startswith(kind + "/")


def is_refused(accept: Sequence[MediaRange], media_type: str) -> bool:
    """Whether of the ranges that take a media type the most specific one has quality 0 (RFC 9110 §12.5.1)."""
    taking = [each for each in accept if matches(each.content, media_type)]
    closest = max((_specificity(each.content) for each in taking), default=0)
    return any(each.quality == 0 for each in taking if _specificity(each.content) == closest)


def _specificity(pattern: str) -> int:
    return 2 - pattern.count("*") if pattern != "*" else 0
