"""Targets of references by profile (FHIR R4 elementdefinition.html, ElementDefinition.type.targetProfile)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fhir.fhirpath import Item, compile_expression
from fhir.fhirpath.environment import Context
from fhir.model.profiles.compile import CORE
from fhir.model.validation.issue import IssueType

if TYPE_CHECKING:
    from fhir.model.profiles.check import Checker

_RESOLVE = compile_expression("resolve()")
_BY_NAME = Context(stub_references=True)


def check_targets(item: Item, targets: Sequence[str], checker: "Checker") -> None:
    """Say so if a reference leads to a type, or in the same body to a resource, that the profile forbids."""
    if not targets:
        return
    found = _RESOLVE.evaluate(item)
    if found:
        _check_resource(item, found[0], targets, checker)
        return
    types = {_type_of(url, checker) for url in targets}
    for named in _RESOLVE.evaluate(item, _BY_NAME):
        if None not in types and not types & named.kind.ancestors:
            text = "The profile allows no reference to this type of resource here."
            checker.findings.error(IssueType.VALUE, text, f"{item.path()}.reference")


def _check_resource(item: Item, resource: Item, targets: Sequence[str], checker: "Checker") -> None:
    """What is contained, or in the same Bundle, is known: it must obey one of the target profiles."""
    answers = [
        url.removeprefix(CORE) in resource.kind.ancestors or checker.conforms(resource, url)
        if url.startswith(CORE) and "/" not in url.removeprefix(CORE) and checker.library.profile(url) is None
        else checker.conforms(resource, url)
        for url in targets
    ]
    if not any(answer is not False for answer in answers):
        text = "The resource referred to obeys none of the profiles that are allowed here."
        checker.findings.error(IssueType.STRUCTURE, text, item.path())


def _type_of(url: str, checker: "Checker") -> str | None:
    """The resource type that a target profile is for; None: it is not known."""
    definition = checker.library.structure(url)
    if definition is not None:
        return str(definition["type"])
    name = url.partition("|")[0].removeprefix(CORE)
    return name if name and "/" not in name and name[0].isupper() else None
