import pytest

from server.kernel.access import (
    Access,
    Context,
    Grant,
    Permission,
    Principal,
    Reach,
    access_of,
    system_access,
)
from server.kernel.faults import STATUS_OF, Fault, FaultKind, Forbidden, Unauthenticated

READ, SEARCH = Permission.READ, Permission.SEARCH
ADA = Principal("user:ada", "Ada")


def grant(context: Context, resource_type: str = "*", *permissions: Permission) -> Grant:
    return Grant(context, resource_type, frozenset(permissions or Permission))


def test_no_access_in_scope_is_unauthenticated() -> None:
    with pytest.raises(Unauthenticated):
        access_of({})


def test_nothing_granted_is_forbidden() -> None:
    with pytest.raises(Forbidden):
        Access(ADA, ()).reach("Patient", READ)


def test_grant_opens_only_its_type_and_permission() -> None:
    access = Access(ADA, (grant(Context.USER, "Patient", READ),))
    assert access.reach("Patient", READ).is_everyone
    with pytest.raises(Forbidden):
        access.reach("Patient", SEARCH)
    with pytest.raises(Forbidden):
        access.reach("Observation", READ)


@pytest.mark.parametrize("context", list(Context))
def test_patient_confines_every_grant(context: Context) -> None:
    access = Access(ADA, (grant(context),), frozenset({"p1"}))
    assert access.reach("Observation", READ) == Reach(frozenset({"p1"}))


def test_patient_grant_without_patient_denies() -> None:
    with pytest.raises(Forbidden):
        Access(ADA, (grant(Context.PATIENT),)).reach("Observation", READ)


def test_confined_reach_excludes_unassigned_data() -> None:
    assert not Reach(frozenset({"p1"})).includes(None)
    assert system_access("worker").reach("Patient", READ).includes(None)


@pytest.mark.parametrize(
    ("grants", "patient_ids"),
    [
        pytest.param((), None, id="nothing granted"),
        pytest.param((grant(Context.PATIENT),), None, id="patient context"),
        pytest.param((grant(Context.SYSTEM),), frozenset({"p1"}), id="confined to a patient"),
        pytest.param((grant(Context.SYSTEM, "*", READ),), None, id="not every permission"),
        pytest.param((grant(Context.SYSTEM, "Patient"),), None, id="not every type"),
    ],
)
def test_who_is_no_administrator(grants: tuple[Grant, ...], patient_ids: frozenset[str] | None) -> None:
    with pytest.raises(Forbidden):
        Access(ADA, grants, patient_ids).require_administrator()
    system_access("x").require_administrator()


def test_every_kind_of_fault_has_a_status() -> None:
    assert set(STATUS_OF) == set(FaultKind)
    assert Fault("x").status == 400
