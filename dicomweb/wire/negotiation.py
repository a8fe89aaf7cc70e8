"""Which representation of a resource to answer with (PS3.18 §8.7.8, Tables 8.7.3-1 to 8.7.3-5, 8.7.4-1).

The best quality decides; among media ranges of equal quality one that takes what is stored goes before one
that needs transcoding. Without a transfer syntax the standard's default is asked for: Explicit VR Little
Endian, or the lossless default of an image media type. What the client leaves open (`*/*`,
`transfer-syntax=*`) is answered as stored, and so is video. A client that asks for an image media type
without a transfer syntax gets what is stored under it, also where the table's default is another syntax.
Lossy syntaxes are made only when they are named.

Pure, and decided before any work. Whether single pixels fit a syntax is asked of the caller, in `can_encode`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels.syntaxes import DECODABLE, ENCODABLE
from dicomweb.wire.faults import NotAcceptable
from dicomweb.wire.media_types import MediaRange, is_refused, matches

DICOM, DICOM_JSON, DICOM_XML, JSON, OCTETS = (
    "application/dicom",
    "application/dicom+json",
    "application/dicom+xml",
    "application/json",
    "application/octet-stream",
)
# Media type of compressed frames (Tables 8.7.3-3 and 8.7.3-5).
MEDIA_TYPE_OF: Mapping[str, str] = {
    ts.JPEGBaseline8Bit: "image/jpeg",
    ts.JPEGExtended12Bit: "image/jpeg",
    ts.JPEGLossless: "image/jpeg",
    ts.JPEGLosslessSV1: "image/jpeg",
    ts.JPEGLSLossless: "image/jls",
    ts.JPEGLSNearLossless: "image/jls",
    ts.JPEG2000Lossless: "image/jp2",
    ts.JPEG2000: "image/jp2",
    ts.JPEG2000MCLossless: "image/jpx",
    ts.JPEG2000MC: "image/jpx",
    ts.HTJ2KLossless: "image/jphc",
    ts.HTJ2KLosslessRPCL: "image/jphc",
    ts.HTJ2K: "image/jphc",
    ts.JPEGXLLossless: "image/jxl",
    ts.JPEGXLJPEGRecompression: "image/jxl",
    ts.JPEGXL: "image/jxl",
    ts.RLELossless: "image/dicom-rle",
    ts.DeflatedImageFrameCompression: "application/x-deflate",
    **dict.fromkeys((ts.MPEG2MPML, ts.MPEG2MPMLF, ts.MPEG2MPHL, ts.MPEG2MPHLF), "video/mpeg"),
    **dict.fromkeys(
        (uid for uid, (keyword, _) in ts.TRANSFER_SYNTAXES.items() if keyword.startswith("MPEG4")),
        "video/mp4",
    ),
    **dict.fromkeys((ts.HEVCMP51, ts.HEVCM10P51), "video/h265"),
}
# Names that older editions and clients use for the same.
ALIASES: Mapping[str, str] = {
    "image/x-dicom-rle": "image/dicom-rle",
    "image/x-jls": "image/jls",
    "image/jphc-lossless": "image/jphc",
    "image/x-dicom-jls": "image/jls",
}
# The pixel bytes of these are those of Explicit VR Little Endian.
PLAIN = frozenset({ts.ExplicitVRLittleEndian, ts.ImplicitVRLittleEndian, ts.DeflatedExplicitVRLittleEndian})
DEFAULT_FILES = frozenset({ts.ExplicitVRLittleEndian, ts.ImplicitVRLittleEndian})
VIDEO = frozenset(uid for uid, name in MEDIA_TYPE_OF.items() if name.startswith("video/"))
# What is made for a media type when no transfer syntax is named (Tables 8.7.3-3 and 8.7.3-5: default).
DEFAULT_SYNTAX_OF: Mapping[str, str] = {
    OCTETS: ts.ExplicitVRLittleEndian,
    "image/jpeg": ts.JPEGLosslessSV1,
    "image/jls": ts.JPEGLSLossless,
    "image/jp2": ts.JPEG2000Lossless,
    "image/jphc": ts.HTJ2KLossless,
    "image/dicom-rle": ts.RLELossless,
    "application/x-deflate": ts.DeflatedImageFrameCompression,
}
CanEncode = Callable[[str], bool]
_REFUSED = {True: "the {} cannot be put into what is asked for", False: "the {} are answered as stored"}


@dataclass(frozen=True, slots=True)
class Representation:
    """What to answer with."""

    media_type: str  # of the content: of each part when `multipart`
    multipart: bool
    transfer_syntax: str | None = None  # that the content is in; of files None: each in its own, as stored

    def content_type(self, transfer_syntax: str | None = None) -> str:
        """The Content-Type of the content or of one part; `transfer_syntax` where that part has its own."""
        syntax = transfer_syntax or self.transfer_syntax
        return f"{self.media_type}; transfer-syntax={syntax}" if syntax else self.media_type


def _single_allowed(each: MediaRange, *, many: bool) -> bool:
    return each.multipart or not many or each.name == "*/*"


def _is_anything(each: MediaRange) -> bool:
    return each.content in ("*/*", "*")


def _by_quality(accept: Sequence[MediaRange]) -> Iterator[list[MediaRange]]:
    """The acceptable ranges by quality, the best first, without the refused ones."""
    for _, group in groupby(accept, key=lambda each: each.quality):
        ranges = [each for each in group if each.quality > 0]
        if ranges:
            yield ranges


def _wanted(accept: Sequence[MediaRange]) -> list[MediaRange]:
    return [each for each in accept if each.quality > 0]


def _takes_files_as_stored(each: MediaRange, stored: Collection[str], default: Collection[str]) -> bool:
    """Whether all of the stored transfer syntaxes are what the range asks for."""
    if each.transfer_syntax == "*" or (each.transfer_syntax is None and _is_anything(each)):
        return True
    if each.transfer_syntax is None:
        return set(stored) <= set(default)
    return set(stored) <= {each.transfer_syntax}


def _syntax_of_files(each: MediaRange, stored: Collection[str]) -> str | None:
    """The transfer syntax that the files can be put into for this range; None: they cannot."""
    if each.transfer_syntax is None:
        convertible = not (DECODABLE | VIDEO).isdisjoint(
            stored
        )  # others go as stored, and their parts say so
        return ts.ExplicitVRLittleEndian if convertible else None
    convertible = set(stored) <= DECODABLE and each.transfer_syntax in ENCODABLE
    return each.transfer_syntax if convertible else None


def select_files(
    accept: Sequence[MediaRange], stored: Collection[str], *, many: bool, transcodes: bool = False
) -> Representation:
    """For studies, series and instances: DICOM files (PS3.18 Table 10.4.4-1).

    `stored`: the transfer syntaxes of what is asked for. `many`: it is, or may be, more than one file, which
    needs multipart. `transcodes`: whether the caller can answer in another transfer syntax than the stored
    ones; who cannot, gives Implicit VR too where the default is asked for. Files without pixels are never in
    a coded syntax, and video stays as it is where none is named.

    Raises:
        NotAcceptable: none of the ranges takes the files as they are, or as they could be.
    """
    default = VIDEO | {ts.ExplicitVRLittleEndian} if transcodes else DEFAULT_FILES
    for ranges in _by_quality(accept) if not is_refused(accept, DICOM) else ():
        fitting = [
            each for each in ranges if matches(each.content, DICOM) and _single_allowed(each, many=many)
        ]
        for each in fitting:
            if _takes_files_as_stored(each, stored, default):
                return Representation(DICOM, _is_multipart(each))
        for each in fitting if transcodes else ():
            if (syntax := _syntax_of_files(each, stored)) is not None:
                return Representation(DICOM, _is_multipart(each), syntax)
    available = [
        f'multipart/related; type="{DICOM}"; transfer-syntax={syntax}'
        for syntax in ("*", *sorted(stored)[:4])
    ]
    raise NotAcceptable(_REFUSED[transcodes].format("objects"), available=available)


def _is_multipart(each: MediaRange) -> bool:
    return each.multipart or _is_anything(each) or each.name.endswith("/*")


def _frame_types(stored: str) -> tuple[str, ...]:
    """The media types under which a stored frame may go, the proper one first."""
    proper = MEDIA_TYPE_OF.get(stored)
    return (proper, OCTETS) if proper else (OCTETS,)


def syntax_of_frames(stored: str) -> str:
    """The transfer syntax of frames as they are stored: what surrounds native ones does not matter."""
    return ts.ExplicitVRLittleEndian if stored in PLAIN else stored


def _takes_frames_as_stored(each: MediaRange, media_type: str, stored: str) -> bool:
    asked = each.transfer_syntax
    if asked in ("*", stored):
        return True
    if asked is None:  # an image media type says enough; octets without a word are Explicit VR Little Endian
        return media_type != OCTETS or stored in PLAIN or (_is_anything(each) and stored not in MEDIA_TYPE_OF)
    return asked in PLAIN and stored in PLAIN


def _frames_as_stored(each: MediaRange, stored: str) -> tuple[str, str] | None:
    """Media type and transfer syntax of stored frames, when the range takes them."""
    pattern = ALIASES.get(each.content, each.content)
    for media_type in _frame_types(stored):
        if matches(pattern, media_type) and _takes_frames_as_stored(each, media_type, stored):
            return media_type, syntax_of_frames(stored)
    return None


def _frames_transcoded(each: MediaRange, stored: str, can_encode: CanEncode) -> tuple[str, str] | None:
    """Media type and transfer syntax that frames can be put into for this range (Table 8.7.3-5)."""
    pattern = ALIASES.get(each.content, each.content)
    if stored not in DECODABLE:
        return None
    for media_type, default in DEFAULT_SYNTAX_OF.items():
        if not matches(pattern, media_type):
            continue
        syntax = default if each.transfer_syntax in (None, "*") else each.transfer_syntax
        if syntax in PLAIN:
            syntax = ts.ExplicitVRLittleEndian
        if MEDIA_TYPE_OF.get(syntax, OCTETS) == media_type and syntax in ENCODABLE and can_encode(syntax):
            return media_type, syntax
    return None


def select_frames(
    accept: Sequence[MediaRange],
    stored: str,
    *,
    many: bool,
    can_encode: CanEncode | None = None,
) -> Representation:
    """For frames and pixel data (PS3.18 §8.7.3.3, Table 10.4.4-1).

    `stored`: the transfer syntax of the instance. `many`: more than one frame, which needs multipart.
    `can_encode`: whether these frames fit a transfer syntax; None: they are answered as stored only.

    Raises:
        NotAcceptable: none of the ranges takes the frames as they are, or as they could be.
    """

    def attempts(ranges: Sequence[MediaRange]) -> Iterator[tuple[MediaRange, tuple[str, str] | None]]:
        as_stored = ((each, _frames_as_stored(each, stored)) for each in ranges)
        if can_encode is None:
            yield from as_stored
            return
        transcoded = ((each, _frames_transcoded(each, stored, can_encode)) for each in ranges)
        # Big Endian shall not be used with web services (PS3.18 §8.7.3): only who names it gets it.
        first, then = (transcoded, as_stored) if stored == ts.ExplicitVRBigEndian else (as_stored, transcoded)
        yield from first
        yield from then

    for ranges in _by_quality(accept):
        for each, found in attempts([each for each in ranges if _single_allowed(each, many=many)]):
            if found is not None and not is_refused(accept, found[0]):
                return Representation(found[0], each.multipart or each.name.endswith("/*"), found[1])
    as_stored = [(kind, syntax_of_frames(stored)) for kind in _frame_types(stored)]
    plain = [(OCTETS, ts.ExplicitVRLittleEndian)] if can_encode and stored in DECODABLE else []
    available = [
        f'multipart/related; type="{kind}"; transfer-syntax={syntax}'
        for kind, syntax in dict.fromkeys(as_stored + plain)
    ]
    raise NotAcceptable(_REFUSED[can_encode is not None].format("frames"), available=available)


def select_bulk_data(accept: Sequence[MediaRange]) -> Representation:
    """For bulk data that is not pixel data: its bytes, little endian (PS3.18 §8.7.3.3.2).

    Raises:
        NotAcceptable: the client takes no octets.
    """
    for each in _wanted(accept):
        plain = each.transfer_syntax in (None, "*") or each.transfer_syntax in PLAIN
        if plain and matches(each.content, OCTETS) and not is_refused(accept, OCTETS):
            return Representation(OCTETS, multipart=each.multipart or each.name.endswith("/*"))
    raise NotAcceptable(
        "bulk data is answered as octets", available=[f'multipart/related; type="{OCTETS}"', OCTETS]
    )


def select_metadata(accept: Sequence[MediaRange], *, many: bool = True) -> Representation:
    """For metadata, search results and responses: DICOM JSON, or the Native DICOM Model in XML.

    PS3.18 §8.7.3.4, Table 8.7.3-2. `many`: there may be more than one data set, which in XML needs multipart.

    Raises:
        NotAcceptable: the client takes neither.
    """
    for each in _wanted(accept):
        if (representation := _data_sets_for(each, accept, many=many)) is not None:
            return representation
    raise NotAcceptable(
        "metadata and search results are answered as DICOM JSON or XML",
        available=[DICOM_JSON, JSON, f'multipart/related; type="{DICOM_XML}"'],
    )


def _data_sets_for(each: MediaRange, accept: Sequence[MediaRange], *, many: bool) -> Representation | None:
    if each.name == DICOM_XML and not many:
        return Representation(DICOM_XML, multipart=False)
    if each.multipart and each.part_type not in (None, "*/*"):
        takes_xml = matches(each.content, DICOM_XML) and not is_refused(accept, DICOM_XML)
        return Representation(DICOM_XML, multipart=True) if takes_xml else None
    for media_type in (DICOM_JSON, JSON):
        if matches(each.content, media_type) and not is_refused(accept, media_type):
            return Representation(media_type, multipart=False)
    return None
