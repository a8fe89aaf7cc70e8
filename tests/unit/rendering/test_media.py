"""Which media type a rendered resource is answered as (PS3.18 §8.7.4, Table 8.7.4-1)."""

from typing import Any

import pytest

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.render.media import ALL_TYPES, TYPES, Kind, kind_of, select_rendered
from dicomweb.wire.dicom_json import data_set, element
from dicomweb.wire.faults import NotAcceptable
from dicomweb.wire.media_types import parse_accept

IMAGES, TEXTS = TYPES[Kind.IMAGE], TYPES[Kind.REPORT]


@pytest.mark.parametrize(
    ("accept", "types", "many", "media_type", "multipart"),
    [
        ("", IMAGES, False, "image/jpeg", False),
        ("*/*", IMAGES, False, "image/jpeg", False),
        ("*/*", IMAGES, True, "image/jpeg", True),
        ("*/*", TEXTS, False, "text/html", False),
        ("image/*", IMAGES, False, "image/jpeg", False),
        ("image/png", IMAGES, False, "image/png", False),
        ("image/jpeg;q=0.5, image/gif", IMAGES, False, "image/gif", False),
        ("image/webp, image/png;q=0.1", IMAGES, False, "image/png", False),
        ("*/*, image/jpeg;q=0", IMAGES, False, "image/png", False),
        ('multipart/related; type="image/png"', IMAGES, False, "image/png", True),
        ('multipart/related; type="image/png"', IMAGES, True, "image/png", True),
        ("multipart/related", IMAGES, True, "image/jpeg", True),
        ("text/plain", TEXTS, False, "text/plain", False),
        ("application/pdf", TYPES[Kind.PDF], False, "application/pdf", False),
    ],
)
def test_select(accept: str, types: Any, many: bool, media_type: str, multipart: bool) -> None:
    chosen = select_rendered(parse_accept([accept]), types, many=many)
    assert (chosen.media_type, chosen.multipart) == (media_type, multipart)


@pytest.mark.parametrize(
    ("accept", "types", "many"),
    [
        ("image/webp", IMAGES, False),
        ("video/mp4", IMAGES, False),
        ("image/jpeg", IMAGES, True),
        ("text/html", IMAGES, False),
        ("image/jpeg", TEXTS, False),
        ("*/*", (), False),
        ("image/jpeg;q=0", IMAGES, False),
    ],
)
def test_not_acceptable_lists_what_can_be_had(accept: str, types: Any, many: bool) -> None:
    with pytest.raises(NotAcceptable) as refused:
        select_rendered(parse_accept([accept]), types, many=many)
    assert all(media_type in str(refused.value) for media_type in types)


def test_every_kind_has_its_types() -> None:
    assert set(TYPES) == set(Kind)
    assert set(ALL_TYPES) == {media_type for types in TYPES.values() for media_type in types}


@pytest.mark.parametrize(
    ("elements", "syntax", "has_frames", "kind"),
    [
        ([], ts.ExplicitVRLittleEndian, True, Kind.IMAGE),
        ([], ts.JPEG2000, True, Kind.IMAGE),
        ([], ts.MPEG4HP41, True, Kind.OTHER),
        ([], ts.JPEGXL, True, Kind.OTHER),
        ([element("ValueType", "CONTAINER")], ts.ExplicitVRLittleEndian, False, Kind.REPORT),
        (
            [element("MIMETypeOfEncapsulatedDocument", "application/pdf")],
            ts.ExplicitVRLittleEndian,
            False,
            Kind.PDF,
        ),
        (
            [element("MIMETypeOfEncapsulatedDocument", "text/XML")],
            ts.ExplicitVRLittleEndian,
            False,
            Kind.OTHER,
        ),
        (
            [element("SOPClassUID", "1.2.840.10008.5.1.4.1.1.11.3")],
            ts.ExplicitVRLittleEndian,
            False,
            Kind.PRESENTATION,
        ),
        (
            [element("SOPClassUID", "1.2.840.10008.5.1.4.1.1.11.4")],
            ts.ExplicitVRLittleEndian,
            False,
            Kind.OTHER,
        ),
    ],
)
def test_kinds(elements: Any, syntax: str, has_frames: bool, kind: Kind) -> None:
    assert kind_of(data_set(*elements), syntax, has_frames=has_frames) is kind
