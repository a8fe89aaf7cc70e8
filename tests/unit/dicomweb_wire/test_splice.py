"""Attributes replaced within a file: bytes and metadata say the same (PS3.3 C.12.1.1.9, PS3.5 §7)."""

import io
import random
from contextlib import suppress
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from dicomweb.wire.dicom_json import data_set, element, sequence
from dicomweb.wire.instance import SYNTAXES, inflated_file, parse_instance
from dicomweb.wire.overlay import Change, ModificationReason, Overlay, overlay_of, show
from dicomweb.wire.splice import Around, NotInCharacterSet, cut_behind_originals, splice
from dicomweb.wire.walk import EXPLICIT_LITTLE
from server.kernel.faults import Fault
from tests.conformance.ps3_18.kit import as_file, ct_slice
from tests.unit.transcoding.kit import installed_files

NOW_US = 1_790_000_000_123_456
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
NAME = element("PatientName", "Roe^Richard")


def overlay(*elements: dict[str, Any], reason: ModificationReason = ModificationReason.CORRECT) -> Overlay:
    made = overlay_of([Change(data_set(*elements), NOW_US, reason)])
    assert made is not None
    return made


OVERLAY = overlay(
    NAME,
    element("StudyDescription", "Head"),
    element("PatientSex"),
    element("Laterality", "L"),
    sequence(
        "RequestAttributesSequence",
        [data_set(element("RequestedProcedureID", "R1"), element("ScheduledProcedureStepID", "S1"))],
    ),
)


def spliced(file: bytes, laid: Overlay = OVERLAY) -> tuple[bytes, dict[str, Any]]:
    """The file with an overlay, inflated; and what its metadata is to say."""
    parsed = parse_instance(file)
    whole = bytes(inflated_file(file))
    top = {value.path: (value.length, value.offset) for value in parsed.bulk if "/" not in value.path}
    length, offset = top.get("7FE00010") or max(top.values(), default=(0, len(whole)))
    syntax = SYNTAXES.get(parsed.transfer_syntax_uid, EXPLICIT_LITTLE)
    around = Around(whole[:offset], parsed.data_set_offset, whole[offset + length :])
    head, rest = splice(around, syntax, laid)
    return head + whole[offset : offset + length] + rest, show(parsed.dicom_json, laid)


def read(file: bytes) -> dict[str, Any]:
    """The metadata of a file whose data set is inflated."""
    return parse_instance(file.replace(b"1.2.840.10008.1.2.1.99", b"1.2.840.10008.1.2.1\0\0\0")).dicom_json


def comparable(dicom_json: dict[str, Any]) -> dict[str, Any]:
    """Without where bulk values lie: what was modified is told of in an item, with its old URI."""
    return {
        key: {**attribute, "BulkDataURI": ""} if "BulkDataURI" in attribute else attribute
        for key, attribute in dicom_json.items()
    }


@pytest.mark.parametrize("name", sorted(installed_files()))
def test_installed_files_say_what_their_metadata_says(name: str) -> None:
    made, shown = spliced(installed_files()[name].read_bytes())
    assert comparable(read(made)) == comparable(shown)


@pytest.mark.parametrize("name", sorted(installed_files()))
def test_installed_files_keep_all_other_bytes(name: str) -> None:
    file = installed_files()[name].read_bytes()
    none = overlay(element("PatientComments"), element("Allergies"))
    made, _ = spliced(file, none)
    assert made == bytes(inflated_file(file)) or "00104000" in parse_instance(file).dicom_json


@pytest.mark.parametrize("syntax", PLAIN)
def test_pydicom_reads_the_corrected_file(syntax: str) -> None:
    file = as_file(ct_slice(StudyDescription="Chest"), syntax)
    made, _ = spliced(file)
    dataset = pydicom.dcmread(io.BytesIO(made))
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert (str(dataset.PatientName), dataset.PatientSex, dataset.StudyDescription) == (
        "Roe^Richard",
        "",
        "Head",
    )
    assert dataset.PixelData == bytes(range(32))
    (item,) = dataset.OriginalAttributesSequence
    assert item.AttributeModificationDateTime == "20260921141320.123456+0000"
    assert (item.ModifyingSystem, item.SourceOfPreviousValues) == ("Isthmus", "")
    assert item.ReasonForTheAttributeModification == "CORRECT"
    (before,) = item.ModifiedAttributesSequence
    assert {each.keyword: each.value for each in before} == {
        "StudyDescription": "Chest",
        "PatientName": "Doe^Jane",
        "PatientSex": "F",
        "Laterality": "",
        "RequestAttributesSequence": [],
    }


@pytest.mark.parametrize("syntax", PLAIN)
def test_items_that_are_there_stay_in_front(syntax: str) -> None:
    file = ct_slice()
    earlier = Dataset()
    earlier.ModifyingSystem = "OTHER"
    file.OriginalAttributesSequence = [earlier, earlier]
    made, shown = spliced(as_file(file, syntax))
    systems = [item.ModifyingSystem for item in pydicom.dcmread(io.BytesIO(made)).OriginalAttributesSequence]
    assert systems == ["OTHER", "OTHER", "Isthmus"]
    assert read(made) == shown


def test_items_of_unknown_vr_stay_too() -> None:
    """Some gateways write a sequence that they do not know as UN (PS3.5 §6.2.2)."""
    inner = b"\x00\x04\x63\x05\x06\x00\x00\x00OTHER "
    item = b"\xfe\xff\x00\xe0" + len(inner).to_bytes(4, "little") + inner
    unknown = b"\x00\x04\x61\x05UN\0\0" + len(item).to_bytes(4, "little") + item
    plain = as_file(ct_slice())
    file = plain.replace(b"\xe0\x7f\x10\x00OW", unknown + b"\xe0\x7f\x10\x00OW")
    made, shown = spliced(file)
    assert read(made) == shown
    assert len(shown["04000561"]["Value"]) == 2


CHARACTERS = {
    "in the file's own set": ("ISO_IR 100", "Müller^Jürgen", "ISO_IR 100"),
    "in none but Unicode": ("ISO_IR 100", "Ковалёв^Иван", "ISO_IR 192"),
    "where none is stated": (None, "Müller^Jürgen", "ISO_IR 192"),
    "plain, where none is stated": (None, "Roe^Richard", None),
    "plain, with escapes in the file": ("\\ISO 2022 IR 87", "Roe^Richard", "\\ISO 2022 IR 87"),
    "with escapes in the file": ("\\ISO 2022 IR 87", "山田^太郎", "ISO_IR 192"),
    "of the half-width set": ("ISO_IR 13", "山田^太郎", "ISO_IR 192"),
    "in a set that stands alone": ("GB18030", "王^小东", "GB18030"),
}


@pytest.mark.parametrize(("stated", "name", "then"), CHARACTERS.values(), ids=CHARACTERS)
@pytest.mark.parametrize("syntax", PLAIN)
def test_character_sets(syntax: str, stated: str | None, name: str, then: str | None) -> None:
    texts = {"ISO_IR 100": "Größe", "GB18030": "头部", "ISO_IR 13": "ｱｲｳ"}
    text = texts.get(stated or "", "頭部" if stated else "Head")
    file = ct_slice(StudyDescription=text)
    inner = Dataset()
    inner.CodeMeaning = text
    file.ProcedureCodeSequence = [inner, inner]
    file.private_block(0x0029, "PRIVÉ" if stated == "ISO_IR 100" else "PRIVATE", create=True).add_new(
        1, "LO", text
    )
    if stated is not None:
        file.SpecificCharacterSet = stated.split("\\")
    made, shown = spliced(as_file(file, syntax), overlay(element("PatientName", name)))
    dataset = pydicom.dcmread(io.BytesIO(made))
    said = dataset.get("SpecificCharacterSet")
    assert ("\\".join(said) if said and not isinstance(said, str) else said) == then
    assert str(dataset.PatientName) == name
    assert dataset.StudyDescription == text
    assert [item.CodeMeaning for item in dataset.ProcedureCodeSequence] == [text, text]
    (before,) = dataset.OriginalAttributesSequence[0].ModifiedAttributesSequence
    assert str(before.PatientName) == "Doe^Jane"
    assert read(made) == shown


def test_an_item_with_its_own_character_set_becomes_unicode_too() -> None:
    inner = Dataset()
    inner.SpecificCharacterSet = "ISO_IR 144"
    inner.CodeMeaning = "Голова"
    file = ct_slice(
        ProcedureCodeSequence=[inner], SpecificCharacterSet="ISO_IR 100", StudyDescription="Größe"
    )
    made, shown = spliced(as_file(file), overlay(element("PatientName", "王^小东")))
    dataset = pydicom.dcmread(io.BytesIO(made))
    (item,) = dataset.ProcedureCodeSequence
    assert (item.SpecificCharacterSet, item.CodeMeaning) == ("ISO_IR 192", "Голова")
    assert read(made) == shown


def test_what_says_it_already_was_not_modified() -> None:
    file = as_file(ct_slice())
    made, shown = spliced(file, overlay(element("PatientName", "Doe^Jane"), element("Allergies")))
    assert made == file
    assert "04000561" not in shown


def test_attributes_out_of_order_are_replaced_as_well() -> None:
    """One behind the pixels would say the old name once more."""
    plain = as_file(ct_slice(PatientName=None))
    name = b"\x10\x00\x10\x00PN\x08\x00Doe^Jane"
    made, _ = spliced(plain + name, overlay(NAME))
    assert b"Doe^Jane" in made[made.index(b"\x00\x04\x61\x05") : made.index(b"\xe0\x7f\x10\x00OW")]
    assert made.count(b"Doe^Jane") == 1
    assert read(made)["00100010"]["Value"] == [{"Alphabetic": "Roe^Richard"}]


def test_group_lengths_of_changed_groups_go() -> None:
    plain = as_file(ct_slice())
    file = plain.replace(b"\x10\x00\x10\x00PN", b"\x10\x00\x00\x00UL\x04\x00\x2a\0\0\0\x10\x00\x10\x00PN")
    file = file.replace(b"\x28\x00\x02\x00US", b"\x28\x00\x00\x00UL\x04\x00\x2a\0\0\0\x28\x00\x02\x00US")
    made, _ = spliced(file, overlay(NAME))
    assert b"\x10\x00\x00\x00UL" not in made
    assert b"\x28\x00\x00\x00UL" in made


def test_changes_are_told_one_by_one_and_in_order() -> None:
    merge = Change(element("PatientID", "M2"), 1_000_000, ModificationReason.COERCE)
    laid = overlay_of([OVERLAY.changes[0], merge])
    file = ct_slice(IssuerOfPatientID="HERE")
    made, shown = spliced(as_file(file), laid)
    items = pydicom.dcmread(io.BytesIO(made)).OriginalAttributesSequence
    assert [item.ReasonForTheAttributeModification for item in items] == ["COERCE", "CORRECT"]
    before = items[0].ModifiedAttributesSequence[0]
    assert (before.PatientID, before.IssuerOfPatientID) == ("P1", "HERE")  # whose identifier it was
    assert read(made) == shown


def test_deflated_files_are_read_inflated() -> None:
    made, shown = spliced(as_file(ct_slice(), DeflatedExplicitVRLittleEndian))
    assert read(made) == shown


@pytest.mark.parametrize("syntax", PLAIN)
def test_of_very_large_files_only_the_beginning_is_looked_at(syntax: str) -> None:
    file = as_file(ct_slice(SeriesDescription="x"), syntax)
    start = parse_instance(file).data_set_offset
    cut = cut_behind_originals(file[:900], start, SYNTAXES.get(syntax, EXPLICIT_LITTLE))
    assert cut is not None
    head, rest = splice(
        Around(file[:cut], start, is_all=False), SYNTAXES.get(syntax, EXPLICIT_LITTLE), OVERLAY
    )
    assert rest == b""
    assert head + file[cut:] == spliced(file)[0]
    assert cut_behind_originals(file[:400], start, SYNTAXES.get(syntax, EXPLICIT_LITTLE)) is None
    with pytest.raises(NotInCharacterSet):
        splice(
            Around(file[:cut], start, is_all=False),
            SYNTAXES.get(syntax, EXPLICIT_LITTLE),
            overlay(element("PatientName", "Müller")),
        )


@pytest.mark.parametrize("name", ["Roe^Richard", "王^小东"])
def test_coded_icons_stay_as_they_are(name: str) -> None:
    icon = Dataset()
    icon.PixelData = encapsulate([b"an icon, coded"])
    icon["PixelData"].VR, icon["PixelData"].is_undefined_length = "OB", True
    image = ct_slice(IconImageSequence=[icon], PixelData=encapsulate([b"an image, coded"]))
    image["IconImageSequence"].is_undefined_length = True
    icon.is_undefined_length_sequence_item = True
    made, shown = spliced(as_file(image, JPEG2000Lossless), overlay(element("PatientName", name)))
    dataset = pydicom.dcmread(io.BytesIO(made))
    assert dataset.IconImageSequence[0].PixelData == icon.PixelData
    assert dataset.PixelData == image.PixelData
    assert comparable(read(made)).keys() == shown.keys()


def test_unknown_vrs_are_passed_over() -> None:
    plain = as_file(ct_slice())
    unknown = b"\x09\x00\x10\x10ZZ\0\0\x04\0\0\0abcd"
    made, shown = spliced(plain.replace(b"\x10\x00\x10\x00PN", unknown + b"\x10\x00\x10\x00PN"))
    assert unknown in made
    assert read(made) == shown


@pytest.mark.parametrize("zeros", [1, 7, 8, 9, 12, 40])
def test_zeros_behind_the_data_set_stay(zeros: int) -> None:
    image = ct_slice(PixelData=None)  # else they are not looked at
    made, shown = spliced(as_file(image) + bytes(zeros))
    assert made.endswith(bytes(zeros))
    assert read(made) == shown


def seeds() -> list[bytes]:
    """Small files in each syntax, with sequences, texts and character sets of their own."""
    inner = Dataset()
    inner.CodeMeaning, inner.SpecificCharacterSet = "x", "ISO_IR 144"
    said = {"SpecificCharacterSet": "ISO_IR 100", "StudyDescription": "Größe"}
    image = ct_slice(ProcedureCodeSequence=[inner, inner], **said)
    image["ProcedureCodeSequence"].is_undefined_length = True
    files = [path.read_bytes() for path in installed_files().values() if path.stat().st_size < 60_000]
    return files + [as_file(image, syntax) for syntax in PLAIN] * 8


def mutated(file: bytes, chance: random.Random) -> bytes:
    changed = bytearray(file)
    for _ in range(chance.choice((1, 1, 2, 3))):
        at = chance.randrange(132, min(4000, len(changed) - 1))
        match chance.randrange(5):
            case 0:
                del changed[at : at + chance.choice((1, 2, 4, 8))]
            case 1:
                changed[at:at] = bytes(chance.choice((2, 4, 8)))
            case _:
                changed[at] = chance.choice((*b"\x00\x01\x02\x08\x10\x20\xffSQUN", chance.randrange(256)))
    return bytes(changed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_whatever_store_takes_is_given_out_corrected(seed: int) -> None:
    chance, files, taken = random.Random(seed), seeds(), 0
    for _ in range(800):
        file = mutated(chance.choice(files), chance)
        with suppress(Fault):
            parse_instance(file)
            taken += 1
            for laid in (OVERLAY, overlay(element("PatientName", "王^小东"), element("StudyID", "x"))):
                try:
                    made, shown = spliced(file, laid)
                    assert comparable(read(made)) == comparable(shown), file.hex()
                except Fault as fault:
                    pytest.fail(f"{fault}: {file.hex()}")
    assert taken > 100
