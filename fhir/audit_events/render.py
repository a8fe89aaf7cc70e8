"""An entry of the audit trail as an AuditEvent (FHIR R4 auditevent.html; IHE Basic Audit Log Patterns). Pure.

In the shape of BALP 1.1's patterns: who asked, the client and this server as agents, the patient and what was
asked for as entities, the id of the request as one more. No profile is claimed: BALP wants network addresses
and the text of queries, which may name patients; the trail keeps neither.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fhir.model.builders.datatypes import elements
from fhir.model.systems import DICOM, DICOM_UID
from fhir.search.definitions import resource_types
from server.kernel.clock import instant_text

AUDIT_EVENT = "AuditEvent"
EVENT_TYPE = "http://terminology.hl7.org/CodeSystem/audit-event-type"
REST_INTERACTION = "http://hl7.org/fhir/restful-interaction"
OUTCOMES = "http://terminology.hl7.org/CodeSystem/audit-event-outcome"
ACTIONS = "http://hl7.org/fhir/audit-event-action"
_ENTITY_TYPE = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_OBJECT_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_SOURCE_TYPE = "http://terminology.hl7.org/CodeSystem/security-source-type"
_RESOURCE = {"system": _OBJECT_ROLE, "code": "4", "display": "Domain Resource"}
_QUERY = {"system": _OBJECT_ROLE, "code": "24", "display": "Query"}
_SEARCHES = frozenset({"search", "search-type", "search-system", "search-compartment", "qido", "ups-search"})
_BALP_ENTITY_TYPE = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"

# Interactions of R4's value set; others are words of ours, which have no system.
REST_INTERACTIONS = frozenset(
    {
        "read", "vread", "update", "patch", "delete", "history", "history-instance", "history-type",
        "history-system", "create", "search", "search-type", "search-system", "capabilities", "transaction",
        "batch", "operation",
    }
)  # fmt: skip
AUTHENTICATION = frozenset(  # interactions that are about who asks
    {"token", "revoke", "denied", "client", "login", "provider-login", "logout"}
)
REST_TYPE = {"system": EVENT_TYPE, "code": "rest", "display": "RESTful Operation"}
AUTHENTICATION_TYPE = {"system": DICOM, "code": "110114", "display": "User Authentication"}
ALERT_TYPE = {"system": DICOM, "code": "110113", "display": "Security Alert"}
ALERTS: Mapping[str, Mapping[str, str]] = {  # interactions that are alerts, as PS3.16 CID 401 has them
    "break-glass": {"system": DICOM, "code": "110127", "display": "Emergency Override Started"},
}
OTHER_TYPES = (
    (AUTHENTICATION_TYPE, AUTHENTICATION),
    (ALERT_TYPE, frozenset(ALERTS)),
)  # all else is REST_TYPE

USER = "user:"  # how the principals begin that are users
TOKENS = "urn:isthmus:token:"  # and then the beginning of the hash by which the trail names a token
_OAUTH_AGENT = {
    "system": "https://profiles.ihe.net/ITI/BALP/CodeSystem/UserAgentTypes",
    "code": "UserOauthAgent",
}
_IP_ADDRESS = "2"  # AuditEvent.agent.network.type (valueset-network-type)
_PURPOSE = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_SOURCE = {"system": DICOM, "code": "110153", "display": "Source Role ID"}
_DESTINATION = {"system": DICOM, "code": "110152", "display": "Destination Role ID"}
_APPLICATION = {"system": DICOM, "code": "110150", "display": "Application"}
_KEEPER = {
    "system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type",
    "code": "custodian",
    "display": "Custodian",
}
# As BALP's Create, Read, Update, Delete and Query name them: by which way the data, or the question, goes.
_CLIENT_AND_SERVER = {
    "R": (_DESTINATION, _SOURCE),
    "C": (_SOURCE, _DESTINATION),
    "U": (_SOURCE, _DESTINATION),
    "D": (_APPLICATION, _KEEPER),
    "E": (_SOURCE, _DESTINATION),
}
_RECIPIENT = {"system": _PARTICIPATION, "code": "IRCP", "display": "information recipient"}
_AUTHOR = {"system": _PARTICIPATION, "code": "AUT", "display": "author (originator)"}
_CUSTODIAN = {"system": _PARTICIPATION, "code": "CST", "display": "custodian"}
_USER_OF = {"R": _RECIPIENT, "C": _AUTHOR, "U": _AUTHOR, "D": _CUSTODIAN, "E": _RECIPIENT}

_FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_UID = re.compile(r"[0-9]+(?:\.[0-9]+){3,}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the audit trail."""

    sequence: int
    recorded_us: int
    principal: str
    action: str
    outcome: str
    interaction: str
    resource_type: str
    resource_id: str | None
    patient_id: str | None
    request_id: str | None
    occurrences: int
    client: str | None = None
    token: str | None = None
    purpose: str | None = None
    address: str | None = None

    @property
    def id(self) -> str:
        """The id of its AuditEvent."""
        return f"{self.recorded_us}-{self.sequence}"


def audit_event(entry: Entry) -> dict[str, Any]:
    """The AuditEvent; ids only, as the trail has them, never demographics."""
    recorded = instant_text(entry.recorded_us)
    types = (coding for coding, interactions in OTHER_TYPES if entry.interaction in interactions)
    return elements(
        resourceType=AUDIT_EVENT,
        id=entry.id,
        meta={"versionId": "1", "lastUpdated": recorded},
        type=next(types, REST_TYPE),
        subtype=list(_subtypes(entry.interaction)),
        action=entry.action,
        recorded=recorded,
        outcome=entry.outcome,
        agent=list(_agents(entry)),
        source={
            "observer": {"display": "Isthmus"},
            "type": [{"system": _SOURCE_TYPE, "code": "4", "display": "Application Server"}],
        },
        entity=list(_entities(entry)),
    )


def _agents(entry: Entry) -> Iterator[dict[str, Any]]:
    """Who asked, the client through which they did, and this server."""
    client, server = _CLIENT_AND_SERVER[entry.action]
    through = entry.client if entry.client != entry.principal else None
    network = {"address": entry.address, "type": _IP_ADDRESS} if entry.address else None
    is_user = entry.principal.startswith(USER)
    types = [_USER_OF[entry.action]] if is_user else [client]
    yield elements(
        type={"coding": [*types, _OAUTH_AGENT] if entry.token else types},
        who={"identifier": {"value": entry.principal}},
        altId=entry.principal,
        name=entry.principal.removeprefix(USER) if is_user else None,
        requestor=True,
        policy=[f"{TOKENS}{entry.token}"] if entry.token else None,
        network=None if through else network,
        purposeOfUse=[{"coding": [{"system": _PURPOSE, "code": entry.purpose}]}] if entry.purpose else None,
    )
    if through is not None:
        yield elements(
            type={"coding": [client]},
            who={"identifier": {"value": through}},
            altId=through,
            requestor=False,
            network=network,
        )
    yield {"type": {"coding": [server]}, "who": {"display": "Isthmus"}, "requestor": False}


def _subtypes(interaction: str) -> Iterator[Mapping[str, str]]:
    if interaction in ALERTS:
        yield ALERTS[interaction]
    yield subtype_of(interaction)


def subtype_of(interaction: str) -> Mapping[str, str]:
    """The interaction as a Coding."""
    if interaction in REST_INTERACTIONS:
        return {"system": REST_INTERACTION, "code": interaction}
    return {"code": interaction}


def _entities(entry: Entry) -> Iterator[dict[str, Any]]:
    if entry.patient_id is not None:
        yield {
            "what": {"reference": f"Patient/{entry.patient_id}"},
            "type": {"system": _ENTITY_TYPE, "code": "1", "display": "Person"},
            "role": {"system": _OBJECT_ROLE, "code": "1", "display": "Patient"},
        }
    yield {
        **_what(entry),
        "type": {"system": _ENTITY_TYPE, "code": "2", "display": "System Object"},
        "role": _QUERY if entry.interaction in _SEARCHES else _RESOURCE,
    }
    if entry.request_id:
        yield {
            "what": {"identifier": {"value": entry.request_id}},
            "type": {"system": _BALP_ENTITY_TYPE, "code": "XrequestId"},
        }


def _what(entry: Entry) -> dict[str, Any]:
    """What the act was on. A study has its UID in the trail, not the id of its ImagingStudy."""
    detail = {}
    if entry.occurrences > 1:
        detail = {"detail": [{"type": "occurrences", "valueString": str(entry.occurrences)}]}
    kind, named = entry.resource_type, entry.resource_id
    if kind not in resource_types():
        return {"what": {"display": f"{kind} {named}" if named else kind}, **detail}
    if named is None:
        return {"what": {"type": kind}, "name": kind, **detail}
    if _UID.fullmatch(named):
        identifier = {"system": DICOM_UID, "value": f"urn:oid:{named}"}
        return {"what": {"type": kind, "identifier": identifier}, **detail}
    if _FHIR_ID.fullmatch(named):
        return {"what": {"reference": f"{kind}/{named}"}, **detail}
    return {"what": {"type": kind, "display": named}, **detail}
