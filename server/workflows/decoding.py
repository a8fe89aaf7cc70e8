"""The archive's decoders lent to the engine: more transfer syntaxes than pydicom has, and side by side.

They check a coded image's head before anything is allocated, and do not hold the interpreter's lock.
"""

import os
from typing import Any

from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID

from ai_engine.preprocess.decoding import Decoding
from ai_engine.preprocess.encoded import UNREADABLE, transfer_syntax_of
from ai_engine.preprocess.pixels import no_decoder, undecodable
from dicomweb.pixels.decode import decode_frame
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import PixelFormat, pixel_format
from dicomweb.pixels.syntaxes import DECODABLE
from dicomweb.wire.dictionary import key_of

MOST_THREADS = 8  # beyond, memory is what images wait for
DESCRIBED_BY = (
    *("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PhotometricInterpretation", "PlanarConfiguration"),
)


def archive_decoding() -> Decoding:
    """Decoding by the archive's decoders, on the processors that this process may use."""
    return Decoding(min(MOST_THREADS, _processors()), decode_by_archive)


def _processors() -> int:
    """How many this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def decode_by_archive(image: Dataset) -> NDArray[Any]:
    """The stored values of one compressed image.

    Raises:
        SeriesRefused: it cannot be decoded, or nobody here can.
    """
    syntax = transfer_syntax_of(image)
    if syntax not in DECODABLE:
        raise no_decoder(syntax)
    try:
        return decode_frame(_stream(image, syntax), str(syntax), _format(image)).pixels
    except PixelsUnreadable as error:
        raise undecodable(syntax) from error


def _stream(image: Dataset, syntax: UID) -> bytes:
    try:
        return next(generate_frames(image.PixelData, number_of_frames=1))
    except (*UNREADABLE, StopIteration) as error:
        raise undecodable(syntax) from error


def _format(image: Dataset) -> PixelFormat:
    """The image's pixel format, from the attributes that it has in DICOM JSON."""
    stated = {keyword: image.get(keyword) for keyword in DESCRIBED_BY}
    return pixel_format(
        {
            key_of(keyword): {"Value": [value if isinstance(value, int) else str(value)]}
            for keyword, value in stated.items()
            if value is not None
        }
    )
