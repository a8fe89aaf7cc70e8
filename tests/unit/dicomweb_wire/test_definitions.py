import importlib.util
from pathlib import Path

import pytest

from dicomweb.definitions import transfer_syntaxes
from dicomweb.wire.dictionary import key_of, keyword_of, tag_of, vr_of
from terminology.definitions import sop_classes

GENERATOR = Path(__file__).parents[3] / "tools" / "generate_dicom_definitions.py"


def _generator():
    spec = importlib.util.spec_from_file_location("generate_dicom_definitions", GENERATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("folder", ["dicomweb/definitions", "terminology/definitions"])
def test_generated_tables_are_what_the_installed_pydicom_gives(folder):
    generator = _generator()
    root, files = generator.ROOT, generator.FILES
    names = {name for name in files if name.startswith(folder)}
    assert {path.relative_to(root).as_posix() for path in (root / folder).glob("*.py")} == names
    assert [name for name in names if (root / name).read_text() != files[name]()] == []


def test_storage_classes_are_the_stored_ones():
    assert sop_classes.CTImageStorage in sop_classes.STORAGE_SOP_CLASSES
    assert sop_classes.Comprehensive3DSRStorage in sop_classes.STORAGE_SOP_CLASSES
    assert sop_classes.DigitalMammographyXRayImageStorageForPresentation in sop_classes.STORAGE_SOP_CLASSES
    assert sop_classes.Verification not in sop_classes.STORAGE_SOP_CLASSES
    assert sop_classes.StorageCommitmentPushModel not in sop_classes.STORAGE_SOP_CLASSES


def test_transfer_syntaxes_are_by_keyword():
    assert transfer_syntaxes.TRANSFER_SYNTAXES[transfer_syntaxes.JPEG2000Lossless][0] == "JPEG2000Lossless"


@pytest.mark.parametrize(
    ("keyword", "key", "vr"),
    [
        ("StudyInstanceUID", "0020000D", "UI"),
        ("PixelData", "7FE00010", "OB"),
        ("PatientName", "00100010", "PN"),
    ],
)
def test_attributes_are_found_by_keyword(keyword, key, vr):
    tag = tag_of(keyword)
    assert key_of(keyword) == key
    assert keyword_of(tag) == keyword
    assert vr_of(tag) == vr


def test_repeating_groups_private_and_unknown_tags_have_a_vr():
    assert (vr_of(0x60023000), keyword_of(0x60023000)) == ("OB", "OverlayData")
    assert vr_of(0x00090010) == "LO"
    assert vr_of(0x00091010) == "UN"
    assert vr_of(0x00087777) == "UN"
