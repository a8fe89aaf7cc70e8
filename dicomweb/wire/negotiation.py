"""Which representation of a resource to answer with (PS3.18 §8.7.8, Tables 8.7.3-1 to 8.7.3-5, 8.7.4-1).

Objects are answered as stored. The standard's default is Explicit VR Little Endian when no transfer syntax
is asked for. Where the object is stored compressed the answer is then 406, with a text that says what to ask
for, unless the client takes anything (`*/*`): sending compressed bytes to one who did not ask for them would
be worse. Implicit VR Little Endian counts as the default too. A client that asks for an image media type
without a transfer syntax gets what is stored under it, also where the table's default is another syntax.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.wire.faults import NotAcceptable
from dicomweb.wire.media_types import MediaRange, is_refused, matches

DICOM, DICOM_JSON, JSON, OCTETS = (
    "application/dicom",
    "application/dicom+json",
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


@dataclass(frozen=True, slots=True)
class Representation:
    """What to answer with."""

    media_type: str  # of the content: of each part when `multipart`
    multipart: bool
    transfer_syntax: str | None = None  # of frames; of files each has its own

    def content_type(self, transfer_syntax: str | None = None) -> str:
        """The Content-Type of the content or of one part; `transfer_syntax` where that part has its own."""
        syntax = transfer_syntax or self.transfer_syntax
        return f"{self.media_type}; transfer-syntax={syntax}" if syntax else self.media_type


def _single_allowed(each: MediaRange, *, many: bool) -> bool:
    return each.multipart or not many or each.name == "*/*"


def _is_anything(each: MediaRange) -> bool:
    return each.content in ("*/*", "*")


def _takes_stored(each: MediaRange, stored: Collection[str], default: Collection[str]) -> bool:
    """Whether all of the stored transfer syntaxes are what the range asks for."""
    if each.transfer_syntax == "*" or (each.transfer_syntax is None and _is_anything(each)):
        return True
    if each.transfer_syntax is None:
        return set(stored) <= set(default)
    return set(stored) <= {each.transfer_syntax}


def _wanted(accept: Sequence[MediaRange]) -> list[MediaRange]:
    return [each for each in accept if each.quality > 0]


def select_files(accept: Sequence[MediaRange], stored: Collection[str], *, many: bool) -> Representation:
    """For studies, series and instances: DICOM files as stored (PS3.18 Table 10.4.4-1).

    `stored`: the transfer syntaxes of what is asked for. `many`: it is, or may be, more than one file, which
    needs multipart.

    Raises:
        NotAcceptable: none of the ranges takes the files as they are.
    """
    if not is_refused(accept, DICOM):
        for each in _wanted(accept):
            fits = matches(each.content, DICOM) and _single_allowed(each, many=many)
            if fits and _takes_stored(each, stored, DEFAULT_FILES):
                return Representation(
                    DICOM, multipart=each.multipart or _is_anything(each) or each.name.endswith("/*")
                )
    available = [
        f'multipart/related; type="{DICOM}"; transfer-syntax={syntax}'
        for syntax in ("*", *sorted(stored)[:4])
    ]
    raise NotAcceptable("the objects are answered as stored and are not transcoded", available=available)


def _frame_types(stored: str) -> tuple[str, ...]:
    """The media types under which a stored frame may go, the proper one first."""
    proper = MEDIA_TYPE_OF.get(stored)
    return (proper, OCTETS) if proper else (OCTETS,)


def _asked_syntax_fits(each: MediaRange, media_type: str, stored: str) -> bool:
    asked = each.transfer_syntax
    if asked in ("*", stored):
        return True
    if asked is None:  # an image media type says enough; octets without a word are Explicit VR Little Endian
        return media_type != OCTETS or stored in PLAIN or (_is_anything(each) and stored not in MEDIA_TYPE_OF)
    return asked in PLAIN and stored in PLAIN


def _frame_type_for(each: MediaRange, stored: str) -> str | None:
    pattern = ALIASES.get(each.content, each.content)
    for media_type in _frame_types(stored):
        if matches(pattern, media_type) and _asked_syntax_fits(each, media_type, stored):
            return media_type
    return None


def select_frames(accept: Sequence[MediaRange], stored: str, *, many: bool) -> Representation:
    """For frames and pixel data: the coded bytes as stored (PS3.18 §8.7.3.3, Table 10.4.4-1).

    `stored`: the transfer syntax of the instance. `many`: more than one frame, which needs multipart.

    Raises:
        NotAcceptable: none of the ranges takes the frames as they are.
    """
    syntax = ts.ExplicitVRLittleEndian if stored in PLAIN else stored
    for each in _wanted(accept):
        media_type = _frame_type_for(each, stored)
        if media_type and _single_allowed(each, many=many) and not is_refused(accept, media_type):
            multipart = each.multipart or each.name.endswith("/*")
            return Representation(media_type, multipart, syntax)
    available = [
        f'multipart/related; type="{kind}"; transfer-syntax={syntax}' for kind in _frame_types(stored)
    ]
    raise NotAcceptable("the frames are answered as stored and are not transcoded", available=available)


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


def select_metadata(accept: Sequence[MediaRange]) -> Representation:
    """For metadata and search results: DICOM JSON (PS3.18 §8.7.3.4, Table 8.7.3-2).

    Raises:
        NotAcceptable: the client does not take JSON.
    """
    for each in _wanted(accept):
        if each.multipart and each.part_type not in (None, "*/*"):
            continue
        for media_type in (DICOM_JSON, JSON):
            if matches(each.content, media_type) and not is_refused(accept, media_type):
                return Representation(media_type, multipart=False)
    raise NotAcceptable(
        "metadata and search results are answered as DICOM JSON", available=[DICOM_JSON, JSON]
    )
