"""SMART App Launch 2.2: scopes and what they open."""

import pytest

from server.auth.scopes import InvalidScope, access_from, intersect, parse_scopes
from server.kernel.access import Context, Permission, Principal, Reach
from server.kernel.faults import Forbidden

ADA = Principal("user:ada", "Ada")


def letters(permissions: frozenset[Permission]) -> str:
    return "".join(sorted(p.value for p in permissions))


@pytest.mark.parametrize(
    ("text", "context", "resource_type", "permissions"),
    [
        ("patient/Observation.rs", Context.PATIENT, "Observation", "rs"),
        ("user/*.cruds", Context.USER, "*", "cdrsu"),
        ("system/ImagingStudy.c", Context.SYSTEM, "ImagingStudy", "c"),
        ("system/Patient.cud", Context.SYSTEM, "Patient", "cdu"),
        ("patient/Observation.read", Context.PATIENT, "Observation", "rs"),
        ("patient/Observation.write", Context.PATIENT, "Observation", "cdu"),
        ("system/*.*", Context.SYSTEM, "*", "cdrsu"),
    ],
)
def test_parse_resource_scope(text: str, context: Context, resource_type: str, permissions: str) -> None:
    (scope,) = parse_scopes(text).resources
    assert (scope.context, scope.resource_type, letters(scope.permissions)) == (
        context,
        resource_type,
        permissions,
    )
    assert scope.text == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("patient/Observation.sr", id="permissions out of order"),
        pytest.param("patient/Observation.rr", id="permission twice"),
        pytest.param("patient/Observation.", id="no permission"),
        pytest.param("patient/Observation.x", id="unknown permission"),
        pytest.param("patient/Observation", id="no dot"),
        pytest.param("patient/observation.r", id="type in lower case"),
        pytest.param("practitioner/Observation.r", id="unknown context"),
        pytest.param("patient/*Observation.r", id="wildcard in a type"),
        pytest.param("patient/Observation.rs?category=laboratory", id="granular"),
        pytest.param("patient/Observation.rs?", id="empty query"),
        pytest.param("system/*.reads", id="version 1 word with more"),
        pytest.param('system/*."r', id="character outside RFC 6749"),
        pytest.param("system/*.r\nsystem/*.u", id="line break"),
        pytest.param("system/Patién.r", id="not ASCII"),
        pytest.param("admin", id="unknown word"),
        pytest.param("system/*.r " * 2000, id="too long"),
    ],
)
def test_parse_refuses(text: str) -> None:
    with pytest.raises(InvalidScope):
        parse_scopes(text)


def test_parse_keeps_order_and_drops_repeats() -> None:
    scopes = parse_scopes("openid patient/Patient.r launch/patient  patient/Patient.r")
    assert scopes.text == "openid launch/patient patient/Patient.r"


def test_parse_nothing_is_false() -> None:
    assert not parse_scopes("")


@pytest.mark.parametrize(
    ("requested", "allowed", "granted"),
    [
        pytest.param("system/Patient.rs", "system/*.cruds", "system/Patient.rs", id="inside a wildcard"),
        pytest.param("system/Patient.read", "system/*.rs", "system/Patient.read", id="syntax asked is kept"),
        pytest.param("system/Patient.cruds", "system/Patient.rs", "system/Patient.rs", id="narrowed"),
        pytest.param("system/Patient.write", "system/Patient.cu", "system/Patient.cu", id="v1 narrowed"),
        pytest.param(
            "system/*.cruds", "system/Patient.rs system/Task.u", "system/Patient.rs system/Task.u", id="types"
        ),
        pytest.param(
            "system/*.rs",
            "system/*.r system/Patient.s",
            "system/*.r system/Patient.rs",
            id="wildcard and type",
        ),
        pytest.param("system/Patient.rs", "user/*.cruds", "", id="other context"),
        pytest.param("system/Patient.d", "system/*.crus", "", id="other permission"),
        pytest.param("system/Task.r", "system/Patient.r", "", id="other type"),
        pytest.param("openid launch", "openid", "openid", id="context scopes"),
        pytest.param("system/Patient.r", "", "", id="nothing allowed"),
    ],
)
def test_intersect_never_widens(requested: str, allowed: str, granted: str) -> None:
    assert intersect(parse_scopes(requested), parse_scopes(allowed)).text == granted


def test_access_of_patient_token_is_confined_whatever_the_context() -> None:
    access = access_from(ADA, parse_scopes("user/*.cruds"), frozenset({"p1"}))
    assert access.reach("Observation", Permission.READ) == Reach(frozenset({"p1"}))


def test_access_of_patient_scope_without_patient_is_nothing() -> None:
    access = access_from(ADA, parse_scopes("patient/*.cruds"), None)
    with pytest.raises(Forbidden):
        access.reach("Observation", Permission.READ)
