"""An archive of one study in which every form of retrieval has something to answer, and how tests ask it."""

from typing import Any

import httpx
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from dicomweb.pixels.encode import encode_frame
from dicomweb.pixels.format import pixel_format
from tests.conformance.ps3_18.kit import as_file, ct_file, ct_slice, parts_of, place

PIXELS = bytes(range(32))
CELLS = [np.arange(16, dtype="u2").reshape(4, 4) * (n + 1) for n in range(2)]
_FORMAT = pixel_format(ct_slice().to_json_dict())
CODED = [encode_frame(cells, JPEG2000Lossless, _FORMAT) for cells in CELLS]
LUT = bytes(range(256)) * 8
FILES = {
    place(1, 1, 1): ct_file(place(1, 1, 1)),
    place(1, 1, 2): ct_file(place(1, 1, 2), InstanceNumber=2, PixelData=PIXELS[::-1], ICCProfile=LUT),
    place(1, 2, 1): as_file(
        ct_slice(place(1, 2, 1), NumberOfFrames=2, PixelData=encapsulate(CODED)), JPEG2000Lossless
    ),
    place(1, 3, 1): ct_file(place(1, 3, 1), PixelData=None, Rows=None, Columns=None),
}
PLAIN, WITH_PROFILE, CODED_IMAGE, NO_PIXELS = FILES
STUDY = f"/dicom-web/studies/{PLAIN.study}"
SERIES = f"{STUDY}/series/{PLAIN.series}"
XML = 'multipart/related; type="application/dicom+xml"'
OCTETS = 'multipart/related; type="application/octet-stream"'


async def get(client: httpx.AsyncClient, path: str, accept: str = "*/*", **headers: str) -> httpx.Response:
    """GET with header fields named like `If_Range`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.get(path, headers={"Accept": accept, **named})


def parts(response: httpx.Response) -> list[tuple[dict[str, str], bytes]]:
    assert response.status_code == 200, response.text
    return parts_of(response.headers["Content-Type"], response.content)


def uri(where: Any, path: str) -> str:
    """The BulkDataURI of a value."""
    return f"http://testserver{where.path}/bulkdata/{path}"
