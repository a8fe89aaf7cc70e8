"""Reading a multipart/related message as its bytes arrive (PS3.18 §8.6.1.2, RFC 2387, RFC 2046 §5.1.1).

The parts are found by python-multipart's `MultipartParser`; this adds the preamble, the limits, the end, and
faults that say what is wrong. Memory stays under one chunk and one header, whatever the size of a part.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from dicomweb.wire.faults import MultipartFault, UnsupportedContentType
from dicomweb.wire.media_types import MediaType, parse_media_type
from server.kernel.faults import TooLarge

MAX_PARTS = 10_000  # of one message; a whole-body CT has a few thousand slices
MAX_HEADERS = 16  # of one part; a DICOM part has three
MAX_HEADER_BYTES = 8192  # of one header field
MAX_PREAMBLE_BYTES = 65536  # before the first delimiter; readers ignore it (RFC 2046 §5.1.1)
MAX_BOUNDARY_BYTES = 200  # RFC 2046 allows 70; some clients write longer ones


@dataclass(frozen=True, slots=True)
class PartBegin:
    """A part begins; field names are lower case."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PartData:
    """The next bytes of the part."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartEnd:
    """The part is complete."""


PartEvent = PartBegin | PartData | PartEnd
_PART_END = PartEnd()


class MultipartRelatedReader:
    """Bytes of a message to events: `PartBegin`, any number of `PartData`, `PartEnd`, for each part."""

    def __init__(self, content_type: str | None) -> None:
        """`content_type`: the header field of the message.

        Raises:
            UnsupportedContentType: it is not multipart/related.
            MultipartFault: it names no usable boundary.
        """
        self.media_type = _related(content_type)
        delimiter = b"--" + _boundary(self.media_type)
        self._delimiter = delimiter
        self._preamble: bytearray | None = bytearray()  # None once the first delimiter was found
        self._looked_to = 0  # the lines of the preamble before this are none
        self._events: list[PartEvent] = []
        self._headers: dict[str, str] = {}
        self._name, self._value = bytearray(), bytearray()
        self._parts = 0
        self._received = False
        self._complete = False
        self._parser = MultipartParser(
            delimiter[2:],
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
            max_header_count=MAX_HEADERS,
            max_header_size=MAX_HEADER_BYTES,
        )

    @property
    def part_type(self) -> str | None:
        """The media type that the message says its parts have (RFC 2387 §3.1), lower case."""
        stated = self.media_type.parameters.get("type")
        return stated.lower() if stated else None

    def feed(self, chunk: bytes) -> list[PartEvent]:
        """The events of the next bytes of the message. What follows its end is ignored.

        Raises:
            MultipartFault: the bytes are not parts of such a message.
            TooLarge: more parts than `MAX_PARTS`.
        """
        self._received = self._received or bool(chunk)
        if self._preamble is not None:
            chunk = self._after_preamble(chunk)
        if chunk and not self._complete:
            try:
                self._parser.write(chunk)
            except FormParserError:
                raise MultipartFault(f"part {self._parts} of the message has no readable header") from None
        events, self._events = self._events, []
        return events

    def finish(self) -> None:
        """Say that no bytes follow.

        Raises:
            MultipartFault: the message is empty, has no part, or is cut off.
        """
        if not self._received:
            raise MultipartFault("the request has no body")
        last_line = None if self._preamble is None else self._preamble[self._looked_to :].rstrip()
        if last_line not in (None, self._delimiter + b"--"):
            raise MultipartFault("the body does not contain the boundary that its Content-Type names")
        if last_line is None and not self._complete:
            raise MultipartFault(f"the body ends within part {self._parts}, without its closing boundary")
        if not self._parts:
            raise MultipartFault("the message has no parts")

    def _after_preamble(self, chunk: bytes) -> bytes:
        """What follows the preamble, delimiter first; nothing until a whole first delimiter line has come."""
        held = self._preamble
        if held is None:
            return chunk
        held += chunk
        at, self._looked_to = _first_delimiter(held, self._delimiter, self._looked_to)
        if at is None:
            if len(held) > MAX_PREAMBLE_BYTES:
                raise MultipartFault("the body does not begin with the boundary that its Content-Type names")
            return b""
        self._preamble = None
        line_end = held.find(b"\n", at) + 1 or len(held)
        return bytes(held[at:line_end]).rstrip(b" \t\r\n") + b"\r\n" + bytes(held[line_end:])

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise TooLarge(f"more than {MAX_PARTS} parts in one message")
        self._headers = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.decode("latin_1").lower()] = self._value.decode("latin_1").strip()
        self._name.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        self._events.append(PartBegin(self._headers))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(PartData(data[start:end]))

    def _on_part_end(self) -> None:
        self._events.append(_PART_END)

    def _on_end(self) -> None:
        self._complete = True


def _related(content_type: str | None) -> MediaType:
    media_type = parse_media_type(content_type or "")
    if media_type is None or media_type.name != "multipart/related":
        raise UnsupportedContentType("Content-Type is not multipart/related")
    return media_type


def _boundary(media_type: MediaType) -> bytes:
    boundary = media_type.parameters.get("boundary", "")
    if not boundary:
        raise MultipartFault("Content-Type names no boundary")
    if len(boundary) > MAX_BOUNDARY_BYTES or not boundary.isascii() or not boundary.isprintable():
        raise MultipartFault("Content-Type names a boundary that is not one (RFC 2046 §5.1.1)")
    return boundary.encode("ascii")


def _first_delimiter(held: bytearray, delimiter: bytes, line: int) -> tuple[int | None, int]:
    """Where the first whole line from `line` on that is the delimiter, or the closing one, begins.

    And from which line on to look when there is more of it: each is looked at once, however it is cut.
    """
    while (line_end := held.find(b"\n", line)) >= 0:
        if held.startswith(delimiter, line):
            rest = bytes(held[line + len(delimiter) : line_end]).strip(b" \t\r")
            if rest in (b"", b"--"):
                return line, line
        line = line_end + 1
    return None, line
