"""A document as a person verifies or amends it: what is changed, and nothing else (PS3.3 C.17)."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from dicomweb.attributes import DicomJson
from dicomweb.wire.exact import read_exactly
from dicomweb.wire.faults import UnwritableDataSet
from server.workflows import sr_to_fhir
from server.workflows.report.graph import ReportContext
from server.workflows.sr_to_fhir import conclusions_of
from server.workflows.verify.amend import NotAmendable, amend
from server.workflows.verify.reissue import Signature, reissue
from server.workflows.verify.request import Amendment

from .documents import code, container, document, group, measurements, number, read, text

CONTEXT = ReportContext("report-1", "study-1", "2.25.100", "2026-03-02T08:15:30Z")
SIGNATURE = Signature("Ada Lovelace", None, 1_772_438_400_000_000)
LENGTH = number(codes.SCT.Length, "7.10", codes.UCUM.Millimeter)
SHAPE = code(Code("129736006", "SCT", "Shape"), Code("42700002", "SCT", "Round"))


def full(*items: Dataset, **attributes: Any) -> Dataset:
    identity = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33", "SeriesInstanceUID": "2.25.800"}
    made = document(measurements(group(LENGTH, SHAPE, *items)), **identity, **attributes)
    made.SpecificCharacterSet = "ISO_IR 100"
    return made


def signed(made: Dataset) -> Dataset:
    return dcmread(BytesIO(reissue(read(made), SIGNATURE, "2.25.901")))


def test_what_is_signed_says_the_same_otherwise() -> None:
    made = full(PatientName="Müller^Änne=x^y", InstanceNumber="7", InstitutionName="General")
    again = signed(made)
    changed = {
        "SpecificCharacterSet", "SOPInstanceUID", "InstanceNumber", "InstanceCreationDate",
        "InstanceCreationTime", "CompletionFlag", "VerificationFlag", "PreliminaryFlag",
        "VerifyingObserverSequence", "PredecessorDocumentsSequence",
    }  # fmt: skip
    before, after = ({e.keyword: e.value for e in each if e.keyword not in changed} for each in (made, again))
    assert after == before
    assert (again.InstanceNumber, again.InstanceCreationDate, again.InstanceCreationTime) == (
        8,
        "20260302",
        "080000",
    )
    assert again.file_meta.MediaStorageSOPInstanceUID == again.SOPInstanceUID == "2.25.901"
    observer = again.VerifyingObserverSequence[0]
    assert (observer.VerifyingOrganization, observer.VerificationDateTime) == (
        "General",
        "20260302080000+0000",
    )


def test_an_earlier_observer_does_not_answer_for_later_words() -> None:
    earlier = Dataset()
    earlier.VerifyingObserverName = "Roe^Richard"
    again = signed(full(VerifyingObserverSequence=[earlier], DigitalSignaturesSequence=[Dataset()]))
    assert [each.VerifyingObserverName for each in again.VerifyingObserverSequence] == ["Ada Lovelace"]
    assert again.VerifyingObserverSequence[0].VerifyingOrganization == "not stated"
    assert "DigitalSignaturesSequence" not in again


def test_a_value_that_is_not_at_hand_is_refused() -> None:
    made = full()
    made.add_new(0x00091001, "LO", "ACME")
    made.add_new(0x00091010, "OB", b"\1" * 4096)
    with pytest.raises(UnwritableDataSet):
        reissue(read(made), SIGNATURE, "2.25.901")


def change(
    made: Dataset, amendment: Amendment, values: Mapping[str, tuple[str, Any]] | None = None
) -> DicomJson:
    """The document amended; `values` are by the code of what they are of."""
    content = read(made)
    graph = sr_to_fhir.map_sr(content, CONTEXT)
    ids = {each["code"].get("coding", [{}])[0].get("code"): each["id"] for each in graph.observations}
    named = {ids[of]: value for of, value in (values or {}).items()}
    rejected = frozenset(ids[each] for each in amendment.rejected)
    asked = replace(amendment, values=named, rejected=rejected)
    amend(content, graph.sources, graph.also, conclusions_of(content), asked)
    return read_exactly(reissue(content, SIGNATURE, "2.25.901"))


def told(content: DicomJson) -> dict[str, Any]:
    """By code: the value of each Observation."""
    graph = sr_to_fhir.map_sr(content, CONTEXT)
    return {
        each["code"]["coding"][0]["code"]: next((v for k, v in each.items() if k.startswith("value")), None)
        for each in graph.observations
    }


def test_values_are_set_in_their_own_form() -> None:
    note = text(codes.DCM.Comment, "first")
    red = {"coding": [{"system": "http://snomed.info/sct", "code": "26216008", "display": "Central"}]}
    values = {
        codes.SCT.Length.value: ("valueDecimal", Decimal("1E+1")),
        codes.DCM.Comment.value: ("valueString", "zweite Länge"),
        "129736006": ("valueCodeableConcept", red),
    }
    after = told(change(full(note), Amendment(), values))
    assert after[codes.SCT.Length.value]["value"] == Decimal("10")
    assert after[codes.DCM.Comment.value] == "zweite Länge"
    assert after["129736006"]["coding"][0]["code"] == "26216008"


@pytest.mark.parametrize("found", [0, 1, 2])
def test_there_is_one_conclusion_then(found: int) -> None:
    said = [text(codes.DCM.Conclusion, f"Word {n}.") for n in range(found)]
    made = full()
    if said:
        made.ContentSequence.append(container(codes.DCM.Conclusions, *said))
    content = change(made, Amendment(conclusion="The word."))
    assert [each.text() for each in conclusions_of(content)] == ["The word."]


def test_a_rejected_group_goes_with_its_members() -> None:
    assert told(change(full(), Amendment(rejected=frozenset({"125007"})))) == {}


@pytest.mark.parametrize(
    ("of", "value"),
    [
        ("129736006", ("valueCodeableConcept", {"text": "blue"})),
        ("129736006", ("valueCodeableConcept", {"coding": [{"system": "urn:x", "code": "1"}]})),
        (codes.SCT.Length.value, ("valueQuantity", {"unit": "mm"})),
        (codes.SCT.Length.value, ("valueQuantity", {"value": Decimal("1.234567890123456789")})),
    ],
)
def test_what_the_document_cannot_say_is_refused(of: str, value: tuple[str, Any]) -> None:
    with pytest.raises(NotAmendable):
        change(full(), Amendment(), {of: value})


def test_nothing_is_taken_out_where_items_are_counted() -> None:
    pointing = Dataset()
    pointing.RelationshipType, pointing.ReferencedContentItemIdentifier = "INFERRED FROM", [1, 1, 1]
    made = full(number(codes.SCT.Volume, "1", codes.UCUM.Millimeter, pointing))
    with pytest.raises(NotAmendable):
        change(made, Amendment(rejected=frozenset({codes.SCT.Length.value})))
    assert told(change(made, Amendment(), {codes.SCT.Length.value: ("valueDecimal", Decimal(3))}))
