"""Audit messages obey the schema of DICOM PS3.15 A.5.1 and go out as A.6 and IHE ITI-20 ask.

The schema is in RELAX NG there; here are its facts: of each element its attributes with their values, and its
children in order with how often each comes.
"""

import base64
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from fhir.audit_events.render import Entry
from server.audit.forward.message import EVENT_IDS, audit_message
from server.audit.forward.syslog import frame, syslog_message

ANY, NUMBER = re.compile(r".*", re.DOTALL), re.compile(r"[0-9]+")
CODED = {
    "csd-code": (True, ANY),
    "codeSystemName": (True, ANY),
    "displayName": (False, ANY),
    "originalText": (True, ANY),
}
DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


def one_of(*values: str) -> re.Pattern[str]:
    return re.compile("|".join(values))


# element: attributes (required, values), children (name, at least, at most) in order
SCHEMA = {
    "AuditMessage": (
        {},
        [
            ("EventIdentification", 1, 1),
            ("ActiveParticipant", 1, None),
            ("AuditSourceIdentification", 1, 1),
            ("ParticipantObjectIdentification", 0, None),
        ],
    ),
    "EventIdentification": (
        {
            "EventActionCode": (False, one_of(*"CRUDE")),
            "EventDateTime": (True, DATE_TIME),
            "EventOutcomeIndicator": (True, one_of("0", "4", "8", "12")),
        },
        [("EventID", 1, 1), ("EventTypeCode", 0, None), ("EventOutcomeDescription", 0, 1)],
    ),
    "ActiveParticipant": (
        {
            "UserID": (True, ANY),
            "AlternativeUserID": (False, ANY),
            "UserName": (False, ANY),
            "UserIsRequestor": (True, one_of("true", "false", "0", "1")),
            "NetworkAccessPointID": (False, ANY),
            "NetworkAccessPointTypeCode": (False, one_of(*"12345")),
        },
        [("RoleIDCode", 0, None), ("MediaIdentifier", 0, 1)],
    ),
    "AuditSourceIdentification": (
        {"AuditEnterpriseSiteID": (False, ANY), "AuditSourceID": (True, ANY)},
        [("AuditSourceTypeCode", 0, None)],
    ),
    "AuditSourceTypeCode": ({name: (name == "csd-code", values) for name, (_, values) in CODED.items()}, []),
    "ParticipantObjectIdentification": (
        {
            "ParticipantObjectID": (True, ANY),
            "ParticipantObjectTypeCode": (False, one_of(*"1234")),
            "ParticipantObjectTypeCodeRole": (False, one_of(*map(str, range(1, 27)))),
            "ParticipantObjectDataLifeCycle": (False, one_of(*map(str, range(1, 16)))),
            "ParticipantObjectSensitivity": (False, ANY),
        },
        [
            ("ParticipantObjectIDTypeCode", 1, 1),
            ("ParticipantObjectName", 1, 1),  # or a ParticipantObjectQuery; queries are not in the trail
            ("ParticipantObjectDetail", 0, None),
            ("ParticipantObjectDescription", 0, None),
        ],
    ),
    "ParticipantObjectDetail": ({"type": (True, ANY), "value": (True, BASE64)}, []),
    "ParticipantObjectDescription": ({}, [("ParticipantObjectContainsStudy", 0, 1)]),
    "ParticipantObjectContainsStudy": ({}, [("StudyIDs", 0, None)]),
    "StudyIDs": ({"UID": (True, re.compile(r"[0-2](\.(0|[1-9][0-9]*))*"))}, []),
    "ParticipantObjectName": ({}, []),
    **dict.fromkeys(("EventID", "EventTypeCode", "RoleIDCode", "ParticipantObjectIDTypeCode"), (CODED, [])),
}  # fmt: skip


def check(element: ElementTree.Element) -> None:
    attributes, children = SCHEMA[element.tag]
    assert {name for name, (required, _) in attributes.items() if required} <= set(element.attrib), (
        element.tag
    )
    for name, value in element.attrib.items():
        assert attributes[name][1].fullmatch(value), (element.tag, name, value)
    left = list(element)
    for name, least, most in children:
        found = 0
        while left and left[0].tag == name:
            check(left.pop(0))
            found += 1
        assert found >= least, (element.tag, name)
        assert most is None or found <= most, (element.tag, name)
    assert not left, (element.tag, left[0].tag)


STUDY = "1.2.840.113619.2.1.3"
READ = Entry(
    7,
    1764170000123456,
    "user:ada",
    "R",
    "0",
    "read",
    "Patient",
    "p1",
    "p1",
    "req-1",
    1,
    "client:app",
    "0123456789ab",
)


def act(
    action: str, outcome: str, interaction: str, kind: str, named: str | None = None, **more: Any
) -> Entry:
    """An entry of a client, unless `more` says otherwise."""
    said = {"principal": "client:a", "patient_id": None, "request_id": None, "occurrences": 1, **more}
    return Entry(
        8,
        1,
        action=action,
        outcome=outcome,
        interaction=interaction,
        resource_type=kind,
        resource_id=named,
        **said,
    )


ENTRIES = {
    "read by a user through an app": READ,
    "WADO, counted": act("R", "0", "wado", "ImagingStudy", STUDY, occurrences=12, purpose="TREAT"),
    "STOW": act("C", "4", "stow", "ImagingStudy", STUDY, occurrences=2),
    "QIDO": act("E", "0", "qido", "ImagingStudy"),
    "search of a type": act("E", "0", "search-type", "Observation", request_id="r"),
    "denied": act("E", "8", "denied", "Patient", principal="anonymous"),
    "a login that failed": act("E", "8", "login", "User", "ada", principal="anonymous"),
    "an emergency": act("E", "0", "break-glass", "Patient", "p1", patient_id="p1", principal="user:ada"),
    "a study is deleted": act("D", "0", "delete-study", "ImagingStudy", STUDY, occurrences=3),
    "a month of the trail": act("D", "0", "prune-audit", "Administration", "2026-01"),
    "what no XML can hold": act("R", "0", "read", "Patient", "a b\n", principal='user:<&"\x00\x1b\ud800>'),
}  # fmt: skip


def parsed(entry: Entry) -> ElementTree.Element:
    return ElementTree.fromstring(audit_message(entry, "https://pacs.example.org").encode())


@pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in ENTRIES.items()])
def test_a_5_1_schema(entry: Entry) -> None:
    check(parsed(entry))
    assert len(audit_message(entry, "https://pacs.example.org").splitlines()) == 1


def test_a_5_1_what_a_read_says() -> None:
    message = parsed(READ)
    event = message.find("EventIdentification")
    assert event is not None
    assert event.attrib == {
        "EventActionCode": "R",
        "EventDateTime": "2025-11-26T15:13:20.123Z",
        "EventOutcomeIndicator": "0",
    }
    participants = [
        (each.get("UserID"), each.get("UserIsRequestor")) for each in message.iter("ActiveParticipant")
    ]
    assert participants == [
        ("user:ada", "true"),
        ("client:app", "false"),
        ("https://pacs.example.org", "false"),
    ]
    objects = [
        (each.get("ParticipantObjectID"), each.get("ParticipantObjectTypeCodeRole"))
        for each in message.iter("ParticipantObjectIdentification")
    ]
    assert objects == [("p1", "1"), ("Patient/p1", "4"), ("req-1", None)]
    details = {
        each.get("type"): base64.b64decode(each.get("value") or "")
        for each in message.iter("ParticipantObjectDetail")
    }
    assert details == {"token": b"0123456789ab"}


def test_a_5_2_where_it_came_from() -> None:
    """NetworkAccessPointID, of type 2 (IP address), of the participant that connected."""
    message = parsed(replace(READ, address="192.0.2.7"))
    check(message)
    network = [
        (each.get("NetworkAccessPointID"), each.get("NetworkAccessPointTypeCode"))
        for each in message.iter("ActiveParticipant")
    ]
    assert network == [(None, None), ("192.0.2.7", "2"), (None, None)]


@pytest.mark.parametrize(
    ("name", "event_id"),
    [
        ("read by a user through an app", "rest"),
        ("WADO, counted", "110104"),
        ("STOW", "110104"),
        ("QIDO", "110112"),
        ("search of a type", "110112"),
        ("denied", "110114"),
        ("a login that failed", "110114"),
        ("an emergency", "110113"),
        ("a study is deleted", "110105"),
    ],
)
def test_a_5_3_event_ids(name: str, event_id: str) -> None:
    found = parsed(ENTRIES[name]).find("EventIdentification/EventID")
    assert found is not None
    assert found.get("csd-code") == event_id


def test_study_is_named_as_dicom_does() -> None:
    message = parsed(ENTRIES["WADO, counted"])
    study = message.findall("ParticipantObjectIdentification")[0]
    kind = study.find("ParticipantObjectIDTypeCode")
    assert kind is not None
    assert (study.get("ParticipantObjectID"), kind.get("csd-code")) == (STUDY, "110180")
    assert [each.get("UID") for each in study.iter("StudyIDs")] == [STUDY]


def test_a_6_longest_message_fits_what_a_receiver_must_take() -> None:
    for long in ("x" * 5000, "\U0001f600" * 5000, "&" * 5000):
        entry = Entry(1, 1, long, "R", "0", "read", long, long, long, long, 1, long, long, long)
        message = audit_message(entry, "https://pacs.example.org")
        check(ElementTree.fromstring(message.encode()))
        assert len(syslog_message(message, 1, "0", "pacs.example.org")) <= 32_768


def test_a_6_and_iti_20_syslog() -> None:
    text = syslog_message("<AuditMessage/>", 1764170000123456, "0", "pacs.example.org").decode()
    assert text == (
        "<85>1 2025-11-26T15:13:20.123456Z pacs.example.org isthmus - IHE+RFC-3881 - \ufeff<AuditMessage/>"
    )
    assert syslog_message("", 0, "8", "").decode().startswith("<84>1 1970-01-01T00:00:00.000000Z - isthmus ")
    assert frame("ä".encode()) == b"2 \xc3\xa4"


def test_event_ids_are_of_interactions_that_are_recorded() -> None:
    assert all(code[0].startswith("1101") and code[1] == "DCM" for code in EVENT_IDS.values())
