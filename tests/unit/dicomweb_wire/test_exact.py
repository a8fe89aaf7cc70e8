"""A document read with every number as it is written, and long text in its place."""

from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicomweb.wire.dicom_json import items_of, text_of
from dicomweb.wire.exact import read_exactly
from dicomweb.wire.faults import NotDicom
from dicomweb.wire.walk import INLINE_VALUE_BYTES

LONG = "ä" * INLINE_VALUE_BYTES


def as_file(syntax: str) -> bytes:
    item, made = Dataset(), Dataset()
    item.NumericValue, item.TextValue = "7.10", LONG
    made.SpecificCharacterSet = "ISO_IR 192"
    made.MeasuredValueSequence, made.InstanceNumber = [item], "007"
    made.file_meta, made.preamble = FileMetaDataset(), bytes(128)
    made.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=False)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        ExplicitVRBigEndian,
    ],
)
def test_digits_and_long_texts_stay(syntax: str) -> None:
    document = read_exactly(as_file(syntax))
    (item,) = items_of(document, "MeasuredValueSequence")
    assert text_of(item, "NumericValue") == "7.10"
    assert text_of(item, "TextValue") == LONG
    assert text_of(document, "InstanceNumber") == "007"


def test_what_is_no_file_is_refused() -> None:
    with pytest.raises(NotDicom):
        read_exactly(b"no file")
