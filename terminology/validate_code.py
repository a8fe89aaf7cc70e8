"""$validate-code of ValueSet and CodeSystem, one or many (FHIR R4 valueset-operation-validate-code.html).

codesystem-operation-validate-code.html; parameters beyond R4 as the HL7 terminology ecosystem guide has them.
A validation whose definitions cannot be had is an answer with `result` false, not a failure; only a value set
that is not known, or makes no sense, fails the request.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from terminology import effort as efforts
from terminology.canonical import Canonical, parse_canonical
from terminology.context import Context, Inputs
from terminology.effort import Effort
from terminology.in_request import GivenDefinitions
from terminology.inputs import element_of, flag_of, text_of, texts_of
from terminology.issues import (
    InvalidInput,
    Issue,
    NotKnown,
    NotSupported,
    TerminologyFault,
    outcome_json,
)
from terminology.language import languages_wanted
from terminology.library import Kind, Library
from terminology.listed import extension_value
from terminology.messages import NO_SYSTEM
from terminology.structure import require_definition
from terminology.supplements import open_supplements
from terminology.validation.coded import Coded, Coding, Form, read_coded
from terminology.validation.concepts import Options
from terminology.validation.definitions import Definitions
from terminology.validation.findings import Findings
from terminology.validation.verdict import Validation, as_parameters, say_what_system_is
from terminology.value_set import Include, ValueSet, parse_value_set
from terminology.versions import read_version_rules

Json = Any

TX_RESOURCE = "tx-resource"
SUPPLEMENT_TYPE = "http://hl7.org/fhir/StructureDefinition/codesystem-supplement-type"
_DEFINITIONS = frozenset({TX_RESOURCE, "codeSystem", "valueSet"})
MAX_VALIDATIONS = 1_000  # of one $batch-validate-code
_MEMBERSHIP_ONLY = frozenset({"CHECK_MEMBERSHIP_ONLY", "CHECK_MEMERSHIP_ONLY"})  # as clients write it


async def validate_in_value_set(
    inputs: Inputs, library: Library, context: Context, effort: Effort | None = None
) -> Json:
    """ValueSet $validate-code: output Parameters (FHIR R4 valueset-operation-validate-code.html).

    `effort` is what may be done for it; None: as much as for one validation.

    Raises:
        InvalidInput: the parameters make no sense, or nothing to validate is among them.
        NotKnown: the value set, or a supplement that is asked for, is not here.
        TooCostly: it takes more.
        TerminologyFault: the value set cannot be worked with.
    """
    if "context" in inputs:
        raise NotSupported("A value set is named by 'url' or given as 'valueSet', not by 'context'.")
    definitions = Definitions(_with_given(library, inputs), read_version_rules(inputs))
    value_set = await _value_set_of(inputs, definitions)
    infer = flag_of(inputs, "inferSystem") or False
    coded = read_coded(inputs, infer=infer)
    asked = {**value_set.parameters, **inputs} if value_set.parameters else inputs
    options = _options_of(asked, value_set, context)
    await _use(definitions, asked, value_set.supplements)
    without_membership = text_of(inputs, "valueSetMode", "mode") == "NO_MEMBERSHIP_CHECK"
    if without_membership:
        value_set = _of_systems(coded)
    validation = Validation(
        definitions, value_set, options, effort or Effort(), of_code_system=without_membership
    )
    try:
        return await validation.run(coded, infer_system=infer)
    except NotKnown as fault:
        return _failed(coded, fault.issues)


async def validate_in_code_system(
    inputs: Inputs, library: Library, context: Context, effort: Effort | None = None
) -> Json:
    """CodeSystem $validate-code: output Parameters (FHIR R4 codesystem-operation-validate-code.html).

    `effort` as in `validate_in_value_set`.

    Raises:
        InvalidInput: the parameters make no sense, or nothing to validate is among them.
        NotKnown: a supplement that is asked for is not here.
    """
    coded = read_coded(inputs, of_code_system=True)
    library = _with_given(library, inputs)
    given = element_of(inputs, "codeSystem")
    if given is not None:
        library = library.after(GivenDefinitions([given]))
    definitions = Definitions(library, read_version_rules(inputs))
    await _use(definitions, inputs, ())
    first = coded.codings[0] if coded.codings else Coding(None, None)
    url = (given or {}).get("url") or text_of(inputs, "url") or first.system
    if url is None:
        findings = Findings()
        findings.say(NO_SYSTEM, first.path)
        return _failed(coded, findings.issues)
    version = (given or {}).get("version") or text_of(inputs, "version") or first.version
    edition = await definitions.edition(url, version)
    if edition is None:
        return await _unknown(definitions, coded, Coding(url, first.code, version, path=first.path))
    header = (await definitions.code_system(edition)).header
    value_set = ValueSet(
        {},
        header.value_set or f"{url}/vs",
        header.version,
        "active",
        include=(Include("", url, header.version),),
        composed=True,
    )
    options = _options_of(inputs, value_set, context)
    validation = Validation(definitions, value_set, options, effort or Effort(), of_code_system=True)
    return await validation.run(coded)


async def validate_batch(inputs: Inputs, library: Library, context: Context) -> Json:
    """$batch-validate-code: one answer for each `validation`, in order (ecosystem; FHIR R6).

    What stands outside the validations is meant for each that does not say otherwise. All share what may be
    done for the request: those that it does not suffice for are too costly.

    Raises:
        InvalidInput: there is no validation, or there are too many.
    """
    validations = inputs.get("validation", ())
    if not 0 < len(validations) <= MAX_VALIDATIONS:
        raise InvalidInput(f"A batch has 1 to {MAX_VALIDATIONS} validations.", expression="validation")
    library = _with_given(library, inputs)
    shared = {name: values for name, values in inputs.items() if name not in ("validation", TX_RESOURCE)}
    if packs := _language_packs(inputs):
        shared["useSupplement"] = [*shared.get("useSupplement", ()), *packs]
    answers = []
    left = efforts.MAX_STEPS_OF_BATCH
    for each in validations:
        taken = Effort(min(left, efforts.MAX_STEPS))
        try:
            answer = await _validate({**shared, **_parameters_of(each)}, library, context, taken)
        except TerminologyFault as fault:
            answer = outcome_json(fault.issues)
        left = max(left - taken.steps, 0)
        await asyncio.sleep(0)  # others have their turn
        answers.append({"name": "validation", "resource": answer})
    return {"resourceType": "Parameters", "parameter": answers}


async def _validate(inputs: Inputs, library: Library, context: Context, taken: Effort) -> Json:
    """One of a batch: against the value set or the code system that it names."""
    url = text_of(inputs, "url")
    if url is None and "valueSet" not in inputs:
        return await validate_in_code_system(inputs, library, context, taken)
    if url is not None and await library.editions(Kind.CODE_SYSTEM, url):
        return await validate_in_code_system(inputs, library, context, taken)
    return await validate_in_value_set(inputs, library, context, taken)


def _parameters_of(validation: Json) -> dict[str, Sequence[Json]]:
    """The parameters of one validation of a batch: a Parameters resource, or parts."""
    entries = validation.get("parameter", validation.get("part")) if isinstance(validation, dict) else None
    if not isinstance(entries, list):
        raise InvalidInput("A validation is a Parameters resource.", expression="validation")
    found: dict[str, list[Json]] = {}
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise InvalidInput("A parameter has a name.", expression="validation")
        value = entry.get("resource") or next((v for n, v in entry.items() if n.startswith("value")), None)
        if value is not None:
            if entry["name"] in _DEFINITIONS:
                require_definition(value, entry["name"])
            found.setdefault(entry["name"], []).append(value)
    return dict(found)


def _with_given(library: Library, inputs: Inputs) -> Library:
    """The library, after what the request brings along."""
    given = [each for each in inputs.get(TX_RESOURCE, ()) if isinstance(each, dict)]
    return library.after(GivenDefinitions(given)) if given else library


async def _value_set_of(inputs: Inputs, definitions: Definitions) -> ValueSet:
    if (given := element_of(inputs, "valueSet")) is not None:
        return parse_value_set(given)
    url = text_of(inputs, "url")
    if url is None:
        raise InvalidInput("The value set is named by 'url', or given as 'valueSet'.")
    named, version = parse_canonical(url)
    return await definitions.value_set(Canonical(named, text_of(inputs, "valueSetVersion") or version))


_OPTIONS = frozenset(
    {
        "abstract",
        "activeOnly",
        "valueset-membership-only",
        "valueSetMode",
        "mode",
        "lenient-display-validation",
        "displayLanguage",
    }
)


def _options_of(inputs: Inputs, value_set: ValueSet, context: Context) -> Options:
    if inputs.keys().isdisjoint(_OPTIONS):
        return Options(languages=languages_wanted(None, None, context.accept_language, value_set.language))
    of_value_set = value_set.parameters.get("displayLanguage")
    return Options(
        abstract=flag_of(inputs, "abstract") is not False,
        active_only=flag_of(inputs, "activeOnly") or False,
        membership_only=(flag_of(inputs, "valueset-membership-only") or False)
        or text_of(inputs, "valueSetMode", "mode") in _MEMBERSHIP_ONLY,
        lenient_display=flag_of(inputs, "lenient-display-validation") or False,
        languages=languages_wanted(
            text_of(inputs, "displayLanguage"),
            of_value_set[0] if of_value_set else None,
            context.accept_language,
            value_set.language,
        ),
    )


async def _use(definitions: Definitions, inputs: Inputs, supplements: Sequence[Canonical]) -> None:
    """Version rules, and supplements that the value set or the request asks for."""
    asked = [parse_canonical(each) for each in (*texts_of(inputs, "useSupplement"), *_language_packs(inputs))]
    definitions.rules = read_version_rules(inputs)
    if supplements or asked:
        definitions.supplements = await open_supplements(definitions.library, (*supplements, *asked))


def _language_packs(inputs: Inputs) -> Sequence[str]:
    """The supplements that a request brings along as packs of names: they need not be asked for."""
    return [
        each.get("url", "")
        for each in inputs.get(TX_RESOURCE, ())
        if isinstance(each, dict)
        and each.get("supplements")
        and extension_value(each, SUPPLEMENT_TYPE) == "lang-pack"
    ]


def _of_systems(coded: Coded) -> ValueSet:
    """A value set of all codes of the systems that are given."""
    systems = dict.fromkeys((each.system, each.version) for each in coded.codings if each.system)
    return ValueSet({}, status="active", include=tuple(Include("", *each) for each in systems), composed=True)


async def _unknown(definitions: Definitions, coded: Coded, coding: Coding) -> Json:
    """The answer where the code system is not known: what its URL is instead."""
    findings = Findings()
    await say_what_system_is(definitions, coding, coding.version, findings)
    return _failed(coded, findings.issues, tuple(findings.unknown))


def _failed(coded: Coded, issues: Sequence[Issue], unknown: Sequence[str] = ()) -> Json:
    """The answer where a definition that is needed is not here."""
    coding = coded.codings[0] if coded.codings else Coding(None, None)
    parameters: list[Json] = [
        {"name": "result", "valueBoolean": False},
        {"name": "message", "valueString": "; ".join(sorted({each.text for each in issues}))},
        {"name": "issues", "resource": outcome_json(issues)},
        *({"name": "x-caused-by-unknown-system", "valueCanonical": each} for each in unknown),
    ]
    if coded.form is Form.CODEABLE_CONCEPT:
        parameters.append({"name": "codeableConcept", "valueCodeableConcept": coded.concept})
    else:
        told = {"valueUri:system": coding.system, "valueCode:code": coding.code}
        told["valueString:version"] = coding.version
        parameters += as_parameters(told)
    return {"resourceType": "Parameters", "parameter": parameters}
