"""Multipart messages, whole and broken: what is read does not depend on the cuts (RFC 2046 §5.1.1)."""

from itertools import pairwise

from hypothesis import strategies as st

from dicomweb.wire.media_types import parse_accept, parse_media_type
from dicomweb.wire.multipart_reader import MultipartRelatedReader, PartBegin, PartData, PartEnd
from server.kernel.faults import Fault
from tests.properties.fuzz.properties import Property

TOKENS = (
    b"--XX",
    b"--XX--",
    b"\r\n",
    b"\n",
    b"\r",
    b"-",
    b"--",
    b" ",
    b"\t",
    b":",
    b"Content-Type: a/b",
    b"X",
)
TOKENS += (b"\r\n\r\n", b"\r\n--XX\r\n\r\n", b"\r\n--XX--", b"abc", b"\x00", b"\xff", b"Content-Location: y")

messages = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=4), max_size=24).map(b"".join)
cuts = st.lists(st.integers(0, 200), max_size=12)

Outcome = tuple[list[tuple[dict[str, str], bytes]], str]  # the parts that are whole, and how it ended


def _read(body: bytes, at: list[int]) -> Outcome:
    reader = MultipartRelatedReader("multipart/related; boundary=XX")
    parts: list[tuple[dict[str, str], bytes]] = []
    begun: tuple[dict[str, str], bytes] | None = None
    try:
        for start, stop in pairwise([0, *sorted(min(cut, len(body)) for cut in at), len(body)]):
            for event in reader.feed(body[start:stop]):
                match event:
                    case PartBegin(headers):
                        assert begun is None
                        begun = (dict(headers), b"")
                    case PartData(data):
                        assert begun is not None
                        begun = (begun[0], begun[1] + data)
                    case PartEnd():
                        assert begun is not None
                        parts.append(begun)
                        begun = None
        reader.finish()
    except Fault as fault:
        return parts, type(fault).__name__
    assert begun is None
    return parts, "complete"


def reads_the_same_however_it_is_cut(tried: tuple[bytes, list[int]]) -> None:
    """Cut at some places, at all, and nowhere: the same parts and the same end."""
    body, at = tried
    whole = _read(body, [])
    if whole[1] != "complete":  # what stands before a fault may depend on the cuts
        assert _read(body, at)[1] != "complete"
        assert _read(body, list(range(len(body))))[1] != "complete"
        return
    assert _read(body, at) == whole
    assert _read(body, list(range(len(body)))) == whole


def is_a_media_type_or_a_fault(text: str) -> None:
    """Header fields that name media types."""
    parse_media_type(text)
    try:
        MultipartRelatedReader(text)
        parse_accept([text])
    except Fault:
        return


_header_pieces = (
    "multipart/related",
    "application/dicom",
    ";",
    ",",
    "type=",
    "boundary=",
    '"',
    "\\",
    "q=0.5",
    " ",
)
_headers = st.lists(st.sampled_from(_header_pieces) | st.text(max_size=4), max_size=14).map("".join)

PROPERTIES = [
    Property(
        "a message",
        st.tuples(messages, cuts),
        reads_the_same_however_it_is_cut,
        [(b"--XX--", [3]), (b"--XX--XX\r\n--XX\r\n\r\n\r\n--XX--", [6])],
    ),
    Property("a media type", _headers, is_a_media_type_or_a_fault),
]
