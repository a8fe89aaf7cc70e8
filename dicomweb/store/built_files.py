"""A DICOM file from metadata and bulk data parts (PS3.18 10.5.1, 8.7.3). Pure.

The file is Explicit VR Little Endian unless its pixel data came compressed. What the metadata leaves out and
a coded image or a PDF tells of itself is filled in; where both tell and differ, the instance is refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dicomweb.attributes import DicomJson, integer, values
from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.store.bulk_parts import DEFAULT_SYNTAX, PDF, BulkPart, BulkParts
from dicomweb.wire.coded_images import CodedImage, read_coded_image, without_boxes
from dicomweb.wire.data_set_writer import (
    MAX_VALUE_BYTES,
    PIXEL_DATA,
    Encoded,
    attributes_by_key,
    write_data_set,
)
from dicomweb.wire.dicom_json import element
from dicomweb.wire.dictionary import key_of
from dicomweb.wire.faults import UnwritableDataSet
from dicomweb.wire.file_writer import encapsulate, write_head
from dicomweb.wire.instance import is_uid
from dicomweb.wire.negotiation import MEDIA_TYPE_OF
from dicomweb.wire.pieces import Piece
from dicomweb.wire.value_writers import NotOfVr

Json = Any
SOP_CLASS_UID, SOP_INSTANCE_UID = key_of("SOPClassUID"), key_of("SOPInstanceUID")
NUMBER_OF_FRAMES = key_of("NumberOfFrames")
ENCAPSULATED_DOCUMENT = key_of("EncapsulatedDocument")
LOSSY_METHOD: Mapping[str, str] = {  # PS3.3 C.7.6.1.1.5.1
    "image/jpeg": "ISO_10918_1",
    "image/jls": "ISO_14495_1",
    "image/jp2": "ISO_15444_1",
    "image/jphc": "ISO_15444_15",
}
MUST_AGREE = ("Rows", "Columns", "SamplesPerPixel")


def identifiers(dicom_json: Mapping[str, Json]) -> tuple[str, str]:
    """SOP Class and SOP Instance UID of metadata, whatever that is; "" where they are no UIDs."""
    uids = (_only_text(dicom_json.get(SOP_CLASS_UID)), _only_text(dicom_json.get(SOP_INSTANCE_UID)))
    return uids if all(map(is_uid, uids)) else ("", "")


def _only_text(attribute: Json) -> str:
    match attribute:
        case {"Value": [str(value)]}:
            return value.strip("\0 ")
    return ""


def build_file(dicom_json: DicomJson, parts: BulkParts) -> Encoded:
    """The file of one data set, in pieces that lie in memory or in the parts.

    Raises:
        UnwritableDataSet: the metadata cannot be written, or refers to no part; the fault names what.
    """
    dicom_json = attributes_by_key(dicom_json)
    of_pixels = dicom_json.get(PIXEL_DATA, {}).get("BulkDataURI")

    def bulk_data(uri: str) -> list[Piece]:
        found = parts.take(uri)
        if len(found) > 1 and uri != of_pixels:
            raise NotOfVr("several parts have this Content-Location; only frames may")
        return [part.data for part in found]

    syntax, encapsulated = ts.ExplicitVRLittleEndian, None
    frames = _pixel_parts(dicom_json, parts)
    if any(part.type.is_image for part in frames):
        dicom_json, syntax, encapsulated = _with_frames(dicom_json, frames)
    elif frames and frames[0].image is not None:
        dicom_json = _with_decoded(dicom_json, frames, frames[0].image)
    elif len(frames) > 1:
        _require_count(dicom_json, frames)
    dicom_json = _with_document(dicom_json, parts)
    file = Encoded()
    file.add(write_head(*identifiers(dicom_json), syntax))
    file.join(write_data_set(dicom_json, bulk_data, encapsulated))
    return file


def _pixel_parts(dicom_json: DicomJson, parts: BulkParts) -> Sequence[BulkPart]:
    """The parts of the pixel data, of one kind; none when there are none."""
    uri = dicom_json.get(PIXEL_DATA, {}).get("BulkDataURI")
    if not isinstance(uri, str):
        return ()
    try:
        found = parts.take(uri)
    except NotOfVr as error:
        raise UnwritableDataSet(PIXEL_DATA, str(error)) from error
    if len({(part.type, part.image) for part in found}) > 1:
        raise UnwritableDataSet(PIXEL_DATA, "the frames are of several kinds")
    return found


def _with_decoded(dicom_json: DicomJson, frames: Sequence[BulkPart], image: CodedImage) -> DicomJson:
    """The metadata with what images that were decoded say."""
    _require_count(dicom_json, frames)
    _require_agreement(dicom_json, image)
    return {**_described(image), **dicom_json}


def _require_count(dicom_json: DicomJson, frames: Sequence[BulkPart]) -> None:
    if (integer(dicom_json, NUMBER_OF_FRAMES) or 1) != len(frames):
        raise UnwritableDataSet(NUMBER_OF_FRAMES, "is not the number of parts that hold the pixel data")


def _with_frames(dicom_json: DicomJson, frames: Sequence[BulkPart]) -> tuple[DicomJson, str, Encoded]:
    """The metadata with what the frames say, their transfer syntax, and the value of the pixel data."""
    _require_count(dicom_json, frames)
    coded = [without_boxes(frame.data) for frame in frames]
    if max(map(len, coded)) > MAX_VALUE_BYTES:
        raise UnwritableDataSet(PIXEL_DATA, "a frame is longer than a fragment can be")
    stated = frames[0].type
    image = read_coded_image(coded[0])
    if image is None and stated.media_type == "image/jpeg":
        raise UnwritableDataSet(PIXEL_DATA, "the part is no JPEG image of a DICOM transfer syntax")
    syntax = stated.transfer_syntax or (image and image.transfer_syntax_uid)
    if image is not None:
        _require_agreement(dicom_json, image)
        dicom_json = {**_described(image), **dicom_json}
    return dicom_json, syntax or DEFAULT_SYNTAX[stated.media_type], encapsulate(coded)


def _described(image: CodedImage) -> DicomJson:
    """The Image Pixel attributes that a coded image gives (PS3.3 C.7.6.3)."""
    described = {
        **element("SamplesPerPixel", image.samples),
        **element("PhotometricInterpretation", image.photometric),
        **element("Rows", image.rows),
        **element("Columns", image.columns),
        **element("BitsAllocated", 8 if image.bits <= 8 else 16),
        **element("BitsStored", image.bits),
        **element("HighBit", image.bits - 1),
        **element("PixelRepresentation", int(image.signed)),
    }
    if image.samples > 1:
        described |= element("PlanarConfiguration", 0)
    if image.lossy:
        described |= element("LossyImageCompression", "01")
        method = LOSSY_METHOD[MEDIA_TYPE_OF[image.transfer_syntax_uid]]
        described |= element("LossyImageCompressionMethod", method)
    return described


def _require_agreement(dicom_json: DicomJson, image: CodedImage) -> None:
    described = _described(image)
    for keyword in MUST_AGREE:
        key = key_of(keyword)
        if values(dicom_json, key) and integer(dicom_json, key) != described[key]["Value"][0]:
            raise UnwritableDataSet(key, "is not that of the coded image")


def _with_document(dicom_json: DicomJson, parts: BulkParts) -> DicomJson:
    """The metadata of an encapsulated PDF, with what it says of itself (PS3.3 C.24.2)."""
    uri = dicom_json.get(ENCAPSULATED_DOCUMENT, {}).get("BulkDataURI")
    found = parts.by_location.get(uri, []) if isinstance(uri, str) else []
    if len(found) != 1 or found[0].type.media_type != PDF:
        return dicom_json
    if bytes(found[0].data[:5]) != b"%PDF-":
        raise UnwritableDataSet(ENCAPSULATED_DOCUMENT, "the part is not a PDF document")
    told = element("MIMETypeOfEncapsulatedDocument", PDF) | element(
        "EncapsulatedDocumentLength", len(found[0].data)
    )
    return {**told, **dicom_json}
