"""An archive of one study with everything that is rendered, and a client that looks at the pictures."""

import io
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG4HP41,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    JPEG2000Lossless,
)

from tests.conformance.ps3_18.kit import MULTIPART, as_file, ct_file, ct_slice, multipart, place

RAMP = np.arange(0, 128, 8, np.uint16).reshape(4, 4)  # stored values 0, 8 … 120
WINDOWED = (0, 100)  # stored values of the window below; 50, 101 with LINEAR: 0 is black, 100 is white
CT, CINE, COLOUR, REPORT, PDF, STATE, VIDEO, BROKEN = (place(1, series) for series in range(1, 9))
SECOND_CT = place(1, 1, 2)
ATTACK = "<script>alert('x')</script>"
DOCUMENT = b"%PDF-1.4 of odd length"[:-1]
RED, GREEN = [255, 0, 0], [0, 255, 0]


def _without_pixels(where: Any, sop_class: str, **attributes: Any) -> Dataset:
    nothing = dict.fromkeys(
        ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel")
    )
    nothing |= dict.fromkeys(("PixelRepresentation", "PhotometricInterpretation"))
    return ct_slice(where, SOPClassUID=sop_class, **(nothing | attributes))


def item(**attributes: Any) -> Dataset:
    """A sequence item; attributes by keyword."""
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def code(meaning: str) -> Dataset:
    return item(CodeValue="1", CodingSchemeDesignator="99T", CodeMeaning=meaning)


def ct(where: Any, **attributes: Any) -> bytes:
    """A CT of the ramp, with a window that shows 0 black and 100 white."""
    given = {"PixelData": RAMP.tobytes(), "WindowCenter": 50.5, "WindowWidth": 101}
    return ct_file(where, **(given | attributes))


def cine(where: Any) -> bytes:
    """Five frames, each of one gray: 0, 20, 40, 60, 80."""
    frames = np.stack([np.full((4, 4), 20 * number, np.uint16) for number in range(5)])
    return ct(where, NumberOfFrames=5, PixelData=frames.tobytes(), FrameTime=40)


def colour(where: Any) -> bytes:
    pixels = bytes(RED * 8 + GREEN * 8)
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    return ct_file(
        where,
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        PixelData=pixels,
        **eight,
    )


def report(where: Any) -> bytes:
    finding = item(ValueType="TEXT", ConceptNameCodeSequence=[code("Finding")], TextValue=ATTACK)
    finding.RelationshipType = "CONTAINS"
    return as_file(
        _without_pixels(
            where,
            ComprehensiveSRStorage,
            Modality="SR",
            ValueType="CONTAINER",
            ConceptNameCodeSequence=[code("Chest CT")],
            ContentSequence=[finding],
        )
    )


def pdf(where: Any) -> bytes:
    return as_file(
        _without_pixels(
            where,
            EncapsulatedPDFStorage,
            Modality="DOC",
            MIMETypeOfEncapsulatedDocument="application/pdf",
            EncapsulatedDocument=(DOCUMENT + b" " * 2000)[:1999] + b"\0",
            EncapsulatedDocumentLength=1999,
        )
    )


def state(where: Any, **attributes: Any) -> bytes:
    """A presentation state for the first CT: a wide window, inverse, turned by a quarter; None removes."""
    referenced = item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=CT.instance)
    given = {
        "Modality": "PR",
        "ReferencedSeriesSequence": [item(SeriesInstanceUID=CT.series, ReferencedImageSequence=[referenced])],
        "SoftcopyVOILUTSequence": [item(WindowCenter=50.5, WindowWidth=101)],
        "PresentationLUTShape": "INVERSE",
        "ImageRotation": 90,
        "ImageHorizontalFlip": "N",
    }
    given |= {"SOPClassUID": GrayscaleSoftcopyPresentationStateStorage} | attributes
    said = {keyword: value for keyword, value in given.items() if value is not None}
    return as_file(_without_pixels(where, said.pop("SOPClassUID"), **said))


def video(where: Any) -> bytes:
    return as_file(ct_slice(where, PixelData=encapsulate([b"no video"])), MPEG4HP41)


def broken(where: Any) -> bytes:
    return as_file(ct_slice(where, PixelData=encapsulate([b"\xff\x4f\xff\x51nonsense"])), JPEG2000Lossless)


FILES = {
    CT: ct(CT),
    SECOND_CT: ct(SECOND_CT, InstanceNumber=2, PixelData=RAMP[::-1].tobytes()),
    CINE: cine(CINE),
    COLOUR: colour(COLOUR),
    REPORT: report(REPORT),
    PDF: pdf(PDF),
    STATE: state(STATE),
    VIDEO: video(VIDEO),
}
STUDY = f"/dicom-web/studies/{CT.study}"


def series_of(where: Any) -> str:
    return f"{STUDY}/series/{where.series}"


def gray_of(values: NDArray[np.uint16]) -> list[list[int]]:
    """What the window of the CT makes of stored values, by C.11.2.1.2.1: 0 at 0, 255 at 100, 2.55 each."""
    shown = np.clip(values.astype(float) / 100, 0, 1) * 255
    grays: list[list[int]] = np.floor(shown + 0.5).astype(int).tolist()
    return grays


async def store(client: httpx.AsyncClient, *files: bytes) -> None:
    answer = await client.post(
        "/dicom-web/studies", content=multipart(*files), headers={"Content-Type": MULTIPART}
    )
    assert answer.status_code == 200, answer.text


async def get(
    client: httpx.AsyncClient, path: str, accept: str = "image/png", **query: Any
) -> httpx.Response:
    return await client.get(path, headers={"Accept": accept}, params=query or None)


def picture(response: httpx.Response) -> Image.Image:
    assert response.status_code == 200, response.text
    return Image.open(io.BytesIO(response.content))


def pixels(response: httpx.Response) -> list[Any]:
    found: list[Any] = np.asarray(picture(response)).tolist()
    return found
