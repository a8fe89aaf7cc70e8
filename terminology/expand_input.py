"""What `$expand` is asked for (FHIR R4 valueset-operation-expand.html; HL7 terminology ecosystem).

A value set may bring parameters of its own (extension valueset-expansion-parameter); those of the request go
before them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from terminology.canonical import Canonical, parse_canonical
from terminology.compose import Wanted
from terminology.context import Context, Inputs
from terminology.inputs import flag_of, number_of, text_of, texts_of
from terminology.issues import InvalidInput, NotSupported
from terminology.language import Languages, languages_wanted
from terminology.value_set import ValueSet

Json = Any

MAX_FILTER_CHARACTERS = 1_000  # of a text filter

_OF_REQUEST = frozenset(
    {"url", "valueSet", "valueSetVersion", "tx-resource", "context", "contextDirection", "filter"}
    | {"count", "offset", "date"}
)  # a value set says nothing of these
_REFUSED = ("context", "contextDirection", "expression")
BCP_47 = "urn:ietf:bcp:47"


@dataclass(frozen=True, slots=True)
class DesignationFilter:
    """The designations that are wanted: of a language, or of a use; both None: all."""

    system: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class ExpandInput:
    """The parameters of an expansion, other than those that say which value set and which versions."""

    wanted: Wanted
    count: int | None
    offset: int | None
    languages: Languages | None
    designations: Sequence[DesignationFilter]  # none: no designations are wanted
    properties: Sequence[str]
    nested: bool  # where there is a hierarchy
    with_definition: bool
    limited: bool  # a part will do where all is too costly
    supplements: Sequence[Canonical]
    told: Sequence[Json]  # ValueSet.expansion.parameter


def merge_inputs(inputs: Inputs, value_set: ValueSet) -> Inputs:
    """The parameters of the request, and those of the value set that the request says nothing of."""
    own = {name: values for name, values in value_set.parameters.items() if name not in _OF_REQUEST}
    return {**own, **inputs}


def read_expand_input(inputs: Inputs, value_set: ValueSet, context: Context) -> ExpandInput:
    """Read the parameters.

    Raises:
        InvalidInput, InvalidLanguage: one makes no sense.
        NotSupported: one is not understood here.
    """
    for name in _REFUSED:
        if name in inputs:
            raise NotSupported(f"The parameter '{name}' is not supported: name the value set by 'url'.")
    languages = languages_wanted(
        text_of(inputs, "displayLanguage"), None, context.accept_language, value_set.language
    )
    return ExpandInput(
        wanted=Wanted(
            _filter(inputs),
            flag_of(inputs, "activeOnly") or False,
            flag_of(inputs, "excludeNotForUI") or False,
            [parse_canonical(each) for each in texts_of(inputs, "exclude-system")],
            flag_of(inputs, "versionsMatch"),
        ),
        count=number_of(inputs, "count"),
        offset=number_of(inputs, "offset"),
        languages=languages,
        designations=_designations(inputs),
        properties=texts_of(inputs, "property"),
        nested=not flag_of(inputs, "excludeNested"),
        with_definition=flag_of(inputs, "includeDefinition") or False,
        limited=flag_of(inputs, "limitedExpansion") or False,
        supplements=[parse_canonical(each) for each in texts_of(inputs, "useSupplement")],
        told=list(_tell(inputs, languages)),
    )


def _filter(inputs: Inputs) -> str | None:
    """The text filter; bounded, as each include that is asked cuts out its words."""
    text = text_of(inputs, "filter")
    if text is not None and len(text) > MAX_FILTER_CHARACTERS:
        raise InvalidInput(f"A filter has up to {MAX_FILTER_CHARACTERS} characters.", expression="filter")
    return text


def _designations(inputs: Inputs) -> Sequence[DesignationFilter]:
    asked = texts_of(inputs, "designation")
    wanted = flag_of(inputs, "includeDesignations")
    if wanted is False or (wanted is None and not asked):
        return ()
    return [_designation_filter(each) for each in asked] or [DesignationFilter()]


def _designation_filter(token: str) -> DesignationFilter:
    """`system|code`: `urn:ietf:bcp:47|de` is a language, all else a use."""
    system, bar, code = token.partition("|")
    return DesignationFilter(system, code or None) if bar else DesignationFilter(BCP_47, token)


Reader = Callable[[Inputs, str], Json | None]

_TOLD: Mapping[str, tuple[str, Reader]] = {
    "activeOnly": ("valueBoolean", flag_of),
    "count": ("valueInteger", number_of),
    "date": ("valueDateTime", text_of),
    "excludeNested": ("valueBoolean", flag_of),
    "excludeNotForUI": ("valueBoolean", flag_of),
    "excludePostCoordinated": ("valueBoolean", flag_of),
    "filter": ("valueString", text_of),
    "includeDefinition": ("valueBoolean", flag_of),
    "includeDesignations": ("valueBoolean", flag_of),
    "limitedExpansion": ("valueBoolean", flag_of),
    "offset": ("valueInteger", number_of),
}  # parameters that the answer repeats, with the type of ValueSet.expansion.parameter.value[x]
_TOLD_OFTEN: Mapping[str, str] = {"designation": "valueString", "exclude-system": "valueUri"}


def _tell(inputs: Inputs, languages: Languages | None) -> Sequence[Json]:
    told = [
        {"name": name, kind: value}
        for name, (kind, read) in _TOLD.items()
        if (value := read(inputs, name)) is not None
    ]
    told += [
        {"name": name, kind: value} for name, kind in _TOLD_OFTEN.items() for value in texts_of(inputs, name)
    ]
    if languages is not None:
        told.append({"name": "displayLanguage", "valueCode": languages.text})
    return told
