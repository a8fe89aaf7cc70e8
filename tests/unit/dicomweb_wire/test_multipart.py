from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb.wire import multipart_reader
from dicomweb.wire.faults import MultipartFault, UnsupportedContentType
from dicomweb.wire.multipart import (
    Part,
    PartHead,
    closing,
    content_type,
    message,
    message_length,
    opening,
    stream,
)
from dicomweb.wire.multipart_reader import MultipartRelatedReader, PartBegin, PartData, PartEnd
from server.kernel.faults import TooLarge

TYPE = 'multipart/related; type="application/dicom"; boundary=XX'


def _read(body: bytes, cuts=(), header: str = TYPE):
    reader = MultipartRelatedReader(header)
    events = []
    edges = [0, *sorted(cuts), len(body)]
    for start, stop in pairwise(edges):
        events += reader.feed(body[start:stop])
    reader.finish()
    return _joined(events)


def _joined(events):
    """Parts as (headers, content); also checks the order of events."""
    parts, current = [], None
    for event in events:
        match event:
            case PartBegin(headers):
                assert current is None
                current = (dict(headers), b"")
            case PartData(data):
                assert data
                current = (current[0], current[1] + data)
            case PartEnd():
                parts.append(current)
                current = None
    assert current is None
    return parts


DICOM = {"content-type": "application/dicom"}
HEAD = b"Content-Type: application/dicom\r\n\r\n"


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        pytest.param(b"--XX\r\n" + HEAD + b"abc\r\n--XX--\r\n", [(DICOM, b"abc")], id="one part"),
        pytest.param(b"--XX\r\n" + HEAD + b"abc\r\n--XX--", [(DICOM, b"abc")], id="no line end at the end"),
        pytest.param(b"\r\n--XX\r\n" + HEAD + b"abc\r\n--XX--", [(DICOM, b"abc")], id="blank line first"),
        pytest.param(
            b"--XX--YY\r\n--XX\r\n" + HEAD + b"abc\r\n--XX--", [(DICOM, b"abc")], id="no end, but for its cut"
        ),
        pytest.param(
            b"hello--XX\r\n--XY\r\n--XX \t\r\n" + HEAD + b"abc\r\n--XX--\r\nbye --XX\r\n",
            [(DICOM, b"abc")],
            id="preamble, epilogue, blanks",
        ),
        pytest.param(
            b"--XX\r\n" + HEAD + b"\r\n--XX\r\n\r\na\r\n--X\r\n-\r\n--XX--",
            [(DICOM, b""), ({}, b"a\r\n--X\r\n-")],
            id="two parts",
        ),
        pytest.param(
            b"--XX\r\nA:  b \r\n\r\n\r\n\r\n--XX--", [({"a": "b"}, b"\r\n")], id="content of a line end"
        ),
    ],
)
def test_parts_of_a_message_whatever_the_cuts(body, parts):
    assert _read(body) == parts
    assert _read(body, range(1, len(body))) == parts
    for cut in range(1, len(body)):
        assert _read(body, (cut,)) == parts


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (None, UnsupportedContentType),
        ("", UnsupportedContentType),
        ("application/dicom", UnsupportedContentType),
        ("multipart/form-data; boundary=XX", UnsupportedContentType),
        ("multipart/related", MultipartFault),
        ('multipart/related; boundary=""', MultipartFault),
        ("multipart/related; boundary=" + "x" * 201, MultipartFault),
        ("multipart/related; boundary=é", MultipartFault),
    ],
)
def test_a_content_type_that_cannot_be_read_is_refused(header, fault):
    with pytest.raises(fault):
        MultipartRelatedReader(header)


@pytest.mark.parametrize(
    "header",
    [
        "multipart/related; boundary=XX; type=application/dicom",
        'Multipart/Related;Boundary="XX";TYPE="application/dicom"',
        'multipart/related ; type="application/dicom" ; boundary = "XX" ;',
    ],
)
def test_the_boundary_comes_in_several_spellings(header):
    reader = MultipartRelatedReader(header)
    assert reader.part_type == "application/dicom"
    reader.feed(b"--XX\r\n\r\nabc\r\n--XX--")
    reader.finish()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no body"),
        (b"--YY\r\n\r\nabc\r\n--YY--", "does not contain the boundary"),
        (b"abc", "does not contain the boundary"),
        (b"--XX\r\n\r\nabc", "without its closing boundary"),
        (b"--XX\r\n\r\nabc\r\n--XX\r\n", "without its closing boundary"),
        (b"--XX\r\n\r\nabc\r\n--XX-", "without its closing boundary"),
        (b"--XX--\r\n", "no parts"),
        (b"--XX--", "no parts"),
        (b"hello\r\n--XX-- ", "no parts"),
        (b"--XX--x", "does not contain the boundary"),
        (b"--XX\r\nno header\r\n\r\n", "no readable header"),
        (b"--XX\r\n" + b"a: b\r\n" * 17 + b"\r\n", "no readable header"),
        (b"--XX\r\na: " + b"b" * 9000, "no readable header"),
    ],
)
def test_a_body_that_is_no_message_is_refused(body, says):
    with pytest.raises(MultipartFault, match=says):
        _read(body)
    with pytest.raises(MultipartFault, match=says):
        _read(body, range(1, len(body)))


def test_a_long_preamble_is_refused_early():
    reader = MultipartRelatedReader(TYPE)
    with pytest.raises(MultipartFault, match="does not begin"):
        reader.feed(bytes(multipart_reader.MAX_PREAMBLE_BYTES + 1))


def test_each_line_of_a_preamble_is_looked_at_once():
    reader = MultipartRelatedReader(TYPE)
    reader.feed(b"--XY\n--XX--x\n" * 100 + b"--X")
    assert reader._looked_to == 1300  # the line that may go on
    reader.feed(b"X\r\n\r\nabc\r\n--XX--")
    reader.finish()


def test_the_number_of_parts_is_bounded(monkeypatch):
    monkeypatch.setattr(multipart_reader, "MAX_PARTS", 3)
    body = message("XX", [(PartHead("a/b"), b"x")] * 4)
    with pytest.raises(TooLarge):
        _read(body)


@given(
    contents=st.lists(
        st.one_of(st.binary(max_size=60), st.text(alphabet="\r\n-X", max_size=30).map(str.encode)),
        min_size=1,
        max_size=4,
    ),
    data=st.data(),
)
def test_what_is_written_is_read_whatever_the_cuts(contents, data):
    boundary = "XX-boundary-0123456789"
    heads = [PartHead("application/octet-stream", len(content), "http://x/y") for content in contents]
    body = message(boundary, zip(heads, contents, strict=True))
    assert len(body) == message_length(boundary, heads)
    cuts = data.draw(st.lists(st.integers(1, len(body)), max_size=20))
    read = _read(body, cuts, content_type("application/octet-stream", boundary))
    assert [content for _, content in read] == contents
    assert read[0][0] == {
        "content-type": "application/octet-stream",
        "content-length": str(len(contents[0])),
        "content-location": "http://x/y",
    }


async def test_a_streamed_message_is_the_written_one():
    async def chunks():
        yield b"ab"
        yield b"c"

    async def parts():
        yield Part(PartHead("application/dicom", 3), b"xyz")
        yield Part(PartHead("application/dicom"), chunks())

    streamed = b"".join([chunk async for chunk in stream("B", parts())])
    heads = [PartHead("application/dicom", 3), PartHead("application/dicom")]
    assert streamed == message("B", zip(heads, [b"xyz", b"abc"], strict=True))
    assert message_length("B", heads) is None
    assert streamed.startswith(opening("B", heads[0], first=True))
    assert streamed.endswith(closing("B"))
