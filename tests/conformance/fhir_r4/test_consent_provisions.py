"""Which Consents are enforced, and as which rules (FHIR R4 consent.html#implementing)."""

from datetime import UTC
from typing import Any

import pytest

from fhir.consents.compile import MAX_ROWS, compile_consent
from fhir.search.value import Surroundings
from server.kernel.consents.keep import State
from tests.services.consents import actor, consent, label, provision

AROUND = Surroundings(UTC, "http://fhir.test/fhir", 0)
ADA, WARD = "Practitioner/ada", "Organization/ward"
NOWHERE = {"role": actor(ADA)["role"], "reference": {"identifier": {"value": "1"}}}
MANY = " ".join(f"Practitioner/{n}" for n in range(MAX_ROWS + 1))


def deny(*below: Any, **conditions: Any) -> dict[str, Any]:
    return provision("deny", *below, **conditions)


def permit(*below: Any, **conditions: Any) -> dict[str, Any]:
    return provision("permit", *below, **conditions)


@pytest.mark.parametrize(
    ("element", "said"),
    [
        ("Consent.scope", consent("p", scope={"coding": [{"code": "patient-privacy"}]})),
        ("Consent.patient", {**consent("p"), "patient": {"identifier": {"value": "1"}}}),
        ("Consent.patient", {**consent("p"), "patient": {"reference": "http://elsewhere.test/Patient/p"}}),
        ("Consent.policyRule", consent("p", base=None)),
        ("Consent.policyRule", consent("p", provision(), base="OPTINR")),
        ("Consent.modifierExtension", consent("p", modifierExtension=[{"url": "urn:x"}])),
        ("Consent.implicitRules", consent("p", implicitRules="urn:x")),
        (
            "Consent.provision.provision[0].actor[0].modifierExtension",
            consent("p", provision(None, deny(actor=[actor(ADA) | {"modifierExtension": [{}]}]))),
        ),
        ("Consent.provision.purpose", consent("p", deny(purpose=[{"code": "TREAT"}]))),
        ("Consent.provision.code", consent("p", deny(code=[{"text": "x"}]))),
        ("Consent.provision.dataPeriod", consent("p", deny(dataPeriod={"start": "2020"}))),
        ("Consent.provision.data", consent("p", deny(data=[{"meaning": "instance"}]))),
        ("Consent.provision.action[1]", consent("p", deny(action="access correct"))),
        ("Consent.provision.action[0]", consent("p", deny(action=[{"text": "access"}]))),
        ("Consent.provision.class[0]", consent("p", deny(types="Observations"))),
        (
            "Consent.provision.class[0]",
            consent("p", deny(**{"class": [{"system": "urn:x", "code": "Task"}]})),
        ),
        ("Consent.provision.securityLabel[1]", consent("p", deny(securityLabel=[label("R"), {"code": "R"}]))),
        ("Consent.provision.securityLabel[0]", consent("p", deny(label="X"))),
        ("Consent.provision.securityLabel", consent("p", permit(label="R V"), base="OPTOUT")),
        ("Consent.provision.actor[0].role", consent("p", deny(actor=[actor(ADA, "CST")]))),
        ("Consent.provision.actor[0].reference", consent("p", deny(actor="Group/g"))),
        ("Consent.provision.actor[0].reference", consent("p", deny(actor=[NOWHERE]))),
        ("Consent.provision.period", consent("p", deny(period={"start": "2020-02-30"}))),
        ("Consent.provision.period", consent("p", deny(period={"start": "2020", "_end": {"id": "x"}}))),
        ("Consent.provision.period", consent("p", deny(period={"extension": [{"url": "urn:x"}]}))),
        (
            "Consent.provision.provision[0].securityLabel",
            consent("p", provision(None, permit(actor=ADA), label="R V"), base="OPTOUT"),
        ),
        ("Consent.provision.provision[0].type", consent("p", deny(provision(types="Task")))),
        (
            "Consent.provision.provision[0].actor",
            consent("p", permit(deny(actor=WARD), actor=ADA), base="OPTOUT"),
        ),
        (
            "Consent.provision.provision[0].actor",
            consent("p", provision(None, permit(actor=ADA), actor=WARD), base="OPTOUT"),
        ),
        ("Consent.provision", consent("p", deny(actor=MANY))),
    ],
)
def test_what_is_not_enforced_says_why(element: str, said: dict[str, Any]) -> None:
    verdict = compile_consent(said, AROUND)
    assert verdict.state is State.UNENFORCED
    assert [each for each, _ in verdict.reasons] == [element]
    assert (verdict.denials, verdict.exceptions) == ((), ())


def test_only_active_consents_are_in_force() -> None:
    for status in ("draft", "proposed", "rejected", "inactive", "entered-in-error"):
        said = consent("p", deny(purpose=[{"code": "TREAT"}]), base="OPTOUT", status=status)
        assert compile_consent(said, AROUND).state is State.NOT_IN_FORCE


@pytest.mark.parametrize(
    ("said", "denials", "exceptions"),
    [
        pytest.param(consent("p"), [], [], id="OPTIN"),
        pytest.param(consent("p", permit(types="Task")), [], [], id="a permit under a permit"),
        pytest.param(consent("p", base="OPTOUT"), ["0 access * *"], [], id="OPTOUT"),
        pytest.param(consent("p", deny(), base=None), ["0 access * *"], [], id="policy informs"),
        pytest.param(
            consent("p", deny(permit(action="access"), types="Task", actor=ADA)),
            [f"0 access {ADA} Task", f"1 disclose {ADA} Task"],
            ["0 * *"],
            id="an exception of one act",
        ),
        pytest.param(
            consent("p", deny(permit(deny(types="Task Media"), types="Task List"), types="Task List Flag")),
            ["0 access * Flag", "0 access * List", "0 access * Task", "1 access * Task"],
            ["0 * List", "0 * Task"],
            id="a denial within an exception within a denial",
        ),
        pytest.param(
            consent("p", deny(deny(types="List"), types="Task")), ["0 access * Task"], [], id="nothing left"
        ),
        pytest.param(consent("p", deny(period={"start": "2021", "end": "2020"})), [], [], id="never"),
    ],
)
def test_provisions_become_rules(said: dict[str, Any], denials: list[str], exceptions: list[str]) -> None:
    verdict = compile_consent(said, AROUND)
    assert (verdict.state, verdict.holder) == (State.ENFORCED, "p")
    told = [f"{d['node']} {d['action']} {d['actor']} {d['resource_type']}" for d in verdict.denials]
    assert told == denials
    assert [f"{e['node']} {e['actor']} {e['resource_type']}" for e in verdict.exceptions] == exceptions


def test_a_period_lasts_to_the_end_of_its_last_day() -> None:
    (row,) = compile_consent(consent("p", deny(period={"end": "2020-12"})), AROUND).denials
    assert row["ends_us"] == 1609459200 * 1_000_000  # 2021-01-01T00:00Z
