"""Members of a value set as an expansion tells them (FHIR R4 valueset.html#expansion).

Properties have no place in an R4 expansion: they are told as R5's elements, in cross-version extensions (HL7
terminology ecosystem, "R4 and the Test Cases").
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from terminology.concept import STANDARDS_STATUS, Designation
from terminology.expand_input import BCP_47, DesignationFilter, ExpandInput
from terminology.included import Member
from terminology.language import PREFERRED, choose_name, fit
from terminology.listed import CONCEPT_PROPERTIES

Json = Any

_EXTENSIONS = "http://hl7.org/fhir/StructureDefinition/"
PROPERTY_OF_EXPANSION = "http://hl7.org/fhir/5.0/StructureDefinition/extension-ValueSet.expansion.property"
PROPERTY_OF_MEMBER = (
    "http://hl7.org/fhir/5.0/StructureDefinition/extension-ValueSet.expansion.contains.property"
)
_REPEATED = frozenset(
    _EXTENSIONS + name for name in ("rendering-style", "rendering-xhtml", "valueset-deprecated")
) | {_EXTENSIONS + "valueset-concept-definition"}
_REPEATED_OF_DESIGNATION = frozenset({_EXTENSIONS + "coding-sctdescid", STANDARDS_STATUS})
_AS_PROPERTIES: Mapping[str, tuple[str, str, str]] = {
    _EXTENSIONS + "codesystem-label": ("label", "label", "valueString"),
    _EXTENSIONS + "valueset-label": ("label", "label", "valueString"),
    _EXTENSIONS + "codesystem-conceptOrder": ("order", "order", "valueDecimal"),
    _EXTENSIONS + "valueset-conceptOrder": ("order", "order", "valueDecimal"),
    _EXTENSIONS + "itemWeight": ("weight", "itemWeight", "valueDecimal"),
}  # extensions of a concept that R5 tells as properties: code, URI within concept-properties, value[x]
_STANDARD = frozenset({"definition", "inactive", "status", "parent", "child", "notSelectable"})
_ACTIVE = frozenset({None, "", "active"})


@dataclass(slots=True)
class Contains:
    """Tells members, and remembers which properties were told."""

    asked: ExpandInput
    with_versions: Collection[str] = ()  # the code systems of which several versions are told
    properties: dict[str, str | None] = field(default_factory=dict)  # URIs by code

    async def tell(self, member: Member) -> Json:
        """ValueSet.expansion.contains of one member."""
        concept = member.concept
        main, others = self._names(member)
        name = choose_name(main, others, self.asked.languages)
        entry: dict[str, Json] = {}
        if extensions := [*_extensions(member), *(await self._properties(member))]:
            entry["extension"] = extensions
        if member.system:
            entry["system"] = member.system
        if concept.abstract:
            entry["abstract"] = True
        if concept.inactive:
            entry["inactive"] = True
        if member.version and (member.system in self.with_versions or member.opened is None):
            entry["version"] = member.version
        entry["code"] = concept.code
        if name is not None:
            entry["display"] = name.value
        if self.asked.designations and (
            told := [_designation(each) for each in self._told(main, others, name)]
        ):
            entry["designation"] = told
        return entry

    def _names(self, member: Member) -> tuple[Designation | None, Sequence[Designation]]:
        """The display, as the value set has it or else the code system; and the other names."""
        concept, named = member.concept, member.named
        language = member.opened.header.language if member.opened else None
        others = concept.designations
        display = concept.display
        if named is not None:
            display = named.display or display
            others = (*named.designations, *others)
        return (None if display is None else Designation(display, language)), others

    def _told(
        self, main: Designation | None, others: Sequence[Designation], shown: Designation | None
    ) -> Iterator[Designation]:
        """The names to tell beside the display."""
        if main is not None and main is not shown:
            yield Designation(main.value, main.language, PREFERRED)
        for each in others:
            if each is not shown and any(_fits(wanted, each) for wanted in self.asked.designations):
                yield each

    async def _properties(self, member: Member) -> Sequence[Json]:
        """The properties of a member, each in an extension."""
        told = list({each.code: each for each in _own_properties(member)}.values())
        own = {each.code for each in told}
        for code in dict.fromkeys(self.asked.properties):
            if code not in own:
                told += await _values(member, code)
        for each in told:
            self.properties.setdefault(each.code, each.uri)
        return [
            {
                "url": PROPERTY_OF_MEMBER,
                "extension": [
                    {"url": "code", "valueCode": each.code},
                    {"url": "value", each.kind: each.value},
                ],
            }
            for each in told
        ]

    def declarations(self) -> Sequence[Json]:
        """ValueSet.expansion.property of R5: which properties were told."""
        return [_declaration(code, uri) for code, uri in self.properties.items()]


def _declaration(code: str, uri: str | None) -> Json:
    parts: list[Json] = [] if uri is None else [{"url": "uri", "valueUri": uri}]
    return {"url": PROPERTY_OF_EXPANSION, "extension": [*parts, {"url": "code", "valueCode": code}]}


class _Told(NamedTuple):
    """A property as it is told; `kind` is the name of its value[x]."""

    code: str
    uri: str | None
    kind: str
    value: Json


def _own_properties(member: Member) -> Iterator[_Told]:
    """Label, order, weight and status of a member; of two with the same code the later one counts."""
    of_value_set = member.named.extensions if member.named else ()
    for each in (*member.concept.extensions, *of_value_set):
        if (known := _AS_PROPERTIES.get(each.get("url", ""))) is not None:
            code, uri, kind = known
            value = next((v for name, v in each.items() if name.startswith("value")), None)
            yield _Told(code, CONCEPT_PROPERTIES + uri, kind, value)
    concept = member.concept
    if concept.inactive or concept.status not in _ACTIVE:
        yield _Told("status", CONCEPT_PROPERTIES + "status", "valueCode", concept.status or "inactive")


async def _values(member: Member, code: str) -> Sequence[_Told]:
    """The values of a property that is asked for."""
    concept, uri = member.concept, _uri(member, code)
    if code == "definition":
        return [_Told(code, uri, "valueString", concept.definition)] if concept.definition else []
    found = [
        _Told(code, uri, f"value{each.kind[:1].upper()}{each.kind[1:]}", each.value)
        for each in concept.properties
        if each.code == code
    ]
    if found or member.opened is None:
        return found
    if code == "inactive":
        return [_Told(code, uri, "valueBoolean", concept.inactive)]
    system = member.opened.system
    near: Sequence[str] = ()
    if code == "parent":
        near = await system.parents(concept.code)
    elif code == "child":
        near = await system.children(concept.code)
    return [_Told(code, uri, "valueCode", each) for each in near]


def _uri(member: Member, code: str) -> str | None:
    defined = member.opened.header.properties.get(code) if member.opened else None
    if defined is not None and defined.uri is not None:
        return defined.uri
    return CONCEPT_PROPERTIES + code if code in _STANDARD else None


def _extensions(member: Member) -> Iterator[Json]:
    """The extensions that are told as they are; those of the value set go before those of the concept."""
    if member.opened is None:
        yield from member.concept.extensions
        return
    of_value_set = member.named.extensions if member.named else ()
    own = {each.get("url") for each in of_value_set}
    for each in of_value_set:
        if each.get("url") in _REPEATED or each.get("url") == STANDARDS_STATUS:
            yield each
    for each in member.concept.extensions:
        if each.get("url") in _REPEATED and each.get("url") not in own:
            yield each


def _fits(wanted: DesignationFilter, name: Designation) -> bool:
    if wanted.system is None:
        return True
    if wanted.system == BCP_47:
        return name.language is not None and fit(wanted.code or "", name.language) == 0
    use = name.use or {}
    return use.get("system") == wanted.system and wanted.code in (None, use.get("code"))


def _designation(name: Designation) -> Json:
    entry: dict[str, Json] = {}
    if extensions := [each for each in name.extensions if each.get("url") in _REPEATED_OF_DESIGNATION]:
        entry["extension"] = extensions
    if name.language is not None:
        entry["language"] = name.language
    if name.use is not None:
        entry["use"] = name.use
    entry["value"] = name.value
    return entry
