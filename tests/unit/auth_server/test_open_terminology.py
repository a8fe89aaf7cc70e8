"""The setting `open_terminology`: what a request without a token may do then, and nothing more."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from server.auth.middleware import Door
from server.auth.terminology import VISITOR, is_of_terminology
from server.auth.tokens import AccessTokens
from server.kernel.access import Permission
from server.kernel.database import Database
from server.kernel.faults import Forbidden
from server.kernel.read_audit import ReadAudit
from tests.unit.auth_server.test_middleware import BASE, Recorder, answer, ask

OPEN = [
    ("GET", "/fhir/CodeSystem"),
    ("HEAD", "/fhir/ValueSet/one"),
    ("GET", "/fhir/ValueSet/one/_history/1"),
    ("GET", "/fhir/ConceptMap/_history"),
    ("POST", "/fhir/ConceptMap/_search"),
    ("GET", "/fhir/CodeSystem/$lookup"),
    ("POST", "/fhir/ValueSet/one/$expand"),
    ("POST", "/fhir/$batch-validate-code"),
]
CLOSED = [
    ("GET", "/fhir/Patient"),
    ("GET", "/fhir"),
    ("GET", "/fhir/_history"),
    ("POST", "/fhir"),
    ("POST", "/fhir/CodeSystem"),
    ("PUT", "/fhir/CodeSystem/one"),
    ("DELETE", "/fhir/CodeSystem/one"),
    ("PATCH", "/fhir/ValueSet/one"),
    ("POST", "/fhir/ValueSet/$meta-add"),
    ("POST", "/fhir/ValueSet/$validate"),
    ("GET", "/fhir/CodeSystem/one/Observation"),
    ("GET", "/fhir/CodeSystemX/$lookup"),
    ("GET", "/fhir/Patient/$lookup"),
    ("GET", "/dicom-web/studies"),
    ("GET", "/admin/api/jobs"),
    ("GET", "/x/fhir/CodeSystem"),
    ("PUT", "/fhir/CodeSystem/$lookup"),
]


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_open(method: str, path: str) -> None:
    assert is_of_terminology({"type": "http", "method": method, "path": path})


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_closed(method: str, path: str) -> None:
    assert not is_of_terminology({"type": "http", "method": method, "path": path})


def test_a_visitor_reads_what_names_no_patient() -> None:
    for permission in (Permission.READ, Permission.SEARCH):
        assert VISITOR.reach("ValueSet", permission).patient_ids == frozenset()
    for resource_type, permission in (("ValueSet", Permission.CREATE), ("Patient", Permission.READ)):
        with pytest.raises(Forbidden):
            VISITOR.reach(resource_type, permission)


@pytest.mark.parametrize(("is_open", "path", "status"), [
    (True, "/fhir/CodeSystem/$lookup", 200),
    (False, "/fhir/CodeSystem/$lookup", 401),
    (True, "/fhir/Patient", 401),
])  # fmt: skip
async def test_at_the_door(
    database: Database, clock: Callable[..., Any], is_open: bool, path: str, status: int
) -> None:
    door = Door(AccessTokens(database, clock), ReadAudit(database), answer, BASE, terminology_is_open=is_open)
    app = Recorder()
    found = await ask(app, door, path)
    assert (found.status_code, app.access) == (status, VISITOR if status == 200 else None)


async def test_a_bad_token_is_no_visitor(database: Database, clock: Callable[..., Any]) -> None:
    door = Door(AccessTokens(database, clock), ReadAudit(database), answer, BASE, terminology_is_open=True)
    headers = {"authorization": "Bearer wrong"}
    found: httpx.Response = await ask(Recorder(), door, "/fhir/CodeSystem/$lookup", headers=headers)
    assert found.status_code == 401
