"""In which form a study, series or instance is asked for (PS3.18 Tables 10.4.4-1, 8.7.3-1; §8.7.4). Pure."""

from collections.abc import Sequence
from enum import Enum

from dicomweb.wire.media_types import MediaRange, is_refused, matches
from dicomweb.wire.negotiation import DICOM, OCTETS

ZIP = "application/zip"
_CODED = ("image/", "video/", "application/x-deflate")  # media types of coded pixel data, Table 8.7.3-3


class Form(Enum):
    """What the answer is made of."""

    FILES = "DICOM files"
    ZIP = "a ZIP file of DICOM files"
    BULK_DATA = "its bulk data"


def forms_wanted(accept: Sequence[MediaRange]) -> tuple[Form, ...]:
    """The forms that the client takes, best first; DICOM files when it names none, so that one can refuse."""
    forms = [form for each in accept if each.quality > 0 and (form := _form(each)) is not None]
    return tuple(dict.fromkeys(forms)) or (Form.FILES,)


def zip_ranges(accept: Sequence[MediaRange]) -> tuple[MediaRange, ...]:
    """What the client asks of the files within a ZIP file, as ranges of DICOM files.

    The transfer syntax is that of the range; none means as stored, for a browser has no way to ask.
    """
    if is_refused(accept, ZIP):
        return ()
    return tuple(
        MediaRange(DICOM, transfer_syntax=each.transfer_syntax or "*", quality=each.quality)
        for each in accept
        if each.quality > 0 and each.name == ZIP
    )


def _form(each: MediaRange) -> Form | None:
    if each.name == ZIP:
        return Form.ZIP
    if matches(each.content, DICOM):
        return Form.FILES
    if each.content == OCTETS or each.content.startswith(_CODED):
        return Form.BULK_DATA
    return None
