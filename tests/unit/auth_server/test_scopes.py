"""SMART App Launch 2.2: scopes and what they open."""

from dataclasses import replace

import pytest

from server.auth.scopes import InvalidScope, access_from, intersect, parse_scopes
from server.kernel.access import EVERYONE, Context, Narrowed, Permission, Principal, Reach
from server.kernel.faults import Forbidden

ADA = Principal("user:ada", "Ada")
GRANULAR = "patient/Observation.rs?category=http://x.test|lab"


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
        pytest.param("patient/*.rs?category=laboratory", id="granular of every type"),
        pytest.param("patient/Widget.rs?category=laboratory", id="granular of no type"),
        pytest.param("patient/Observation.rs?colour=red", id="granular by no parameter"),
        pytest.param("patient/Observation.rs?category:not=laboratory", id="granular with a modifier"),
        pytest.param("patient/Observation.rs?category:missing=true", id="granular by what is missing"),
        pytest.param("patient/Observation.rs?subject.name=x", id="granular by a chain"),
        pytest.param("patient/Observation.rs?_has:Observation:subject:status=x", id="granular by a reverse"),
        pytest.param("patient/Observation.rs?_filter=status%20eq%20final", id="granular by a filter"),
        pytest.param("patient/Observation.rs?_lastUpdated=gt2020", id="granular by time"),
        pytest.param("patient/Observation.rs?code-value-quantity=x$1", id="granular by a composite"),
        pytest.param("patient/Observation.rs?category=", id="granular without a value"),
        pytest.param("patient/Observation.rs?category", id="granular without a sign"),
        pytest.param("patient/Observation.rs?category=%ff", id="granular, not UTF-8"),
        pytest.param("patient/Observation.rs?" + "&".join(["category=a"] * 6), id="many criteria"),
        pytest.param("patient/Observation.rs?category=" + "a" * 500, id="long criteria"),
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


def test_granular_scope_opens_nothing_to_who_does_not_ask_for_criteria() -> None:
    """SMART 2.2, Finer-grained resource constraints: who cannot hold a caller to them is not asked."""
    access = access_from(ADA, parse_scopes(GRANULAR), frozenset({"p1"}))
    with pytest.raises(Forbidden):
        access.reach("Observation", Permission.READ)
    criteria = (("category", "http://x.test|lab"),)
    narrowed = (Narrowed(frozenset({"p1"}), criteria),)
    assert access.narrow_reach("Observation", Permission.READ) == Reach(frozenset(), narrowed)
    writing = access_from(ADA, parse_scopes(GRANULAR.replace("rs", "cruds")), frozenset({"p1"}))
    assert {writing.narrow_reach("Observation", each) for each in Permission} == {
        Reach(frozenset(), narrowed)
    }
    with pytest.raises(Forbidden):
        access.narrow_reach("Condition", Permission.READ)
    with pytest.raises(Forbidden):
        access_from(ADA, parse_scopes(GRANULAR), None).narrow_reach("Observation", Permission.READ)


def test_scopes_of_one_type_are_united() -> None:
    user = GRANULAR.replace("patient/", "user/")
    both = access_from(ADA, parse_scopes(f"patient/Observation.rs {user}"), frozenset({"p1"}))
    reach = replace(both, is_confined=False).narrow_reach("Observation", Permission.SEARCH)
    assert (reach.patient_ids, [part.patient_ids for part in reach.narrowed]) == ({"p1"}, [None])
    assert (reach.within, both.narrow_reach("Observation", Permission.SEARCH).within) == (None, {"p1"})
    whole = access_from(ADA, parse_scopes(f"user/Observation.rs {user}"), None)
    assert whole.narrow_reach("Observation", Permission.SEARCH) == EVERYONE


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
        pytest.param(GRANULAR, "patient/*.cruds", GRANULAR, id="granular of a wildcard"),
        pytest.param(GRANULAR, "patient/Observation.r", GRANULAR.replace("rs", "r"), id="granular narrowed"),
        pytest.param(GRANULAR, GRANULAR, GRANULAR, id="granular of the same"),
        pytest.param("patient/Observation.rs", GRANULAR, GRANULAR, id="type of a granular one"),
        pytest.param("patient/*.cruds", GRANULAR, GRANULAR, id="wildcard of a granular one"),
        pytest.param(GRANULAR, "patient/Observation.rs?category=vital-signs", "", id="other criteria"),
        pytest.param(GRANULAR, "user/Observation.rs", "", id="granular of another context"),
        pytest.param("patient/Condition.rs", GRANULAR, "", id="granular of another type"),
    ],
)
def test_intersect_never_widens(requested: str, allowed: str, granted: str) -> None:
    assert intersect(parse_scopes(requested), parse_scopes(allowed)).text == granted


def test_what_is_allowed_of_a_wildcard_stays_a_scope_parameter() -> None:
    """Each wildcard becomes the types that are allowed: what could not be read back is not granted."""
    types = [f"SomewhatLongType{chr(65 + n // 26)}{chr(97 + n % 26)}" for n in range(145)]
    allowed = parse_scopes(" ".join(f"system/{each}.cruds" for each in types))
    assert len(intersect(parse_scopes("system/*.rs"), allowed).resources) == 145
    with pytest.raises(InvalidScope):
        intersect(parse_scopes("system/*.cruds system/*.rs system/*.r"), allowed)


def test_access_of_patient_token_is_confined_whatever_the_context() -> None:
    access = access_from(ADA, parse_scopes("user/*.cruds"), frozenset({"p1"}))
    assert access.reach("Observation", Permission.READ) == Reach(frozenset({"p1"}))


def test_access_of_patient_scope_without_patient_is_nothing() -> None:
    access = access_from(ADA, parse_scopes("patient/*.cruds"), None)
    with pytest.raises(Forbidden):
        access.reach("Observation", Permission.READ)
