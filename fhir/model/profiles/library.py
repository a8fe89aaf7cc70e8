"""Where profiles come from: definitions by their canonical URL (FHIR R4 references.html#canonical)."""

from collections.abc import Iterable, Iterator
from typing import Any

from fhir.model.profiles.codes import Codes
from fhir.model.profiles.compile import compile_rules
from fhir.model.profiles.rule import Rule
from fhir.model.validation.issue import InvalidResource

Json = Any

KINDS = ("StructureDefinition", "ValueSet", "CodeSystem")


class Library:
    """Definitions of one moment; what is compiled of them is kept as long as it lives."""

    def __init__(self, resources: Iterable[Json] = ()) -> None:
        self._resources: dict[tuple[str, str], Json] = {}
        self._rules: dict[str, Rule | None] = {}
        self.codes = Codes(lambda url: self.find("ValueSet", url), lambda url: self.find("CodeSystem", url))
        for resource in resources:
            self.add(resource)

    def add(self, resource: Json) -> None:
        """Know one more definition; of several with one URL the last one without a version asked for."""
        kind, url = resource.get("resourceType"), resource.get("url")
        if kind in KINDS and isinstance(url, str):
            resource = slim(resource)
            self._resources[kind, url] = resource
            self._rules.pop(url, None)
            if version := resource.get("version"):
                self._resources[kind, f"{url}|{version}"] = resource
                self._rules.pop(f"{url}|{version}", None)

    def find(self, kind: str, canonical: str) -> Json | None:
        """The definition that a canonical reference names; None: it is not known."""
        return self._resources.get((kind, canonical))

    def structure(self, canonical: str) -> Json | None:
        """A StructureDefinition."""
        return self.find("StructureDefinition", canonical)

    def profile(self, canonical: str) -> Rule | None:
        """The rules of a profile; None: it is not known, or cannot be compiled."""
        if canonical not in self._rules:
            definition = self.structure(canonical)
            self._rules[canonical] = None if definition is None else self._compiled(definition)
        return self._rules[canonical]

    def _compiled(self, definition: Json) -> Rule | None:
        try:
            return compile_rules(definition, self.structure)
        except (InvalidResource, KeyError, ValueError, TypeError):
            return None


_KEPT_OF_ELEMENT = frozenset(
    {
        "id", "path", "sliceName", "slicing", "min", "max", "type", "contentReference", "maxLength",
        "mustSupport", "binding", "constraint",
    }
)  # fmt: skip
_VALUE_CHOICES = ("fixed", "pattern", "minValue", "maxValue")


def slim(resource: Json) -> Json:
    """A definition with what validation needs: of a StructureDefinition a tenth remains."""
    if resource["resourceType"] != "StructureDefinition":
        return {name: value for name, value in resource.items() if name != "text"}
    part = "snapshot" if resource.get("snapshot") else "differential"
    elements = [
        {n: v for n, v in element.items() if n in _KEPT_OF_ELEMENT or n.startswith(_VALUE_CHOICES)}
        for element in resource.get(part, {}).get("element", ())
    ]
    named = ("resourceType", "url", "version", "type", "kind", "derivation", "baseDefinition")
    return {**{n: resource[n] for n in named if n in resource}, part: {"element": elements}}


def canonicals_of(resource: Json) -> Iterator[tuple[str, str]]:
    """The definitions that one needs for its own meaning: (kind, canonical)."""
    kind = resource.get("resourceType")
    if kind == "StructureDefinition":
        yield kind, str(resource.get("baseDefinition", ""))
        for element in (resource.get("snapshot") or resource.get("differential") or {}).get("element", ()):
            yield from _of_element(element)
    elif kind == "ValueSet":
        compose = resource.get("compose", {})
        for include in (*compose.get("include", ()), *compose.get("exclude", ())):
            yield from (("ValueSet", url) for url in include.get("valueSet", ()))
            if "concept" not in include and "system" in include:
                yield "CodeSystem", include["system"]


def _of_element(element: Json) -> Iterator[tuple[str, str]]:
    for stated in element.get("type", ()):
        for url in (*stated.get("profile", ()), *stated.get("targetProfile", ())):
            yield "StructureDefinition", url
    if url := element.get("binding", {}).get("valueSet"):
        yield "ValueSet", url
