"""An entry of the audit trail as the XML of an audit message (DICOM PS3.15 A.5.1). Pure.

Made from its AuditEvent, element by element as FHIR R4 maps them (auditevent-mappings.html): what is told of
an act is decided in one place. Only the event ids that DICOM has of its own are chosen here.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fhir.audit_events.render import Entry, audit_event
from fhir.model.systems import DICOM, DICOM_UID

MAX_VALUE = 500  # characters of one value: a receiver need not take more than 32 KiB in all (A.6)

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 §2.2
_BREAKS = {ord(each): f"&#{ord(each)};" for each in "\t\n\r\x85\u2028\u2029"}
_SYSTEMS = {DICOM: "DCM"}  # what codeSystemName calls them

Code = tuple[str, str, str]  # csd-code, codeSystemName, originalText

# PS3.16 CID 400, of interactions that DICOM tells apart; all others have the type of their AuditEvent.
_TRANSFERRED: Code = ("110104", "DCM", "DICOM Instances Transferred")
_DELETED: Code = ("110105", "DCM", "DICOM Study Deleted")
_QUERY: Code = ("110112", "DCM", "Query")
_LOGIN: Code = ("110114", "DCM", "User Authentication")
EVENT_IDS: Mapping[str, Code] = {
    "stow": _TRANSFERRED,
    "wado": _TRANSFERRED,
    "delete-study": _DELETED,
    "delete-series": _DELETED,
    "delete-instance": _DELETED,
    "login": _LOGIN,
    "logout": _LOGIN,
}
# RFC 3881 §5.5.4, and of DICOM's own PS3.16 CID 404.
_PATIENT_NUMBER: Code = ("2", "RFC-3881", "Patient Number")
_CRITERIA: Code = ("10", "RFC-3881", "Search Criteria")
_URI: Code = ("12", "RFC-3881", "URI")
_STUDY: Code = ("110180", "DCM", "Study Instance UID")
_NAME: Code = ("name", "99ISTHMUS", "Name")
_OTHER = "4"  # ParticipantObjectTypeCode


def audit_message(entry: Entry, source: str) -> str:
    """The message; `source` names this installation."""
    event = audit_event(entry)
    is_query = any(each.get("role", {}).get("code") == "24" for each in event["entity"])
    event_id = EVENT_IDS.get(entry.interaction) or (_QUERY if is_query else _code(event["type"]))
    parts = [
        _element(
            "EventIdentification",
            {
                "EventActionCode": event["action"],
                "EventDateTime": event["recorded"],
                "EventOutcomeIndicator": event["outcome"],
            },
            _coded("EventID", event_id),
            *(_coded("EventTypeCode", _code(each)) for each in event["subtype"]),
        ),
        *(_participant(agent, source) for agent in event["agent"]),
        _element(
            "AuditSourceIdentification",
            {"AuditSourceID": source},
            *(
                _element("AuditSourceTypeCode", {"csd-code": each["code"]})
                for each in event["source"]["type"]
            ),
        ),
        *(_object(each, entry) for each in event["entity"]),
    ]
    return '<?xml version="1.0" encoding="UTF-8"?>' + _element("AuditMessage", {}, *parts)


def _participant(agent: Mapping[str, Any], source: str) -> str:
    who = agent["who"].get("identifier", {}).get("value", source)
    attributes = {
        "UserID": who,
        "AlternativeUserID": agent.get("altId"),
        "UserName": agent.get("name"),
        "UserIsRequestor": "true" if agent["requestor"] else "false",
        "NetworkAccessPointID": agent.get("network", {}).get("address"),
        "NetworkAccessPointTypeCode": agent.get("network", {}).get("type"),
    }
    roles = (_coded("RoleIDCode", _code(each)) for each in agent["type"]["coding"])
    return _element("ActiveParticipant", attributes, *roles)


def _object(entity: Mapping[str, Any], entry: Entry) -> str:
    what, role = entity["what"], entity.get("role", {}).get("code")
    id_type, found = _identity(what, entity)
    type_code = entity["type"]["code"]
    attributes = {
        "ParticipantObjectID": found,
        "ParticipantObjectTypeCode": type_code if type_code.isdigit() else _OTHER,
        "ParticipantObjectTypeCodeRole": role,
    }
    return _element(
        "ParticipantObjectIdentification",
        attributes,
        _coded("ParticipantObjectIDTypeCode", id_type),
        _element("ParticipantObjectName", {}, _text(entity.get("name") or id_type[2])),
        *(_details(entity, entry) if role in ("4", "24") else ()),
        *(_contents(found) if id_type == _STUDY else ()),
    )


def _identity(what: Mapping[str, Any], entity: Mapping[str, Any]) -> tuple[Code, str]:
    """What kind of name an object has, and the name."""
    reference, identifier = what.get("reference"), what.get("identifier", {})
    if reference is not None:
        is_patient = entity.get("role", {}).get("code") == "1"
        return (_PATIENT_NUMBER, reference.partition("/")[2]) if is_patient else (_URI, reference)
    if identifier.get("system") == DICOM_UID:
        uid = identifier["value"].removeprefix("urn:oid:")
        return (_STUDY, uid) if what.get("type") == "ImagingStudy" else (_URI, identifier["value"])
    if "value" in identifier:
        return _code(entity["type"]), identifier["value"]
    if "display" in what:
        return _NAME, what["display"]
    return _CRITERIA, what["type"]


def _details(entity: Mapping[str, Any], entry: Entry) -> Iterator[str]:
    """What the trail knows beside, on the object that the act was on."""
    found = [(each["type"], each["valueString"]) for each in entity.get("detail", ())]
    found += [(name, value) for name, value in (("token", entry.token), ("purpose", entry.purpose)) if value]
    for name, value in found:
        encoded = base64.b64encode(value.encode()).decode()
        yield _element("ParticipantObjectDetail", {"type": name, "value": encoded})


def _contents(study_instance_uid: str) -> Iterator[str]:
    studies = _element("StudyIDs", {"UID": study_instance_uid})
    yield _element(
        "ParticipantObjectDescription", {}, _element("ParticipantObjectContainsStudy", {}, studies)
    )


def _code(coding: Mapping[str, str]) -> Code:
    system = coding.get("system", "99ISTHMUS")
    return coding["code"], _SYSTEMS.get(system, system), coding.get("display", coding["code"])


def _coded(name: str, code: Code) -> str:
    return _element(name, {"csd-code": code[0], "codeSystemName": code[1], "originalText": code[2]})


def _element(name: str, attributes: Mapping[str, str | None], *content: str) -> str:
    said = "".join(f' {key}="{_text(value)}"' for key, value in attributes.items() if value is not None)
    return f"<{name}{said}>{''.join(content)}</{name}>" if content else f"<{name}{said}/>"


def _text(value: str) -> str:
    """Character data, or the value of an attribute, in one line.

    What XML cannot hold is replaced, what is long cut: many a repository writes a message a line.
    """
    return escape(_ILLEGAL.sub("\ufffd", value[:MAX_VALUE]), quote=True).translate(_BREAKS)
