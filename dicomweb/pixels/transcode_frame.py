"""The task "transcode": one stored frame into another transfer syntax. Run in the child process only."""

from typing import Any

from dicomweb.pixels.decode import decode_cells
from dicomweb.pixels.encode import encode_frame
from dicomweb.pixels.format import from_header

Json = Any


def transcode(header: dict[str, Json], body: bytes) -> tuple[dict[str, Json], bytes]:
    """Header: `from` and `to`, transfer syntaxes; `pixels`, a format. Answers `photometric_interpretation`.

    That is the colour space of the samples, before the new syntax transforms it.

    Raises:
        PixelsUnreadable: the frame is damaged, or the syntax cannot hold it.
    """
    pixels = from_header(header["pixels"])
    frame = decode_cells(body, header["from"], pixels)
    colour = frame.photometric_interpretation
    coded = encode_frame(frame.pixels, header["to"], pixels.with_photometric_interpretation(colour))
    return {"photometric_interpretation": colour}, coded
