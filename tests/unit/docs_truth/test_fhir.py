"""docs/conformance/fhir.md names what the code's own tables hold."""

import pytest

from fhir.capability import FHIR_VERSION
from fhir.model.systems import OF_SCHEME
from fhir.offer import INTERACTIONS, SYSTEM_INTERACTIONS
from fhir.operations import OPERATIONS
from fhir.search.compartment import SHARED_TYPES
from fhir.search.criteria import NOT_OFFERED
from fhir.search.definitions import own_search_parameters, stored_types, unsupported_codes
from fhir.search.kinds import KINDS
from fhir.search.query import RESULT_PARAMETERS, WITHOUT_EFFECT
from fhir.search.value import Prefix


@pytest.fixture
def page(reference: dict[str, str]) -> str:
    return reference["conformance/fhir.md"]


def absent(page: str, names: list[str]) -> list[str]:
    return [name for name in names if f"`{name}`" not in page]


def test_version_and_types(page: str) -> None:
    assert FHIR_VERSION in page
    assert f"{len(stored_types())} resource types" in page


def test_interactions(page: str) -> None:
    assert absent(page, [*INTERACTIONS, *SYSTEM_INTERACTIONS]) == []


def test_operations(page: str) -> None:
    assert absent(page, [f"${operation.name}" for operation in OPERATIONS]) == []


def test_kinds_of_search_parameters_with_their_modifiers(page: str) -> None:
    for kind, module in KINDS.items():
        row = next((line for line in page.splitlines() if line.startswith(f"| {kind.value} |")), None)
        assert row is not None, kind.value
        if kind.value != "reference":  # its modifiers are the resource types, and identifier
            assert absent(row, [f":{modifier}" for modifier in module.modifiers]) == []


def test_result_parameters_and_what_is_refused(page: str) -> None:
    assert absent(page, [*RESULT_PARAMETERS, *NOT_OFFERED, *WITHOUT_EFFECT, *unsupported_codes()]) == []


def test_prefixes(page: str) -> None:
    assert absent(page, [prefix.value for prefix in Prefix]) == []


def test_own_search_parameters(page: str) -> None:
    named = [f"{base}.{each['code']}" for each in own_search_parameters() for base in each["base"]]
    assert absent(page, [name.replace(".", "?") for name in named]) == []


def test_types_that_belong_to_no_patient(page: str) -> None:
    assert absent(page, sorted(SHARED_TYPES)) == []


def test_coding_schemes(page: str) -> None:
    assert absent(page, [*OF_SCHEME, *OF_SCHEME.values()]) == []
