"""PS3.18 §8.7: which media types are understood, and what is answered as stored."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb.capabilities.description import WADL
from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.wire.faults import NotAcceptable
from dicomweb.wire.media_types import MediaRange, is_refused, parse_accept, parse_media_type
from dicomweb.wire.negotiation import (
    MEDIA_TYPE_OF,
    Representation,
    select_bulk_data,
    select_files,
    select_frames,
    select_metadata,
)

EXPLICIT, IMPLICIT, J2K = ts.ExplicitVRLittleEndian, ts.ImplicitVRLittleEndian, ts.JPEG2000Lossless
OCTETS = "application/octet-stream"


@pytest.mark.parametrize(
    ("text", "name", "parameters"),
    [
        ("application/dicom", "application/dicom", {}),
        ("Application/DICOM ; Transfer-Syntax=*", "application/dicom", {"transfer-syntax": "*"}),
        (
            'multipart/related;type="application/dicom";boundary="a b;c\\"d"',
            "multipart/related",
            {"type": "application/dicom", "boundary": 'a b;c"d'},
        ),
        ("multipart/related; type=application/dicom;;", "multipart/related", {"type": "application/dicom"}),
    ],
)
def test_a_content_type_is_read(text, name, parameters):
    media_type = parse_media_type(text)
    assert (media_type.name, media_type.parameters) == (name, parameters)


@pytest.mark.parametrize("text", ["", "application", "a/b c", "a/b; =x", 'a/b; x="open', "a/b, c/d", "/"])
def test_what_is_no_content_type(text):
    assert parse_media_type(text) is None


@pytest.mark.parametrize(
    ("fields", "query", "ranges"),
    [
        ([], None, (MediaRange("*/*", transfer_syntax="*"),)),
        (["", " , "], None, (MediaRange("*/*", transfer_syntax="*"),)),
        (
            ["application/json;q=0.5, application/dicom+json"],
            None,
            (MediaRange("application/dicom+json"), MediaRange("application/json", quality=0.5)),
        ),
        (["text/html"], "application/dicom", (MediaRange("application/dicom"),)),
        (
            ["multipart/related; type=application/octet-stream; transfer-syntax=*"],
            None,
            (MediaRange("multipart/related", OCTETS, "*"),),
        ),
        (
            ['multipart/related; type="image/jls",multipart/related; type="image/jp2"', "*/*;q=0.1"],
            None,
            (
                MediaRange("multipart/related", "image/jls"),
                MediaRange("multipart/related", "image/jp2"),
                MediaRange("*/*", quality=0.1),
            ),
        ),
    ],
)
def test_acceptable_media_types_best_first(fields, query, ranges):
    assert parse_accept(fields, query) == ranges


@pytest.mark.parametrize("text", ["garbage", "a/b c/d", "a/b;q", 'a/b; x="', "x" * 9000, "a/b," * 65])
def test_what_cannot_be_read_is_not_acceptable(text):
    with pytest.raises(NotAcceptable):
        parse_accept([text])


@given(st.text(alphabet='ab/*;,="\\ q01.', max_size=40))
def test_any_text_is_read_or_not_acceptable(text):
    with suppress(NotAcceptable):
        assert parse_accept([text])
    parse_media_type(text)


RELATED = 'multipart/related; type="application/dicom"'


@pytest.mark.parametrize(
    ("accept", "stored", "many", "multipart"),
    [
        (None, {J2K}, True, True),
        ("*/*", {J2K, EXPLICIT}, True, True),
        ('multipart/related; type="*/*"', {J2K}, True, True),
        ("multipart/related", {J2K}, True, True),
        ("multipart/related; type=application/dicom; transfer-syntax=*", {J2K}, True, True),
        (RELATED, {EXPLICIT, IMPLICIT}, True, True),
        (f"{RELATED}; transfer-syntax={EXPLICIT}", {EXPLICIT}, True, True),
        (f"{RELATED}; transfer-syntax={EXPLICIT}", {IMPLICIT}, True, None),
        (f"{RELATED}; transfer-syntax={J2K}", {J2K}, True, True),
        (f"{RELATED}; transfer-syntax={J2K}", {J2K, EXPLICIT}, True, None),
        (RELATED, {J2K}, True, None),
        (f"{RELATED}, {RELATED}; transfer-syntax=*;q=0.5", {J2K}, True, True),
        (RELATED, {ts.ExplicitVRBigEndian}, True, None),
        ("application/dicom", {EXPLICIT}, False, False),
        ("application/dicom; transfer-syntax=*", {J2K}, False, False),
        ("application/dicom", {J2K}, False, None),
        ("application/dicom", {EXPLICIT}, True, None),
        ("application/*", {EXPLICIT}, False, True),
        ("application/dicom+json", {EXPLICIT}, False, None),
        ("application/dicom;q=0, */*", {EXPLICIT}, False, None),
        (f"{RELATED}; transfer-syntax=*", set(), True, True),
    ],
)
def test_files_are_answered_as_stored(accept, stored, many, multipart):
    ranges = parse_accept([accept] if accept else [])
    if multipart is None:
        with pytest.raises(NotAcceptable, match="as stored"):
            select_files(ranges, stored, many=many)
    else:
        assert select_files(ranges, stored, many=many) == Representation("application/dicom", multipart)


def _frames(media_type, multipart, syntax):
    return Representation(media_type, multipart, syntax)


@pytest.mark.parametrize(
    ("accept", "stored", "many", "expected"),
    [
        (None, EXPLICIT, True, _frames(OCTETS, True, EXPLICIT)),
        (None, J2K, True, _frames("image/jp2", True, J2K)),
        ("*/*", J2K, True, _frames("image/jp2", True, J2K)),
        ('multipart/related; type="*/*"', J2K, True, _frames("image/jp2", True, J2K)),
        (
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            J2K,
            True,
            _frames(OCTETS, True, J2K),
        ),
        ("multipart/related; type=application/octet-stream", IMPLICIT, True, _frames(OCTETS, True, EXPLICIT)),
        ("multipart/related; type=application/octet-stream", J2K, True, None),
        (
            f"multipart/related; type={OCTETS}; transfer-syntax={EXPLICIT}",
            IMPLICIT,
            True,
            _frames(OCTETS, True, EXPLICIT),
        ),
        (f"multipart/related; type={OCTETS}; transfer-syntax={EXPLICIT}", J2K, True, None),
        (f"multipart/related; type={OCTETS}; transfer-syntax={J2K}", J2K, True, _frames(OCTETS, True, J2K)),
        ('multipart/related; type="image/jp2"', J2K, True, _frames("image/jp2", True, J2K)),
        ('multipart/related; type="image/jp2"', ts.JPEG2000, True, _frames("image/jp2", True, ts.JPEG2000)),
        (f'multipart/related; type="image/jp2"; transfer-syntax={ts.JPEG2000}', J2K, True, None),
        ('multipart/related; type="image/jpeg"', J2K, True, None),
        ('multipart/related; type="image/*"', J2K, True, _frames("image/jp2", True, J2K)),
        (
            'multipart/related; type="image/x-dicom-rle"',
            ts.RLELossless,
            True,
            _frames("image/dicom-rle", True, ts.RLELossless),
        ),
        ('multipart/related; type="image/jphc"', ts.HTJ2K, True, _frames("image/jphc", True, ts.HTJ2K)),
        (OCTETS, EXPLICIT, False, _frames(OCTETS, False, EXPLICIT)),
        (OCTETS, EXPLICIT, True, None),
        ("image/jp2", J2K, False, _frames("image/jp2", False, J2K)),
        ("image/jls, image/jp2;q=0.2", J2K, False, _frames("image/jp2", False, J2K)),
        ("image/jp2;q=0, */*", J2K, False, None),
        ("*/*", ts.ExplicitVRBigEndian, False, _frames(OCTETS, True, ts.ExplicitVRBigEndian)),
        ("multipart/related; type=application/octet-stream", ts.ExplicitVRBigEndian, True, None),
    ],
)
def test_frames_are_answered_as_stored(accept, stored, many, expected):
    ranges = parse_accept([accept] if accept else [])
    if expected is None:
        with pytest.raises(NotAcceptable) as caught:
            select_frames(ranges, stored, many=many)
        assert caught.value.available
    else:
        assert select_frames(ranges, stored, many=many) == expected


@pytest.mark.parametrize("media_type", ["application/dicom+json", "application/dicom+xml", WADL])
def test_a_plus_that_was_not_encoded_in_the_query(media_type: str) -> None:
    """§8.3.3.1 wants %2B; browsers' users type a plus, which a query means a space by."""
    ranges = parse_accept([], f"{media_type.replace('+', ' ')};q=0.5, image/png")
    assert [each.name for each in ranges] == ["image/png", media_type]


def test_a_transfer_syntax_within_the_type_of_the_parts() -> None:
    (found,) = parse_accept([f'multipart/related; type="image/jp2; transfer-syntax={J2K}"'])
    assert (found.part_type, found.transfer_syntax) == ("image/jp2", J2K)


@pytest.mark.parametrize("accept", ["*/*", "", "multipart/related; type=application/octet-stream"])
def test_frames_of_big_endian_are_turned_around_unless_it_is_named(accept: str) -> None:
    """§8.7.3: Explicit VR Big Endian shall not be used with web services."""
    ranges = parse_accept([accept])
    found = select_frames(ranges, ts.ExplicitVRBigEndian, many=True, can_encode=lambda _: True)
    assert found.transfer_syntax == EXPLICIT
    named = parse_accept([f"multipart/related; transfer-syntax={ts.ExplicitVRBigEndian}"])
    found = select_frames(named, ts.ExplicitVRBigEndian, many=True, can_encode=lambda _: True)
    assert found.transfer_syntax == ts.ExplicitVRBigEndian


@pytest.mark.parametrize(
    ("accept", "media_type", "refused"),
    [
        ("*/*, image/jpeg;q=0", "image/jpeg", True),
        ("*/*, image/*;q=0", "image/jpeg", True),
        ("image/jpeg, image/*;q=0", "image/jpeg", False),
        ("*/*;q=0, image/*", "image/jpeg", False),
        ("*/*, image/*;q=0", "application/dicom", False),
        ("*/*;q=0", "image/jpeg", True),
    ],
)
def test_the_most_specific_range_decides_what_is_refused(accept: str, media_type: str, refused: bool) -> None:
    assert is_refused(parse_accept([accept]), media_type) is refused


EBE, DEFLATED, JPEG, RLE, VIDEO = (
    ts.ExplicitVRBigEndian,
    ts.DeflatedExplicitVRLittleEndian,
    ts.JPEGBaseline8Bit,
    ts.RLELossless,
    ts.MPEG2MPML,
)


@pytest.mark.parametrize(
    ("accept", "stored", "many", "expected"),
    [
        pytest.param("*/*", {J2K}, True, (True, None), id="anything: as stored"),
        pytest.param(f"{RELATED}; transfer-syntax=*", {J2K, VIDEO}, True, (True, None), id="any syntax"),
        pytest.param(RELATED, {EXPLICIT}, True, (True, None), id="the default is stored"),
        pytest.param(RELATED, {J2K}, True, (True, EXPLICIT), id="the default"),
        pytest.param(RELATED, {IMPLICIT, EBE, DEFLATED}, True, (True, EXPLICIT), id="the default of native"),
        pytest.param(RELATED, {J2K, VIDEO}, True, (True, EXPLICIT), id="video stays"),
        pytest.param(RELATED, {VIDEO}, True, (True, None), id="video is its own default"),
        pytest.param(RELATED, {ts.JPEGXLLossless}, True, None, id="not decoded"),
        pytest.param(RELATED, {ts.JPEGXLLossless, J2K}, True, (True, EXPLICIT), id="one of them not decoded"),
        pytest.param("application/dicom", {J2K}, False, (False, EXPLICIT), id="single part"),
        pytest.param("application/dicom", {J2K}, True, None, id="a single part of many"),
        pytest.param(f"{RELATED}; transfer-syntax={J2K}", {EXPLICIT}, True, (True, J2K), id="coded"),
        pytest.param(f"{RELATED}; transfer-syntax={J2K}", {J2K, EXPLICIT}, True, (True, J2K), id="some are"),
        pytest.param(
            f"{RELATED}; transfer-syntax={JPEG}", {EXPLICIT}, True, (True, JPEG), id="lossy by name"
        ),
        pytest.param(f"{RELATED}; transfer-syntax={EBE}", {EXPLICIT}, True, None, id="big endian"),
        pytest.param(f"{RELATED}; transfer-syntax={EBE}", {EBE}, True, (True, None), id="but as stored"),
        pytest.param(f"{RELATED}; transfer-syntax={IMPLICIT}", {EXPLICIT}, True, None, id="implicit"),
        pytest.param(f"{RELATED}; transfer-syntax=1.2.3", {EXPLICIT}, True, None, id="no syntax"),
        pytest.param(f"{RELATED}; transfer-syntax={J2K}", {VIDEO}, True, None, id="video is not decoded"),
        pytest.param(
            f"{RELATED}; transfer-syntax={RLE}, {RELATED}; transfer-syntax={J2K}",
            {J2K},
            True,
            (True, None),
            id="of equal quality what is stored goes first",
        ),
        pytest.param(
            f"{RELATED}; transfer-syntax={RLE}, {RELATED}; transfer-syntax={J2K}; q=0.9",
            {J2K},
            True,
            (True, RLE),
            id="a better quality is worth the work",
        ),
        pytest.param(
            f"{RELATED}; transfer-syntax={EBE}, {RELATED}; q=0.1",
            {J2K},
            True,
            (True, EXPLICIT),
            id="next best",
        ),
        pytest.param("application/dicom;q=0, */*", {J2K}, False, None, id="refused"),
    ],
)
def test_files_are_transcoded_where_they_must_be(accept, stored, many, expected):
    ranges = parse_accept([accept])
    if expected is None:
        with pytest.raises(NotAcceptable, match="transfer-syntax=\\*"):
            select_files(ranges, stored, many=many, transcodes=True)
    else:
        found = select_files(ranges, stored, many=many, transcodes=True)
        assert (found.media_type, found.multipart, found.transfer_syntax) == ("application/dicom", *expected)


# PS3.18 Table 8.7.3-5: media type, its default transfer syntax, the others.
TABLE_8_7_3_5 = {
    "image/jpeg": (ts.JPEGLosslessSV1, ts.JPEGBaseline8Bit, ts.JPEGExtended12Bit, ts.JPEGLossless),
    "image/dicom-rle": (RLE,),
    "image/jls": (ts.JPEGLSLossless, ts.JPEGLSNearLossless),
    "image/jp2": (J2K, ts.JPEG2000),
    "image/jphc": (ts.HTJ2KLossless, ts.HTJ2KLosslessRPCL, ts.HTJ2K),
    OCTETS: (EXPLICIT,),
}


@pytest.mark.parametrize(
    ("media_type", "syntax", "is_default"),
    [(name, each, at == 0) for name, row in TABLE_8_7_3_5.items() for at, each in enumerate(row)],
)
@pytest.mark.parametrize("stored", [EXPLICIT, DEFLATED, EBE, RLE, ts.JPEGLSLossless])
def test_table_8_7_3_5(media_type, syntax, is_default, stored):
    expected = _frames(media_type, True, syntax)
    named = parse_accept([f'multipart/related; type="{media_type}"; transfer-syntax={syntax}'])
    assert select_frames(named, stored, many=True, can_encode=lambda _: True) == expected
    if is_default and MEDIA_TYPE_OF.get(stored) != media_type:
        plain = parse_accept([f'multipart/related; type="{media_type}"'])
        assert select_frames(plain, stored, many=True, can_encode=lambda _: True) == expected


@pytest.mark.parametrize(
    ("accept", "stored", "can", "expected"),
    [
        pytest.param(OCTETS, J2K, True, _frames(OCTETS, False, EXPLICIT), id="decoded"),
        pytest.param(f"{OCTETS}; transfer-syntax={J2K}", EXPLICIT, True, None, id="coded octets"),
        pytest.param(f"{OCTETS}; transfer-syntax={IMPLICIT}", J2K, True, _frames(OCTETS, False, EXPLICIT)),
        pytest.param(
            "image/jp2", ts.JPEG2000, True, _frames("image/jp2", False, ts.JPEG2000), id="as stored"
        ),
        pytest.param("image/jls", J2K, True, _frames("image/jls", False, ts.JPEGLSLossless), id="lossless"),
        pytest.param("image/jls", J2K, False, None, id="pixels that do not fit"),
        pytest.param(
            "image/jls, image/jp2;q=0.5",
            J2K,
            False,
            _frames("image/jp2", False, J2K),
            id="then the next best",
        ),
        pytest.param(
            "image/jls, image/jp2", J2K, True, _frames("image/jp2", False, J2K), id="what is stored"
        ),
        pytest.param("image/*", J2K, True, _frames("image/jp2", True, J2K), id="any image"),
        pytest.param("*/*", VIDEO, True, _frames("video/mpeg", True, VIDEO), id="video as stored"),
        pytest.param(OCTETS, VIDEO, True, None, id="video is not decoded"),
        pytest.param(
            "image/jls;q=0, image/*", EXPLICIT, True, _frames("image/jpeg", True, ts.JPEGLosslessSV1)
        ),
        pytest.param("image/png", J2K, True, None, id="rendered types"),
        pytest.param("image/jxl", J2K, True, None, id="not made"),
    ],
)
def test_frames_are_transcoded_where_they_must_be(accept, stored, can, expected):
    ranges = parse_accept([accept])
    if expected is None:
        with pytest.raises(NotAcceptable):
            select_frames(ranges, stored, many=False, can_encode=lambda _: can)
    else:
        assert select_frames(ranges, stored, many=False, can_encode=lambda _: can) == expected


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/dicom+json"),
        ("*/*", "application/dicom+json"),
        ("application/*", "application/dicom+json"),
        ("application/json", "application/json"),
        ("application/dicom+json, application/json", "application/dicom+json"),
        ("application/json, application/dicom+json;q=0.9", "application/json"),
        ("application/dicom+json;q=0, */*", "application/json"),
        ("application/dicom+xml, */*;q=0.1", "application/dicom+json"),
        ("application/dicom+xml", None),
        ("application/dicom+xml;q=0, multipart/related", "application/dicom+json"),
        ("text/html", None),
    ],
)
def test_metadata_is_json(accept, media_type):
    ranges = parse_accept([accept] if accept else [])
    if media_type is None:
        with pytest.raises(NotAcceptable):
            select_metadata(ranges)
    else:
        assert select_metadata(ranges) == Representation(media_type, multipart=False)


@pytest.mark.parametrize(
    ("accept", "many", "multipart"),
    [
        ('multipart/related; type="application/dicom+xml"', True, True),
        ('multipart/related; type="application/dicom+xml"', False, True),
        ("multipart/related; type=application/dicom+xml, application/json;q=0.9", True, True),
        ("application/dicom+xml", False, False),
        ("application/dicom+xml, application/dicom+json;q=0.1", False, False),
    ],
)
def test_metadata_in_xml(accept, many, multipart):
    assert select_metadata(parse_accept([accept]), many=many) == Representation(
        "application/dicom+xml", multipart
    )


@pytest.mark.parametrize(
    ("accept", "multipart"),
    [
        (None, True),
        (OCTETS, False),
        ('multipart/related; type="application/octet-stream"; transfer-syntax=*', True),
        ('multipart/related; type="*/*"', True),
        ("image/jpeg", None),
        (f"{OCTETS}; transfer-syntax={J2K}", None),
    ],
)
def test_bulk_data_is_octets(accept, multipart):
    ranges = parse_accept([accept] if accept else [])
    if multipart is None:
        with pytest.raises(NotAcceptable):
            select_bulk_data(ranges)
    else:
        assert select_bulk_data(ranges) == Representation(OCTETS, multipart)


def test_content_types_name_the_transfer_syntax():
    assert Representation("image/jp2", True, J2K).content_type() == f"image/jp2; transfer-syntax={J2K}"
    assert (
        Representation("application/dicom", True).content_type(J2K)
        == f"application/dicom; transfer-syntax={J2K}"
    )
    assert Representation("application/json", False).content_type() == "application/json"


def test_media_types_are_of_registered_syntaxes():
    assert set(MEDIA_TYPE_OF) <= set(ts.TRANSFER_SYNTAXES)
