"""docs/conformance/security.md names the protected doors, the scopes and what discovery announces."""

import pytest

from server.auth.assertions import ALGORITHMS
from server.auth.discovery import CAPABILITIES, GRANT_TYPES, SCOPES
from server.auth.middleware import OPEN, PROTECTED
from server.auth.scopes import CONTEXT_SCOPES
from server.auth.token_queries import METHODS
from server.http.hosts import PROBED
from server.kernel.access import Permission
from server.kernel.audit import Action, Outcome


@pytest.fixture
def page(reference: dict[str, str]) -> str:
    return reference["conformance/security.md"]


@pytest.mark.parametrize(
    "names",
    [
        pytest.param((*PROTECTED, *OPEN), id="doors"),
        pytest.param(sorted(PROBED), id="open under any Host"),
        pytest.param(METHODS, id="client authentication"),
        pytest.param(ALGORITHMS, id="signatures"),
        pytest.param(GRANT_TYPES, id="grants"),
        pytest.param(SCOPES, id="announced scopes"),
        pytest.param(CAPABILITIES, id="SMART capabilities"),
        pytest.param(sorted(CONTEXT_SCOPES), id="scopes that open nothing"),
        pytest.param([each.value for each in Permission], id="permissions"),
        pytest.param([each.value for each in Action], id="audit actions"),
        pytest.param([each.value for each in Outcome], id="audit outcomes"),
    ],
)
def test_named(names: tuple[str, ...], page: str) -> None:
    assert [name for name in names if f"`{name}`" not in page] == []
