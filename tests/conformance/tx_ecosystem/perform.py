"""Two ways to perform a case: the operations themselves, or a server over HTTP."""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any

import httpx

from terminology.context import Context
from terminology.in_request import GivenDefinitions
from terminology.issues import TerminologyFault, outcome_json
from terminology.library import Library

from .cases import Case

Json = Any

_NOW = "2026-01-01T00:00:00Z"
_MODULES: Mapping[str, tuple[str, str]] = {
    "expand": ("terminology.expand", "expand"),
    "validate-code": ("terminology.validate_code", "validate_in_value_set"),
    "cs-validate-code": ("terminology.validate_code", "validate_in_code_system"),
    "batch-validate": ("terminology.validate_code", "validate_batch"),
    "lookup": ("terminology.lookup", "lookup"),
    "translate": ("terminology.translate", "translate"),
}
_PATHS: Mapping[str, str] = {
    "expand": "ValueSet/$expand",
    "validate-code": "ValueSet/$validate-code",
    "cs-validate-code": "CodeSystem/$validate-code",
    "batch-validate": "ValueSet/$batch-validate-code",
    "lookup": "CodeSystem/$lookup",
    "translate": "ConceptMap/$translate",
}


async def in_process(case: Case) -> tuple[int, Json]:
    """The status that a server would answer with, and the answer."""
    module, name = _MODULES[case.operation]
    perform = getattr(import_module(module), name)
    context = Context(lambda: _NOW, lambda: f"urn:uuid:{uuid.uuid4()}", case.accept_language)
    inputs: dict[str, list[Json]] = {}
    for parameter in case.request.get("parameter", ()):
        value = parameter.get("resource") or next(
            (v for n, v in parameter.items() if n.startswith("value")), None
        )
        inputs.setdefault(parameter["name"], []).append(value)
    library = Library([GivenDefinitions([*case.definitions, *inputs.pop("tx-resource", ())]), *_shipped()])
    try:
        return 200, await perform(inputs, library, context)
    except TerminologyFault as fault:
        return int(fault.status), outcome_json(fault.issues)


def _shipped() -> list[Any]:
    """The definitions that the project ships, where they are there."""
    found = []
    for module, name in (
        ("terminology.shipped", "ShippedDefinitions"),
        ("terminology.code_systems", "GrammarSystems"),
    ):
        try:
            found.append(getattr(import_module(module), name)())
        except ImportError:
            continue
    return found


def over_http(base: str) -> Callable[[Case], Awaitable[tuple[int, Json]]]:
    """Performs a case at a server."""
    client = httpx.AsyncClient(base_url=base.rstrip("/") + "/", timeout=60)

    async def perform(case: Case) -> tuple[int, Json]:
        headers = {"Accept-Language": case.accept_language} if case.accept_language else {}
        headers["Content-Type"] = "application/fhir+json"
        answer = await client.post(_PATHS[case.operation], json=case.parameters(), headers=headers)
        return answer.status_code, answer.json()

    return perform
