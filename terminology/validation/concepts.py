"""What a validation says of a concept, and of the definitions that it uses (ecosystem, "Inactive Codes").

Whether a concept may be used here (abstract, inactive), how its code is written, and what is said of it and
of its code system and value sets beside: deprecated, withdrawn, draft, experimental.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from terminology.canonical import Canonical
from terminology.code_system import Content, Header
from terminology.concept import STANDARDS_STATUS, Concept
from terminology.language import WITHDRAWN, Languages
from terminology.messages import (
    ABSTRACT_CODE,
    CODE_CASE,
    CODE_FORM,
    CONCEPT_DEPRECATED,
    CONCEPT_INACTIVE,
    DEPRECATED_IN_VALUE_SET,
    GRAMMAR_NOT_KNOWN,
    NOT_ACTIVE,
    STATUS_OF_DEFINITION,
    UNKNOWN_CODE,
    UNKNOWN_CODE_OF_FRAGMENT,
    UNKNOWN_CODE_OF_VERSION,
    VERSION_NEEDED,
)
from terminology.validation.findings import Findings
from terminology.validation.located import Located
from terminology.value_set import NamedConcept, ValueSet

Json = Any

DEPRECATED_HERE = "http://hl7.org/fhir/StructureDefinition/valueset-deprecated"
_OF_EXPRESSIONS = frozenset(" :=+{}(),|&\"'")  # characters that codes have only as expressions


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked of a validation."""

    abstract: bool = True  # whether concepts that are not to be chosen may be used
    active_only: bool = False
    membership_only: bool = False  # say whether it belongs to the value set, and nothing more
    lenient_display: bool = False
    languages: Languages | None = None


def may_be_used(
    located: Located, value_set: ValueSet, options: Options, findings: Findings, told: Concept | None = None
) -> bool:
    """Whether a concept that the value set has may be used here; why not is said.

    `told` is how the value set's expansion has it; None: there is none.
    """
    concept, coding = located.concept, located.coding
    if told is not None:
        abstract = told.abstract or (concept is not None and concept.abstract)
        inactive = told.inactive or (concept is not None and concept.inactive)
        concept = replace(told, abstract=abstract, inactive=inactive)
    if concept is None:
        return True
    if concept.abstract and not options.abstract:
        if not options.membership_only:
            findings.say(ABSTRACT_CODE, coding.at("code"), system=coding.system or "", code=coding.code or "")
        return False
    if concept.inactive and (options.active_only or value_set.inactive is False):
        if not options.membership_only:
            findings.say(NOT_ACTIVE, coding.at("code"), code=coding.code or "")
        return False
    return True


def comment_on_member(located: Located, value_set: ValueSet, findings: Findings) -> None:
    """How the code is written, and whether the value set keeps it only for a while."""
    coding = located.coding
    if located.system is not None and (normal := located.normal_code) is not None:
        code = coding.code or ""
        message = CODE_CASE if normal.casefold() == code.casefold() else CODE_FORM
        canonical = str(located.system.header.canonical)
        findings.say(message, coding.at("code"), code=code, normal=normal, system=canonical)
    if located.named is not None and (status := _status_here(located.named)) is not None:
        findings.say(
            DEPRECATED_IN_VALUE_SET,
            coding.at("code"),
            code=coding.code or "",
            system=coding.system or "",
            value_set=name_of(value_set),
            status=status,
        )


def _status_here(named: NamedConcept) -> str | None:
    for each in named.extensions:
        if each.get("url") == STANDARDS_STATUS and each.get("valueCode") in WITHDRAWN:
            return str(each["valueCode"])
        if each.get("url") == DEPRECATED_HERE and each.get("valueBoolean", True) is not False:
            return "deprecated"
    return None


def comment_on_concept(located: Located, expression: str, findings: Findings) -> None:
    """That a concept is inactive, or deprecated."""
    concept = located.concept
    if concept is None:
        return
    code = located.coding.code or ""
    if concept.inactive:
        own = concept.status not in (None, "inactive")
        status = f"{concept.status} and inactive" if own else "inactive"
        findings.say(CONCEPT_INACTIVE, expression, code=code, status=status)
    elif concept.status == "deprecated":
        findings.say(CONCEPT_DEPRECATED, expression or "code", code=code)


def say_unknown_code(located: Located, findings: Findings) -> bool:
    """That a code is not in its code system; whether that is an error: a fragment does not tell."""
    if located.system is None:
        return True
    header, coding = located.system.header, located.coding
    is_fragment = header.content is not Content.COMPLETE
    values = {"code": coding.code or "", "system": header.url, "version": header.version or ""}
    if is_fragment:
        values["version"] = f" version '{header.version}'" if header.version else ""
        findings.say(UNKNOWN_CODE_OF_FRAGMENT, coding.at("code"), **values)
    else:
        message = UNKNOWN_CODE_OF_VERSION if header.version else UNKNOWN_CODE
        findings.say(message, coding.at("code"), **values)
    if header.compositional and not _OF_EXPRESSIONS.isdisjoint(coding.code or ""):
        findings.say(GRAMMAR_NOT_KNOWN, coding.at("code"), code=coding.code or "", system=header.url)
    return not is_fragment


def demand_version(located: Located, findings: Findings) -> None:
    """Say where the code system needs a version and none is given (CodeSystem.versionNeeded)."""
    if located.system is not None and located.system.header.version_needed and not located.coding.version:
        findings.say(VERSION_NEEDED, located.coding.at("version"), system=located.system.header.url)


def comment_on_code_system(header: Header, source: ValueSet, findings: Findings) -> None:
    """What the state of a code system is, where its use is worth a word."""
    state = _State(
        "CodeSystem", header.canonical, header.status, header.standards_status, header.experimental
    )
    _comment(state, source, findings)


def comment_on_value_set(value_set: ValueSet, source: ValueSet, findings: Findings) -> None:
    """What the state of a value set is, where its use is worth a word; `source`: the one that uses it."""
    state = _State(
        "ValueSet",
        value_set.canonical,
        value_set.status,
        value_set.standards_status,
        value_set.experimental,
    )
    _comment(state, source, findings)


@dataclass(frozen=True, slots=True)
class _State:
    kind: str
    canonical: Canonical
    status: str | None
    standards_status: str | None
    experimental: bool

    def words(self, source: ValueSet) -> Iterator[str]:
        """The state in a word, if it is worth one; the first counts."""
        if self.standards_status in WITHDRAWN:
            yield str(self.standards_status)
        if self.status == "retired":
            yield "retired"
        if self.experimental and not source.experimental:
            yield "experimental"
        if "draft" in (self.status, self.standards_status) and "draft" not in (
            source.status,
            source.standards_status,
        ):
            yield "draft"


def _comment(state: _State, source: ValueSet, findings: Findings) -> None:
    if (status := next(state.words(source), None)) is not None:
        findings.say(STATUS_OF_DEFINITION, status=status, kind=state.kind, canonical=str(state.canonical))


def name_of(value_set: ValueSet) -> str:
    """How a value set is named in a sentence."""
    return str(value_set.canonical) if value_set.url else "(unidentified)"
