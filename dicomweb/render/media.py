"""What can be rendered as what, and which of it the client takes (PS3.18 §8.7.4, Table 8.7.4-1). Pure."""

from collections.abc import Mapping, Sequence
from enum import Enum

from dicomweb.attributes import DicomJson
from dicomweb.pixels.syntaxes import DECODABLE
from dicomweb.wire.dicom_json import text_of
from dicomweb.wire.faults import NotAcceptable
from dicomweb.wire.media_types import MediaRange, is_refused, matches
from dicomweb.wire.negotiation import Representation
from server.kernel.faults import Fault, FaultKind

JPEG, PNG, GIF = "image/jpeg", "image/png", "image/gif"
HTML, PLAIN, PDF = "text/html", "text/plain", "application/pdf"
GRAYSCALE_STATE, COLOUR_STATE, PSEUDO_COLOUR_STATE = (  # softcopy presentation states, PS3.3 A.33.1 to .3
    f"1.2.840.10008.5.1.4.1.1.11.{number}" for number in (1, 2, 3)
)
PRESENTATION_STATES = frozenset({GRAYSCALE_STATE, COLOUR_STATE, PSEUDO_COLOUR_STATE})


class NotRendered(Fault):
    """The resource is of a kind that is rendered, but holds something that is not (PS3.18 10.4.3)."""

    kind = FaultKind.NOT_ACCEPTABLE


class Kind(Enum):
    """Resource categories of PS3.18 Table 8.7.2-1, as far as they are rendered."""

    IMAGE = "image"
    REPORT = "report"  # a structured report's content tree
    PDF = "pdf"
    PRESENTATION = "presentation"  # the images that a softcopy presentation state names
    OTHER = "other"


TYPES: Mapping[Kind, tuple[str, ...]] = {  # the default first
    Kind.IMAGE: (JPEG, PNG, GIF),
    Kind.PRESENTATION: (JPEG, PNG, GIF),
    Kind.REPORT: (HTML, PLAIN),
    Kind.PDF: (PDF,),
    Kind.OTHER: (),
}
ALL_TYPES = (*TYPES[Kind.IMAGE], *TYPES[Kind.REPORT], *TYPES[Kind.PDF])


def kind_of(dicom_json: DicomJson, transfer_syntax: str, *, has_frames: bool) -> Kind:
    """How an instance is rendered, from its metadata; video and codings that are not decoded: not."""
    if has_frames:
        return Kind.IMAGE if transfer_syntax in DECODABLE else Kind.OTHER
    if text_of(dicom_json, "ValueType") == "CONTAINER":
        return Kind.REPORT
    if text_of(dicom_json, "MIMETypeOfEncapsulatedDocument").lower() == PDF:
        return Kind.PDF
    if text_of(dicom_json, "SOPClassUID") in PRESENTATION_STATES:
        return Kind.PRESENTATION
    return Kind.OTHER


def select_rendered(accept: Sequence[MediaRange], available: Sequence[str], *, many: bool) -> Representation:
    """The best of the media types that the resource has, the default first.

    `many`: the resource is more than one picture, which needs multipart.

    Raises:
        NotAcceptable: none of the ranges takes one; the text lists what can be had.
    """
    for each in (each for each in accept if each.quality > 0):
        is_anything = each.name == "*/*"
        for media_type in available:
            fits = matches(each.content, media_type) and not is_refused(accept, media_type)
            if fits and (each.multipart or is_anything or not many):
                return Representation(media_type, multipart=each.multipart or many)
    offered = [f'multipart/related; type="{each}"' for each in available]
    why = "the resource is rendered as this" if available else "the resource is not rendered"
    raise NotAcceptable(why, available=offered if many else [*available, *offered])
