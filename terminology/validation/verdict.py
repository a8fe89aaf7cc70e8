"""One validation: each coding by itself, then what that means for the whole (ecosystem, "Validation").

A CodeableConcept is right where one of its codings is, and none is wrong in itself. What a coding lacks for
the value set is said beside what is wrong with it in its own code system.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from terminology.canonical import order_of
from terminology.effort import Effort
from terminology.imports import Composed
from terminology.issues import outcome_json
from terminology.messages import (
    INFERRED_TWICE,
    NO_CODE,
    NO_SYSTEM,
    NONE_IN_VALUE_SET,
    NOT_IN_VALUE_SET,
    NOT_INFERRED,
    NOT_OF_SYSTEM,
    SYSTEM_IS_RELATIVE,
    SYSTEM_IS_SUPPLEMENT,
    SYSTEM_IS_VALUE_SET,
    THIS_NOT_IN_VALUE_SET,
)
from terminology.validation.coded import Coded, Coding, Form
from terminology.validation.concepts import (
    Options,
    comment_on_code_system,
    comment_on_concept,
    comment_on_value_set,
    demand_version,
    name_of,
    say_unknown_code,
)
from terminology.validation.definitions import Definitions
from terminology.validation.displays import check_display, display_of
from terminology.validation.findings import Findings
from terminology.validation.located import Located
from terminology.validation.members import MembershipCheck, say_unknown_system, systems_of
from terminology.value_set import ValueSet

Json = Any

MAX_SYSTEMS_NAMED = 10  # in one sentence


class Validation:
    """Validates one code, Coding or CodeableConcept against one value set."""

    def __init__(
        self,
        definitions: Definitions,
        value_set: ValueSet,
        options: Options,
        effort: Effort,
        *,
        of_code_system: bool = False,
    ) -> None:
        self._definitions = definitions
        self._value_set = value_set
        self._options = options
        self._of_code_system = of_code_system  # the value set is made for it: nobody asked for one
        self._findings = Findings()
        self._check = MembershipCheck(definitions, options, self._findings, effort)

    async def run(self, coded: Coded, *, infer_system: bool = False) -> Json:
        """Output Parameters.

        Raises:
            TerminologyFault: a definition that is needed is not here, or makes no sense.
        """
        composed = await self._definitions.composed(self._value_set)
        comment_on_value_set(self._value_set, self._value_set, self._findings)
        results = []
        for coding in coded.codings:
            infers = infer_system and coding.system is None
            found = await self._infer(composed, coding) if infers else coding
            results.append(await self._validate(composed, found, coded.form))
        return self._answer(coded, results)

    async def _infer(self, composed: Composed, coding: Coding) -> Coding:
        """The coding with the one system from which the value set has its code."""
        candidates = systems_of(composed)
        found = [each for each in candidates if await self._check.has(composed, coding, each)]
        if len(found) == 1:
            return replace(coding, system=found[0])
        self._findings.say(
            INFERRED_TWICE if found else NOT_INFERRED,
            coding.at("code"),
            code=coding.code or "",
            value_set=name_of(self._value_set),
            systems=", ".join((found or candidates)[:MAX_SYSTEMS_NAMED]),
        )
        return coding

    async def _validate(self, composed: Composed, coding: Coding, form: Form) -> Located:
        located = Located(coding)
        if coding.code is None:
            self._findings.say(NO_CODE, coding.path or "code")
        elif coding.system is not None:
            located.member = await self._check.is_member(composed, located)
            if not located.member and not self._options.membership_only:
                await self._look_up(located)
        elif form is not Form.CODE:
            self._findings.say(NO_SYSTEM, coding.path)
        if coding.code is None:
            return located
        if located.member is False and form is Form.CODEABLE_CONCEPT and not self._of_code_system:
            self._findings.say(THIS_NOT_IN_VALUE_SET, coding.at("code"), **self._names(coding))
        if not self._options.membership_only:
            demand_version(located, self._findings)
            check_display(located, self._value_set.language, self._options, self._findings)
        return located

    async def _look_up(self, located: Located) -> None:
        """What is wrong with a coding beside that it does not belong to the value set."""
        coding = located.coding
        system = coding.system or ""
        if not _is_absolute(system):
            self._findings.say(SYSTEM_IS_RELATIVE, coding.at("system"))
        version = coding.version or self._version_of_value_set(system)
        edition = await self._definitions.edition(system, version)
        if edition is None:
            await say_what_system_is(self._definitions, coding, version, self._findings)
            return
        code_system = await self._definitions.code_system(edition)
        comment_on_code_system(code_system.header, self._value_set, self._findings)
        if await located.locate(code_system) is None:
            say_unknown_code(located, self._findings)

    def _version_of_value_set(self, system: str) -> str | None:
        versions = [
            each.version for each in self._value_set.include if each.system == system and each.version
        ]
        return max(versions, key=order_of, default=None)

    def _names(self, coding: Coding) -> dict[str, str]:
        return {"coding": str(coding), "value_set": name_of(self._value_set)}

    def _answer(self, coded: Coded, results: Sequence[Located]) -> Json:
        chosen = next((each for each in results if each.member), None)
        if chosen is not None:
            others = [each.coding for each in results if not each.member]
            self._findings.excuse([(each.at("system"), each.system or "") for each in others])
        member = True if chosen else (None if any(each.member is None for each in results) else False)
        if member is False:
            self._say_not_in_value_set(coded)
        if chosen is None and coded.form is not Form.CODEABLE_CONCEPT:
            chosen = results[0]
        self._comment(results)
        valid = member is True and not self._findings.failed
        parameters = [{"name": "result", "valueBoolean": valid}]
        if chosen is not None:
            parameters += _told_of(chosen, self._options)
        if not valid:
            name = "x-unknown-system" if member is False else "x-caused-by-unknown-system"
            parameters += [{"name": name, "valueCanonical": each} for each in self._findings.unknown]
        return {"resourceType": "Parameters", "parameter": [*parameters, *self._rest(coded)]}

    def _comment(self, results: Sequence[Located]) -> None:
        """What is said of the state of concepts: of each that is used, or would be."""
        if self._options.membership_only:
            return
        for each in results:
            expression = each.coding.path or "code"
            comment_on_concept(each, expression, self._findings)

    def _say_not_in_value_set(self, coded: Coded) -> None:
        if self._of_code_system:
            self._say_not_of_system(coded)
        elif coded.form is Form.CODEABLE_CONCEPT:
            self._findings.say(NONE_IN_VALUE_SET, value_set=name_of(self._value_set))
        elif coded.codings[0].code is not None:
            coding = coded.codings[0]
            self._findings.say(NOT_IN_VALUE_SET, coding.at("code"), **self._names(coding))

    def _say_not_of_system(self, coded: Coded) -> None:
        """Where nothing else is wrong, the codings are of another code system than the one that is asked."""
        systems = ", ".join(each.system for each in self._value_set.include if each.system)
        for coding in coded.codings:
            if coding.system is not None and not self._findings.failed:
                self._findings.say(NOT_OF_SYSTEM, coding.at("system"), coding=str(coding), system=systems)

    def _rest(self, coded: Coded) -> Sequence[Json]:
        found: list[Json] = []
        if (summary := self._findings.summary) is not None:
            found.append({"name": "message", "valueString": summary})
        if coded.form is Form.CODEABLE_CONCEPT:
            found.append({"name": "codeableConcept", "valueCodeableConcept": coded.concept})
        if self._findings.issues:
            found.append({"name": "issues", "resource": outcome_json(self._findings.issues)})
        return found


def _told_of(located: Located, options: Options) -> list[Json]:
    """What is told of the coding that counts."""
    coding, concept = located.coding, located.concept
    values: dict[str, Json] = {
        "valueUri:system": coding.system,
        "valueCode:code": coding.code,
        "valueString:version": located.version or coding.version,
        "valueString:display": display_of(located, options.languages),
        "valueCode:normalized-code": located.normal_code,
    }
    if concept is not None and not options.membership_only:
        values["valueBoolean:inactive"] = concept.inactive or None
        values["valueCode:status"] = _status_of(concept.inactive, concept.status)
    return as_parameters(values)


def as_parameters(values: Mapping[str, Json]) -> list[Json]:
    """Parameters by `type:name`; a value that is None is left out."""
    found = []
    for key, value in values.items():
        kind, _, name = key.partition(":")
        if value is not None:
            found.append({"name": name, kind: value})
    return found


async def say_what_system_is(
    definitions: Definitions, coding: Coding, version: str | None, findings: Findings
) -> None:
    """Why no code system is known by the system of a coding: it is a value set, a supplement, or unknown."""
    system = coding.system or ""
    if await definitions.is_value_set(system):
        findings.say(SYSTEM_IS_VALUE_SET, coding.at("system"), system=system)
    elif (supplement := await definitions.supplement(system)) is not None:
        findings.say(SYSTEM_IS_SUPPLEMENT, coding.at("system"), system=str(supplement.canonical))
    else:
        say_unknown_system(findings, await definitions.editions(system), coding, version)


def _status_of(inactive: bool, status: str | None) -> str | None:
    """The status that is worth telling: why a concept is inactive, or that it is deprecated."""
    if inactive:
        return None if status == "inactive" else status
    return status if status == "deprecated" else None


def _is_absolute(url: str) -> bool:
    """Whether a system can be one (FHIR R4 datatypes.html#Coding: an absolute URI)."""
    scheme, colon, _ = url.partition(":")
    return bool(colon) and scheme.isascii() and scheme.replace("+", "").replace("-", "").isalnum()
