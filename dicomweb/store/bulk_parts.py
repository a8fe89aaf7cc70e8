"""The bulk data parts of a Store request: what they may hold, and how metadata refers to them. Pure.

PS3.18 8.7.3, 10.5.1. A part is found by its Content-Location, compared as text with the BulkDataURI; nothing
is ever fetched. Several parts of one location are the frames of an image, in their order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.wire.coded_images import CodedImage
from dicomweb.wire.faults import UnsupportedContentType
from dicomweb.wire.media_types import MediaType, parse_media_type
from dicomweb.wire.negotiation import ALIASES, MEDIA_TYPE_OF, OCTETS, PLAIN
from dicomweb.wire.pieces import Piece
from dicomweb.wire.value_writers import NotOfVr

PDF = "application/pdf"
PNG = "image/png"
CDA = "text/xml"
# The transfer syntax of an image part that names none and whose bytes do not tell (Table 8.7.3-3).
DEFAULT_SYNTAX: Mapping[str, str] = {
    "image/jpeg": ts.JPEGLosslessSV1,
    "image/jls": ts.JPEGLSLossless,
    "image/jp2": ts.JPEG2000Lossless,
    "image/jpx": ts.JPEG2000MCLossless,
    "image/jphc": ts.HTJ2KLossless,
    "image/dicom-rle": ts.RLELossless,
}
BULK_TYPES = frozenset({OCTETS, PDF, CDA, PNG, *DEFAULT_SYNTAX})


@dataclass(frozen=True, slots=True)
class BulkType:
    """What a part says that it holds."""

    media_type: str
    transfer_syntax: str | None  # None: not stated

    @property
    def is_image(self) -> bool:
        """Whether it is a compressed frame."""
        return self.media_type in DEFAULT_SYNTAX or (
            self.transfer_syntax is not None and self.transfer_syntax not in PLAIN
        )


@dataclass(frozen=True, slots=True)
class BulkPart:
    """One part that is complete."""

    type: BulkType
    data: Piece
    image: CodedImage | None = None  # what was decoded to `data`
    problem: str = ""  # why it cannot be used


@dataclass(slots=True)
class BulkParts:
    """The parts by location, and which locations were referred to."""

    by_location: Mapping[str, list[BulkPart]]
    used: set[str] = field(default_factory=set)

    def take(self, uri: str) -> list[BulkPart]:
        """The parts that a BulkDataURI names.

        Raises:
            NotOfVr: there is none.
        """
        if uri not in self.by_location:
            raise NotOfVr("no part has this BulkDataURI as its Content-Location")
        self.used.add(uri)
        found = self.by_location[uri]
        if problem := next((part.problem for part in found if part.problem), ""):
            raise NotOfVr(problem)
        return found

    @property
    def unused(self) -> Iterable[str]:
        """Locations that nothing referred to."""
        return self.by_location.keys() - self.used


def native_image(*, rows: int, columns: int, samples: int, bits: int) -> CodedImage:
    """What is said of pixels that a PNG image was decoded to: all of them are unsigned."""
    photometric = "RGB" if samples == 3 else "MONOCHROME2"
    return CodedImage(
        ts.ExplicitVRLittleEndian,
        rows,
        columns,
        samples,
        bits,
        signed=False,
        photometric=photometric,
        lossy=False,
    )


def bulk_type(content_type: str | None) -> BulkType:
    """What the Content-Type of a part says; none is octets.

    Raises:
        UnsupportedContentType: a media type that this server makes no instance of.
    """
    media_type = parse_media_type(content_type) if content_type else MediaType(OCTETS)
    if media_type is None:
        raise UnsupportedContentType("the Content-Type of a part cannot be read")
    name = ALIASES.get(media_type.name, media_type.name)
    syntax = media_type.parameters.get("transfer-syntax", "").strip() or None
    if name not in BULK_TYPES:
        taken = ", ".join(sorted(BULK_TYPES))
        raise UnsupportedContentType(f"a part is of a media type that is not taken; taken are {taken}")
    if syntax is not None and (syntax not in ts.TRANSFER_SYNTAXES or syntax == ts.ExplicitVRBigEndian):
        raise UnsupportedContentType("the transfer-syntax of a part is not one that is taken")
    if syntax is not None and name in DEFAULT_SYNTAX and MEDIA_TYPE_OF.get(syntax) != name:
        raise UnsupportedContentType("the transfer-syntax of a part is not one of its media type")
    return BulkType(name, syntax)
