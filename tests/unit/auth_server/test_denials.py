"""To whom a denial applies: by whom they are, what they do, whose record it is (decision 0034)."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert, text

from fhir.consents import actors
from fhir.interactions import enforce
from fhir.interactions.authored import put_resource
from fhir.interactions.door import Door, surroundings_of
from fhir.interactions.enforce import enforce_outstanding
from fhir.interactions.read import read
from server.auth.clients import InvalidClientMetadata, Wanted, add_client
from server.auth.scopes import parse_scopes
from server.auth.standing import access_by
from server.auth.tables import AccessToken
from server.auth.tokens import AccessTokens, TokenRequest, issue_token, new_token
from server.auth.users.roles import Role
from server.kernel.access import Access, Principal, system_access
from server.kernel.consents.keep import State
from server.kernel.database import UnitOfWork
from server.kernel.faults import Forbidden, NotFound
from server.kernel.patient_merge import end_merge, record_merge
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.consents.overview import consent_facts, list_consents
from tests.services.consents import consent, provision
from tests.services.user_tokens import user_token
from tests.unit.fhir_search.test_reindex import waits_for_a_lock

BY = Principal("system:test", "test")
ALL = "user/*.cruds patient/*.cruds"


class Ward:
    """A record of one patient "p", and callers who ask for it."""

    def __init__(self, services: Services) -> None:
        self.services, self.tokens = services, AccessTokens(services.database)
        self.door = Door(services, b"")
        self.said: dict[str, str] = {}

    async def put(self, *resources: dict[str, Any]) -> None:
        async def work(unit: UnitOfWork) -> None:
            for each in resources:
                await put_resource(unit, each, BY)

        await self.services.database.transact(work)

    async def deny(self, **said: Any) -> None:
        """Replace the Consent."""
        await self.put(consent("p", **said) | {"id": "c"})

    async def who_sees(self, resource_type: str = "Patient", resource_id: str = "p") -> set[str]:
        found = set()
        for name, token in self.said.items():
            access = await self.tokens.access_of(token)
            assert access is not None
            if await self.sees(access, resource_type, resource_id):
                found.add(name)
        return found

    async def sees(self, access: Access, resource_type: str = "Patient", resource_id: str = "p") -> bool:
        try:
            await read(self.door, access, resource_type, resource_id)
        except NotFound:
            return False
        return True


@pytest.fixture
async def ward(services: Services) -> Ward:
    ward, database = Ward(services), services.database
    role = {"resourceType": "PractitionerRole", "practitioner": {"reference": "Practitioner/ada"}}
    await ward.put(
        *({"resourceType": "Patient", "id": name} for name in "pqr"),
        {"resourceType": "Practitioner", "id": "ada"},
        role | {"id": "on-ward", "organization": {"reference": "Organization/ward"}},
        role | {"id": "left", "active": False, "organization": {"reference": "Organization/old"}},
    )
    new = await add_client(database, Wanted("Lab", "system/*.rs", represents="Organization/lab"))

    async def of_client(unit: UnitOfWork) -> str:
        request = TokenRequest(f"client:{new.client_id}", parse_scopes("system/*.rs"), 300, new.client_id)
        issued = new_token(request, unit.now_us)
        await unit.execute(insert(table_of(AccessToken)), [issued.row])
        return issued.text

    clinician = (database, Role.CLINICIAN, ALL, "p")
    ward.said = {
        "ada": await user_token(*clinician, fhir_user="Practitioner/ada"),
        "bob": await user_token(*clinician, fhir_user="Practitioner/bob"),
        "glass": await user_token(*clinician, purpose="BTG"),
        "patient": await user_token(database, Role.PATIENT, ALL, "p"),
        "admin": await issue_token(database, scope="system/*.cruds"),
        "lab": await database.transact(of_client),
    }
    return ward


EVERYBODY = {"ada", "bob", "glass", "patient", "admin", "lab"}


async def test_to_whom_denials_apply(ward: Ward) -> None:
    assert await ward.who_sees() == EVERYBODY
    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"base": "OPTOUT"}, {"glass", "patient"}),
        ({"provision": provision("deny", actor="Patient/p")}, EVERYBODY - {"patient"}),
        ({"provision": provision("deny", actor="Practitioner/ada")}, EVERYBODY - {"ada"}),
        ({"provision": provision("deny", actor="PractitionerRole/on-ward")}, EVERYBODY - {"ada"}),
        ({"provision": provision("deny", actor="Organization/ward")}, EVERYBODY - {"ada"}),
        ({"provision": provision("deny", actor="Organization/old PractitionerRole/left")}, EVERYBODY),
        ({"provision": provision("deny", actor="Organization/lab")}, EVERYBODY - {"lab"}),
        ({"provision": provision("deny", action="disclose")}, EVERYBODY - {"admin", "lab"}),
        (
            {"provision": provision("permit", actor="Organization/ward"), "base": "OPTOUT"},
            {"ada", "glass", "patient"},
        ),
        ({"status": "inactive", "base": "OPTOUT"}, EVERYBODY),
    ]
    for said, expected in cases:
        await ward.deny(**said)  # counts at once: each token was looked up before
        assert await ward.who_sees() == expected, said


async def test_emergencies_no_tokens_and_earlier_releases(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _an_emergency_is_about_its_patient_only(ward)
    await _without_a_token_and_by_subscription(ward)
    await _consents_of_an_earlier_release_are_read(ward)
    await _administrators_are_told(ward)
    await _what_a_client_may_represent(ward)
    with monkeypatch.context() as patched:
        patched.setattr(actors, "MAX_ROLES", 0)
        await _who_has_too_many_roles(ward)


async def _an_emergency_is_about_its_patient_only(ward: Ward) -> None:
    await ward.put(consent("q", base="OPTOUT") | {"id": "of-q"})
    assert "glass" not in await ward.who_sees("Patient", "q")
    assert "glass" in await ward.who_sees()


async def _without_a_token_and_by_subscription(ward: Ward) -> None:
    everybody = system_access("anonymous")
    assert await ward.sees(await ward.tokens.anonymous(everybody))
    await ward.deny(base="OPTOUT")
    assert not await ward.sees(await ward.tokens.anonymous(everybody))
    assert await ward.sees(everybody)  # the server's own work
    await ward.deny(provision=provision("deny", action="disclose"))
    assert "ada" in await ward.who_sees()
    access = await ward.tokens.access_of(ward.said["ada"])
    assert access is not None
    assert access.origin is not None
    async with ward.services.database.read() as connection:
        told = await access_by(connection, access.origin, access.principal)
    assert told is not None
    assert not await ward.sees(told)


async def test_a_denial_follows_merges(ward: Ward) -> None:
    async def merged(source: str, target: str, *, ends: bool = False) -> None:
        async def work(unit: UnitOfWork) -> None:
            if ends:
                await end_merge(unit, source, target)
            else:
                await record_merge(unit, source, target, source_active=None)

        await ward.services.database.transact(work)

    async def closed() -> str:
        access = await ward.tokens.access_of(ward.said["admin"])
        assert access is not None
        return "".join([each for each in "pqr" if not await ward.sees(access, "Patient", each)])

    await ward.deny(base="OPTOUT")
    assert await closed() == "p"
    await merged("p", "q")
    assert await closed() == "pq"
    await merged("q", "r")
    assert await closed() == "pqr"
    await ward.put(consent("q", base="OPTOUT") | {"id": "of-q"})
    await merged("p", "q", ends=True)
    assert await closed() == "pqr"
    await ward.put(consent("q", base="OPTOUT", status="inactive") | {"id": "of-q"})
    assert await closed() == "p"


async def _consents_of_an_earlier_release_are_read(ward: Ward) -> None:
    await ward.deny(base="OPTOUT")

    async def forget(unit: UnitOfWork) -> None:
        for table in ("consent_verdict", "consent_denial"):
            await unit.execute(text(f"DELETE FROM {table}"))

    await ward.services.database.transact(forget)
    ward.tokens.forget_all()
    assert await ward.who_sees() == EVERYBODY
    assert [await enforce_outstanding(ward.services) for _ in "ab"] == [2, 0]
    assert await ward.who_sees() == {"glass", "patient"}
    await ward.services.database.transact(forget)
    await _a_server_waits_for_what_another_one_reads(ward)


async def _a_server_waits_for_what_another_one_reads(ward: Ward) -> None:
    """And then looks on: there is more that nobody is at."""
    others: list[asyncio.Task[int]] = []
    services, keep_consents = ward.services, enforce.keep_consents

    async def keep_while_another_starts(*arguments: Any) -> None:
        await keep_consents(*arguments)
        if not others:
            others.append(asyncio.create_task(enforce_outstanding(services)))
            await waits_for_a_lock(services)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(enforce, "ROWS_AT_ONCE", 1)
        patched.setattr(enforce, "keep_consents", keep_while_another_starts)
        await services.database.transact(lambda unit: enforce._enforce(unit, surroundings_of(services)))
        await others[0]
    assert await enforce_outstanding(services) == 0


async def _who_has_too_many_roles(ward: Ward) -> None:
    """More may be denied to them than is looked for."""
    ward.tokens.forget_all()
    await ward.deny(provision=provision("deny", actor="Practitioner/nobody"))
    access = await ward.tokens.access_of(ward.said["ada"])
    assert access is not None
    assert access.patient_ids == frozenset()
    with pytest.raises(Forbidden):
        await ward.sees(access)
    assert await ward.tokens.access_of(ward.said["bob"]) is not None
    for name in ("c", "of-q"):
        await ward.put(consent("p", status="inactive") | {"id": name})
    assert await ward.who_sees() == EVERYBODY


async def _administrators_are_told(ward: Ward) -> None:
    database = ward.services.database
    await ward.deny(provision=provision("deny", purpose=[{"code": "TREAT"}]))
    (found,) = (await list_consents(database, 0, State.UNENFORCED))["consents"]
    assert (found["id"], found["reasons"][0]["expression"]) == ("c", "Consent.provision.purpose")
    assert [fact.values for fact in await consent_facts(database)] == [[((), 1.0)]]
    others = (await list_consents(database, 0, State.ENFORCED))["consents"]
    assert [(each["id"], each["reasons"]) for each in others] == [("of-q", [])]


async def _what_a_client_may_represent(ward: Ward) -> None:
    app = Wanted("App", "user/*.rs", redirect_uris=("https://app.test/cb",), represents="Organization/lab")
    for wanted in (app, Wanted("Lab", "system/*.rs", represents="Patient/p")):
        with pytest.raises(InvalidClientMetadata):
            await add_client(ward.services.database, wanted)
