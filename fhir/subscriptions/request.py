"""What a Subscription asks for, read strictly (FHIR R4 subscription.html). Pure.

What cannot be served as asked is refused when it is written, with 422 and where it stands in the resource: a
Subscription that is accepted and never delivers is worse than none.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any
from urllib.parse import parse_qsl

from fhir.interactions.door import AUTHORED
from fhir.model.json_codec import Json
from fhir.model.validation.issue import InvalidResource, Issue, IssueType, error
from fhir.outcome import FHIR_JSON, READS_AS_FHIR_JSON
from fhir.search.date import parse_date
from fhir.search.definitions import stored_types
from fhir.search.query import PAGE, RESULT_PARAMETERS, SearchQuery, parse_query
from fhir.search.sql import select_count
from fhir.search.value import InvalidSearch, UnsupportedSearch
from server.kernel.access import EVERYONE, Access
from server.kernel.faults import FaultKind
from server.kernel.outbound_policy import DestinationRefused, OutboundPolicy
from server.kernel.outbox import BATCH

SUBSCRIPTION = "Subscription"
REST_HOOK = "rest-hook"
ACTIVE, OFF, ERROR = "active", "off", "error"  # Subscription.status as this server leaves it
MAX_HEADERS = 16
MAX_HEADER_CHARACTERS = 4_096  # of one
MAX_CRITERIA_CHARACTERS = 2_000

_STATUS_OF: Mapping[str, str] = {"requested": ACTIVE, "active": ACTIVE, "off": OFF, "error": ERROR}
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\x80-\xff\t]*?)[ \t]*")  # RFC 9110 §5
_OURS = frozenset(  # what the request says is not the subscriber's to say, RFC 9110 §7.6.1 among it
    {
        "host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection",
        "keep-alive", "te", "trailer", "upgrade", "expect", "proxy-authorization", "proxy-authenticate",
        "proxy-connection",
    }
)  # fmt: skip
_AS_MANY_AS_MAY_BE = [f"{number}" for number in range(BATCH)]  # what is refused is refused when it is written
_RESULT_ONLY = frozenset({*RESULT_PARAMETERS, PAGE, "_include", "_revinclude"})


class SubscriptionRefused(InvalidResource):
    """The Subscription is valid, and asks for what this server does not do."""

    kind = FaultKind.UNPROCESSABLE


@dataclass(frozen=True, slots=True)
class Subscribed:
    """A Subscription that can be served. `headers` are (name, value); a value None is to stay what it was."""

    status: str
    resource_type: str
    criteria: str  # behind the "?"; "" for every resource of the type
    endpoint: str
    payload: str | None
    headers: tuple[tuple[str, str | None], ...]
    end_us: int | None


KEPT = "(kept by the server)"  # in place of the value of a header, in what is stored and read


def read_subscription(resource: Json, policy: OutboundPolicy, access: Access) -> Subscribed:
    """What a valid Subscription resource asks for.

    Raises:
        SubscriptionRefused: with everything that is not served as asked.
        Forbidden: the criteria lead to a type that the caller may not search.
    """
    issues: list[Issue] = []
    channel = resource["channel"]
    status = _STATUS_OF[resource["status"]]
    if channel["type"] != REST_HOOK:
        text = "Only rest-hook channels are supported."
        issues.append(error(IssueType.NOT_SUPPORTED, text, "Subscription.channel.type"))
    resource_type, criteria = _read_criteria(resource["criteria"], access, issues)
    unsealable: list[Issue] = []
    subscribed = Subscribed(
        status,
        resource_type,
        criteria,
        _read_endpoint(channel.get("endpoint"), channel.get("payload"), policy, issues),
        _read_payload(channel.get("payload"), issues),
        _read_headers(channel.get("header", ()), unsealable),
        _read_end(resource.get("end"), issues),
    )
    if status == OFF:  # needs no host that is allowed by now; but no secret is kept that is not sealed
        issues = []
    if issues or unsealable:
        raise SubscriptionRefused([*issues, *unsealable])
    return subscribed


def query_of(resource_type: str, criteria: str, access: Access, ids: Collection[str]) -> SearchQuery:
    """The search that the criteria are, among these resources: that is where its statement begins.

    Raises:
        InvalidSearch, UnsupportedSearch: it is none, or one with parameters that are about results only.
        Forbidden: a chain leads to a type that may not be searched.
    """
    try:
        pairs = parse_qsl(criteria, keep_blank_values=True, errors="strict", max_num_fields=200)
    except ValueError:
        raise InvalidSearch("The criteria are no search.") from None
    among = ("_id", ",".join(sorted(ids)))
    query = parse_query(resource_type, [*pairs, among], strict=True, access=access)
    query.count = len(ids)
    if any(name.partition(":")[0] in _RESULT_ONLY for name, _ in pairs):
        raise InvalidSearch("Criteria have no parameters that are about the result of a search only.")
    return query


def without_secrets(headers: Sequence[tuple[str, str | None]]) -> list[str]:
    """`channel.header` as it is stored and read."""
    return [f"{name}: {KEPT}" for name, _ in headers]


def _read_criteria(text: str, access: Access, issues: list[Issue]) -> tuple[str, str]:
    where = "Subscription.criteria"
    resource_type, _, criteria = text.partition("?")
    if len(text) > MAX_CRITERIA_CHARACTERS:
        issues.append(error(IssueType.TOO_LONG, "The criteria are too long.", where))
    elif resource_type not in stored_types():
        text = "Criteria begin with one resource type, such as DiagnosticReport?status=final."
        issues.append(error(IssueType.VALUE, text, where))
    else:
        try:
            query = query_of(resource_type, criteria, access, _AS_MANY_AS_MAY_BE)
            select_count(query, EVERYONE, AUTHORED)  # values are read where a statement is made
        except (InvalidSearch, UnsupportedSearch) as refused:
            issues.append(error(refused.issue_type, str(refused), where))
    return resource_type, criteria


def _read_endpoint(
    endpoint: str | None, payload: str | None, policy: OutboundPolicy, issues: list[Issue]
) -> str:
    where = "Subscription.channel.endpoint"
    if endpoint is None:
        issues.append(error(IssueType.REQUIRED, "A rest-hook needs an endpoint.", where))
        return ""
    try:
        parts = policy.require_allowed(endpoint)
    except DestinationRefused as refused:
        text = f"Notifications cannot go there. {refused} See the setting subscription_hosts."
        issues.append(error(IssueType.FORBIDDEN, text, where))
        return endpoint
    if payload is not None and parts.query:
        text = "With a payload the endpoint is a base that /type/id is added to; it has no query."
        issues.append(error(IssueType.VALUE, text, where))
    return endpoint


def _read_payload(payload: str | None, issues: list[Issue]) -> str | None:
    if payload is None:
        return None
    media_type = payload.partition(";")[0].strip().lower()
    if media_type not in READS_AS_FHIR_JSON:
        text = f"The payload is empty or {FHIR_JSON}."
        issues.append(error(IssueType.NOT_SUPPORTED, text, "Subscription.channel.payload"))
    return FHIR_JSON


def _read_headers(lines: Sequence[str | None], issues: list[Issue]) -> tuple[tuple[str, str | None], ...]:
    where = "Subscription.channel.header"
    if len(lines) > MAX_HEADERS:
        issues.append(error(IssueType.TOO_COSTLY, f"More than {MAX_HEADERS} headers.", where))
    read: list[tuple[str, str | None]] = []
    for at, line in enumerate(lines[:MAX_HEADERS]):
        found = _HEADER.fullmatch(line) if line and len(line) <= MAX_HEADER_CHARACTERS else None
        if found is None:
            text = "It is no header of the form 'Name: value', or too long."
            issues.append(error(IssueType.VALUE, text, f"{where}[{at}]"))
        elif found[1].lower() in _OURS:
            text = "This header is the server's own to set."
            issues.append(error(IssueType.VALUE, text, f"{where}[{at}]"))
        else:
            read.append((found[1], None if found[2] == KEPT else found[2]))
    return tuple(read)


def _read_end(text: str | None, issues: list[Issue]) -> int | None:
    end = None if text is None else parse_date(text, UTC)
    if text is not None and end is None:
        issues.append(error(IssueType.VALUE, "This is no instant that can be kept.", "Subscription.end"))
    return None if end is None else end.low_us


def settled(resource: Any, subscribed: Subscribed) -> dict[str, Any]:
    """The elements of the resource that the server sets: status, no old error, headers without values."""
    changed: dict[str, Any] = {"status": subscribed.status}
    if subscribed.status == ACTIVE:
        changed["error"] = None
    if subscribed.headers:
        changed["channel"] = {**resource["channel"], "header": without_secrets(subscribed.headers)}
    return changed
