"""Search for Workitems, PS3.18 §11.9: the matching keys of PS3.4 Table CC.2.5-3."""

from typing import Any

import httpx
import pytest

from dicomweb.worklist import routes
from dicomweb.worklist.dicom_json import attribute, item
from dicomweb.worklist.keys import KEYS
from dicomweb.worklist.search import MORE_RESULTS
from server.kernel.services import Services
from tests.conformance.ps3_18.worklist import UID, Ups, code, input_of, workitem
from tests.unit.worklist.kit import armed_uid, store_study

STUDY = "1.2.840.1"
OTHER = "2.25.4712"

PERFORMER = item(
    attribute("HumanPerformerCodeSequence", code("radiologist", "99ROLE")),
    attribute("HumanPerformerName", {"Alphabetic": "Röntgen^Wilhelm"}),
    attribute("HumanPerformerOrganization", "Radiology"),
)
REQUEST = item(
    attribute("StudyInstanceUID", STUDY),
    attribute("AccessionNumber", "A1"),
    attribute("RequestedProcedureID", "RP1"),
    attribute("PlacerOrderNumberImagingServiceRequest", "P1"),
    attribute("FillerOrderNumberImagingServiceRequest", "F1"),
)
REPLACED = item(attribute("ReferencedSOPInstanceUID", "1.2.9"), attribute("ReferencedSOPClassUID", "1.2"))
FOUND = workitem(
    ScheduledStationNameCodeSequence=[code("WS1", "99A", "one"), code("WS2", "99B", "two")],
    ScheduledStationClassCodeSequence=code("CLASS"),
    ScheduledStationGeographicLocationCodeSequence=code("ROOM 1"),
    ScheduledWorkitemCodeSequence=code("110005", "DCM", "Interpretation"),
    ScheduledHumanPerformersSequence=PERFORMER,
    ExpectedCompletionDateTime="20260115",
    ScheduledProcedureStepExpirationDateTime="20260201",
    InputInformationSequence=input_of(STUDY, "1.2.840.1.1"),
    StudyInstanceUID="1.2.840.7",
    ReferencedRequestSequence=REQUEST,
    ReplacedProcedureStepSequence=REPLACED,
    AdmissionID="ADM1",
    IssuerOfPatientID="HOSPITAL",
    PatientBirthDate="19700102",
    PatientSex="F",
)
STATION = "ScheduledStationNameCodeSequence"
START = "ScheduledProcedureStepStartDateTime"

# (keys, whether FOUND matches)
CASES: list[tuple[dict[str, str], bool]] = [
    ({"SOPInstanceUID": f"1.2,{UID}"}, True),
    ({"SOPInstanceUID": "1.2"}, False),
    ({"SOPClassUID": "1.2.840.10008.5.1.4.34.6.1"}, True),
    ({"ProcedureStepState": "SCHEDULED"}, True),
    ({"00741000": "IN PROGRESS"}, False),
    ({"ScheduledProcedureStepPriority": "MEDIUM,HIGH"}, True),
    ({"ScheduledProcedureStepPriority": "LOW"}, False),
    ({"ProcedureStepLabel": "Read*"}, True),
    ({"ProcedureStepLabel": "read*"}, False),
    ({"WorklistLabel": "Read?ng"}, True),
    ({"WorklistLabel": "Isthmus AI"}, False),
    ({"InputReadinessState": "READY"}, True),
    ({"InputReadinessState": "INCOMPLETE"}, False),
    ({f"{STATION}.CodeValue": "WS1", f"{STATION}.CodingSchemeDesignator": "99A"}, True),
    ({f"{STATION}.CodeValue": "WS1", f"{STATION}.CodingSchemeDesignator": "99B"}, False),  # of two items
    ({f"{STATION}.CodeMeaning": "tw*"}, True),
    ({f"{STATION}.LongCodeValue": "WS1"}, False),
    ({"ScheduledStationClassCodeSequence.CodeValue": "CLASS"}, True),
    ({"ScheduledStationGeographicLocationCodeSequence.CodeValue": "ROOM?1"}, True),
    ({"ScheduledWorkitemCodeSequence.CodeValue": "110005"}, True),
    ({"ScheduledWorkitemCodeSequence.CodeValue": "110001"}, False),
    ({"00404018.00080100": "110005", "00404018.00080102": "DCM"}, True),
    ({"ScheduledHumanPerformersSequence.HumanPerformerName": "rontgen*"}, True),
    ({"ScheduledHumanPerformersSequence.HumanPerformerOrganization": "Radiology"}, True),
    ({"ScheduledHumanPerformersSequence.HumanPerformerCodeSequence.CodeValue": "radiologist"}, True),
    ({START: "20260115120000+0000"}, True),
    ({START: "20260115"}, True),
    ({START: "20260115130000+0100"}, True),
    ({START: "20260115-20260116"}, True),
    ({START: "-20260114"}, False),
    ({START: "20260116-"}, False),
    ({START: "2026011511-2026011513"}, True),
    ({"ExpectedCompletionDateTime": "202601"}, True),
    ({"ScheduledProcedureStepExpirationDateTime": "2026-2027"}, True),
    ({"ScheduledProcedureStepModificationDateTime": "-2020"}, False),
    ({"StudyInstanceUID": "1.2.840.7"}, True),
    ({"StudyInstanceUID": STUDY}, True),  # of its input
    ({"InputInformationSequence.StudyInstanceUID": STUDY}, True),
    ({"InputInformationSequence.SeriesInstanceUID": "1.2.840.1.1"}, True),
    ({"InputInformationSequence.StudyInstanceUID": "1.2.840.7"}, False),
    ({"ReferencedRequestSequence.StudyInstanceUID": STUDY}, True),
    (
        {
            "ReferencedRequestSequence.AccessionNumber": "A1",
            "ReferencedRequestSequence.RequestedProcedureID": "RP*",
            "ReferencedRequestSequence.PlacerOrderNumberImagingServiceRequest": "P1",
            "ReferencedRequestSequence.FillerOrderNumberImagingServiceRequest": "F1",
        },
        True,
    ),
    ({"ReplacedProcedureStepSequence.ReferencedSOPInstanceUID": "1.2.9"}, True),
    ({"AdmissionID": "ADM1"}, True),
    ({"PatientName": "doe^*"}, True),
    ({"PatientName": "Doe^John"}, False),
    ({"PatientID": "MRN-1"}, True),
    ({"IssuerOfPatientID": "HOSPITAL"}, True),
    ({"PatientBirthDate": "1970*"}, False),
    ({"PatientBirthDate": "19690101-19711231"}, True),
    ({"PatientSex": "F"}, True),
    ({"PatientID": "MRN-1", "AdmissionID": "ADM2"}, False),
]


def test_every_key_has_a_case() -> None:
    asked = {name for keys, _ in CASES for name in keys}
    codes = {key for key in KEYS if "CodeSequence." in key}  # the four of each code sequence are alike
    assert set(KEYS) - codes <= asked


async def test_matching_keys(ups: Ups) -> None:
    assert (await ups.create(FOUND)).status_code == 201
    await ups.create(workitem(PatientName={"Alphabetic": "Other"}, PatientID="MRN-2"), OTHER)
    wrong = []
    for keys, matches in CASES:
        answer = await ups.http.get("/dicom-web/workitems", params=keys)
        if answer.status_code == 400 and "1970*" in keys.values():
            continue  # no DA
        found = [each["00080018"]["Value"][0] for each in answer.json()]
        if (UID in found) is not matches:
            wrong.append((keys, found))
    assert wrong == []


# What a workitem of the engine is found by, as it is shown
ENGINES: list[dict[str, str]] = [
    {"ProcedureStepLabel": "ct-quantification*"},
    {"WorklistLabel": "Isthmus AI"},
    {"InputReadinessState": "READY"},
    {f"{STATION}.LongCodeValue": "ct-quantification", f"{STATION}.CodingSchemeDesignator": "99ISTHMUS"},
    {"ScheduledWorkitemCodeSequence.CodeValue": "110001"},
    {START: "2020-"},
    {"StudyInstanceUID": "1.2.3"},
    {"PatientID": "MRN-*"},
]
NOT_ENGINES: list[dict[str, str]] = [
    {"AdmissionID": "*1"},
    {f"{STATION}.CodingSchemeDesignator": "DCM"},
    {START: "-2020"},
    {"ScheduledStationClassCodeSequence.CodeValue": "CLASS"},
    {"WorklistLabel": "Reading"},
]


async def test_engines_workitems_are_found_by_what_they_show(ups: Ups, services: Services) -> None:
    await store_study(services.database)
    uid = await armed_uid(services.database)
    await ups.create(FOUND)
    assert [keys for keys in ENGINES if uid not in await ups.found(**keys)] == []
    assert [keys for keys in NOT_ENGINES if uid in await ups.found(**keys)] == []


async def test_keys_follow_an_update(ups: Ups) -> None:
    await ups.create(FOUND)
    await ups.update(attribute(STATION, code("WS3", "99A")))
    assert await ups.found(**{f"{STATION}.CodeValue": "WS3"}) == [UID]
    assert await ups.found(**{f"{STATION}.CodeValue": "WS1"}) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (START, "yesterday"),
        (START, "20260115120000-0000-x"),
        ("PatientBirthDate", "1970"),
        ("StudyInstanceUID", "x"),
        ("PatientName", "a\0b"),
    ],
)
async def test_value_that_its_vr_does_not_allow_is_400(ups: Ups, key: str, value: str) -> None:
    answer = await ups.http.get("/dicom-web/workitems", params={key: value})
    assert (answer.status_code, key in answer.text or "NUL" in answer.text) == (400, True)


async def test_fuzzy_matching_is_said_not_to_be_applied(ups: Ups) -> None:
    answer = await ups.http.get("/dicom-web/workitems?fuzzymatching=true&PatientName=Doe")
    assert answer.headers["warning"] == (
        '299 isthmus "The fuzzymatching parameter is not supported. '
        'Only literal matching has been performed."'
    )


async def test_single_instances_are_named_when_asked_for(ups: Ups) -> None:
    named = input_of("1.5", "1.5.1", ("1.2", "1.5.1.1"))
    await ups.create(workitem(InputInformationSequence=named))
    answer: httpx.Response = await ups.http.get("/dicom-web/workitems")
    (short,) = answer.json()[0]["00404021"]["Value"]
    assert short == {key: value for key, value in named.items() if key != "00081199"}
    answer = await ups.http.get("/dicom-web/workitems?includefield=InputInformationSequence")
    whole: Any = answer.json()[0]["00404021"]["Value"]
    assert whole == [named]


async def test_an_answer_of_long_workitems_ends_early_and_says_so(
    ups: Ups, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand of eight megabytes were read at once."""
    uids = [f"2.25.{number}" for number in range(3)]
    for uid in uids:
        assert (await ups.create(workitem(), uid)).status_code == 201
    monkeypatch.setattr(routes, "MAX_READ_CHARACTERS", 1)
    for offset, uid in enumerate(reversed(uids)):
        page = await ups.http.get("/dicom-web/workitems", params={"offset": offset})
        assert [each["00080018"]["Value"] for each in page.json()] == [[uid]]
        assert (MORE_RESULTS in page.headers.get("Warning", "")) is (uid != uids[0])
