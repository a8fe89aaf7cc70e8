"""What a Subscription may ask for, and what is refused when it is written (FHIR R4 subscription.html)."""

from typing import Any

import pytest

from fhir.subscriptions.request import (
    KEPT,
    MAX_CRITERIA_CHARACTERS,
    MAX_HEADER_CHARACTERS,
    MAX_HEADERS,
    SubscriptionRefused,
    read_subscription,
)
from server.kernel.access import system_access
from server.kernel.outbound_policy import AllowedHost, OutboundPolicy

POLICY = OutboundPolicy((AllowedHost("ehr.test"),))
ENDPOINT = "https://ehr.test/hook"
ACCESS = system_access("test")


def subscription(criteria: str = "DiagnosticReport?status=final", **changed: Any) -> dict[str, Any]:
    channel = {"type": "rest-hook", "endpoint": ENDPOINT, **changed.pop("channel", {})}
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "reports",
        "criteria": criteria,
        "channel": {name: value for name, value in channel.items() if value is not None},
        **changed,
    }


def test_everything_that_is_served_is_read() -> None:
    channel = {
        "payload": "application/fhir+json",
        "header": ["Authorization: Bearer  a b ", f"X-Old: {KEPT}"],
    }
    asked = read_subscription(
        subscription(channel=channel, end="2030-01-01T00:00:00.5+01:00"), POLICY, ACCESS
    )
    assert asked.status == "active"
    assert (asked.resource_type, asked.criteria) == ("DiagnosticReport", "status=final")
    assert (asked.endpoint, asked.payload) == (ENDPOINT, "application/fhir+json")
    assert asked.headers == (("Authorization", "Bearer  a b"), ("X-Old", None))
    assert asked.end_us == 1_893_452_400_500_000


@pytest.mark.parametrize(
    ("resource", "code", "expression"),
    [
        (subscription(channel={"type": "websocket"}), "not-supported", "channel.type"),
        (subscription(channel={"type": "email"}), "not-supported", "channel.type"),
        (subscription(channel={"endpoint": None}), "required", "channel.endpoint"),
        (subscription(channel={"endpoint": "http://ehr.test/"}), "forbidden", "channel.endpoint"),
        (subscription(channel={"endpoint": "https://evil.test/"}), "forbidden", "channel.endpoint"),
        (
            subscription(channel={"endpoint": f"{ENDPOINT}?a=b", "payload": "application/json"}),
            "value",
            "channel.endpoint",
        ),
        (subscription(channel={"payload": "application/fhir+xml"}), "not-supported", "channel.payload"),
        (subscription(channel={"payload": "text/plain"}), "not-supported", "channel.payload"),
        (subscription(channel={"header": ["no colon"]}), "value", "channel.header[0]"),
        (subscription(channel={"header": ["A: b", "X: a\r\nY: b"]}), "value", "channel.header[1]"),
        (subscription(channel={"header": ["X: \u0141"]}), "value", "channel.header[0]"),
        (subscription(channel={"header": ["Host: x"]}), "value", "channel.header[0]"),
        (subscription(channel={"header": ["Content-Length: 1"]}), "value", "channel.header[0]"),
        (subscription(channel={"header": ["transfer-encoding: chunked"]}), "value", "channel.header[0]"),
        (
            subscription(channel={"header": ["X: " + "a" * MAX_HEADER_CHARACTERS]}),
            "value",
            "channel.header[0]",
        ),
        (subscription(channel={"header": ["X: a"] * (MAX_HEADERS + 1)}), "too-costly", "channel.header"),
        (subscription("reports"), "value", "criteria"),
        (subscription(""), "value", "criteria"),
        (subscription("Parameters?a=b"), "value", "criteria"),
        (subscription("?status=final"), "value", "criteria"),
        (subscription("DiagnosticReport?colour=red"), "value", "criteria"),
        (subscription("DiagnosticReport?status=final&_sort=date"), "value", "criteria"),
        (subscription("DiagnosticReport?_count=5"), "value", "criteria"),
        (subscription("DiagnosticReport?_include=DiagnosticReport:result"), "value", "criteria"),
        (subscription("DiagnosticReport?_query=x"), "not-supported", "criteria"),
        (subscription("DiagnosticReport?date=never"), "value", "criteria"),
        (subscription("Patient?name=" + "a" * MAX_CRITERIA_CHARACTERS), "too-long", "criteria"),
    ],
)
def test_what_is_not_served_is_refused(resource: dict[str, Any], code: str, expression: str) -> None:
    with pytest.raises(SubscriptionRefused) as refused:
        read_subscription(resource, POLICY, ACCESS)
    assert refused.value.status == 422
    (issue,) = refused.value.issues
    assert (issue.code.value, issue.expression) == (code, f"Subscription.{expression}")
    assert "evil" not in issue.text


@pytest.mark.parametrize(
    "criteria", ["DiagnosticReport", "DiagnosticReport?", "Patient?_id=a,b", "Task?_lastUpdated=gt2020"]
)
def test_criteria_may_be_any_search_of_one_type(criteria: str) -> None:
    assert (
        read_subscription(subscription(criteria), POLICY, ACCESS).resource_type == criteria.partition("?")[0]
    )


@pytest.mark.parametrize(
    ("asked", "status"),
    [("requested", "active"), ("active", "active"), ("off", "off"), ("error", "error")],
)
def test_status_is_the_servers_to_settle(asked: str, status: str) -> None:
    assert read_subscription(subscription(status=asked), POLICY, ACCESS).status == status


def test_every_fault_is_told_at_once() -> None:
    resource = subscription(
        "Nothing?a=b", channel={"type": "sms", "endpoint": "ftp://x", "header": ["Host: a"]}
    )
    with pytest.raises(SubscriptionRefused) as refused:
        read_subscription(resource, POLICY, ACCESS)
    assert len(refused.value.issues) == 4


@pytest.mark.parametrize(
    "header",
    [
        ["secret without a name"],
        ["Host: secret"],
        ["A: one\nB: secret"],
        ["A: " + "s" * MAX_HEADER_CHARACTERS],
        ["A: secret"] * (MAX_HEADERS + 1),
        ["A: secret", None],
    ],
    ids=["no name", "ours", "two", "long", "many", "null"],
)
@pytest.mark.parametrize("status", ["active", "off"])
def test_a_header_that_cannot_be_sealed_is_not_kept_in_clear(status: str, header: list[str | None]) -> None:
    resource = subscription(status=status, channel={"header": header})
    with pytest.raises(SubscriptionRefused) as refused:
        read_subscription(resource, POLICY, ACCESS)
    assert "secret" not in str(refused.value.issues)


def test_what_is_off_needs_no_host_that_is_allowed() -> None:
    resource = subscription(status="off", channel={"endpoint": "https://not-yet.test/"})
    assert read_subscription(resource, POLICY, ACCESS).status == "off"


def test_a_leap_second_is_an_end() -> None:
    asked = read_subscription(subscription(end="2026-12-31T23:59:60Z"), POLICY, ACCESS)
    assert asked.end_us == 1_798_761_599_000_000
    with pytest.raises(SubscriptionRefused) as refused:
        read_subscription(subscription(end="2026-02-30T00:00:00Z"), POLICY, ACCESS)
    assert [issue.expression for issue in refused.value.issues] == ["Subscription.end"]
