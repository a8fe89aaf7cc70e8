"""The archive's decoders give the engine the values that were coded, and refuse what is not what it says."""

import imagecodecs
import numpy as np
import pytest
from pydicom import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    UID,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from ai_engine.phantom.enhanced import enhanced
from ai_engine.preprocess.decoding import Decoding
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused
from ai_engine.preprocess.volume import build_volume
from ai_engine.wants import Wants
from server.workflows.decoding import archive_decoding, decode_by_archive

ARCHIVE = Decoding(threads=2, decode=decode_by_archive)
ANY = Wants(modalities=(), sop_classes=(), minimum_slices=10)


def compressed(image: FileDataset, syntax: UID) -> FileDataset:
    """The image in one transfer syntax; pydicom codes all of these but JPEG Lossless."""
    if syntax == JPEGLosslessSV1:
        frames = np.atleast_3d(image.pixel_array.reshape(-1, image.Rows, image.Columns))
        coded = [imagecodecs.jpeg8_encode(each, lossless=True, bitspersample=16) for each in frames]
        image.PixelData = encapsulate([each + b"\0" * (len(each) % 2) for each in coded])
        image["PixelData"].VR = "OB"
        image["PixelData"].is_undefined_length = True
        image.file_meta.TransferSyntaxUID = syntax
    else:
        image.compress(syntax, generate_instance_uid=False)
    return image


@pytest.mark.parametrize(
    "syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless, JPEGLosslessSV1], ids=lambda each: each.keyword
)
def test_coded_frames_are_the_values_that_went_in(syntax: UID, series: list[FileDataset]) -> None:
    image = compressed(enhanced(series), syntax)
    assert np.array_equal(build_volume([image], ANY, ARCHIVE).voxels, build_volume(series, ANY).voxels)
    image.Columns = 128
    with pytest.raises(SeriesRefused) as caught:
        build_volume([image], ANY, ARCHIVE)
    assert caught.value.reason is RefusalReason.PIXEL_DATA_UNREADABLE


def test_a_syntax_that_nobody_decodes_is_named(series: list[FileDataset]) -> None:
    image = enhanced(series)
    image.file_meta.TransferSyntaxUID = MPEG2MPML
    image.PixelData = encapsulate([bytes(16)] * 24)
    with pytest.raises(SeriesRefused, match="MPEG2") as caught:
        build_volume([image], ANY, archive_decoding())
    assert caught.value.reason is RefusalReason.TRANSFER_SYNTAX_NOT_SUPPORTED
