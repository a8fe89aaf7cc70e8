"""UCUM, http://unitsofmeasure.org (FHIR R4 ucum.html).

The display of a unit is its code, as users read it; that code in words, and the name it has among HL7's
common units (ValueSet ucum-common), are designations. Filters: `canonical` = a unit lets through those that
measure the same (R4's all-distance-units: `canonical` = `m`), `property` = single units that have it.
"""

from dataclasses import replace
from functools import cache, lru_cache

from terminology.code_system import Filter, FilterOperator, Header, PropertyDefinition
from terminology.code_systems.grammar import GrammarCodeSystem
from terminology.code_systems.ucum_units import find_unit, units
from terminology.concept import Concept, Designation, Property
from terminology.issues import InvalidFilter
from terminology.library import Kind
from terminology.shipped import shipped

URL = "http://unitsofmeasure.org"
MAX_REMEMBERED = 10_000  # codes, read or refused
COMMON_UNITS = "http://hl7.org/fhir/ValueSet/ucum-common"
_SYNONYM = {"system": "http://snomed.info/sct", "code": "900000000000013009"}


def ucum() -> GrammarCodeSystem:
    """The code system."""
    header = Header(
        url=URL,
        version=units().version,
        name="UCUM",
        title="Unified Code for Units of Measure (UCUM)",
        status="active",
        language="en",
        compositional=True,
        properties={
            "canonical": PropertyDefinition("canonical", kind="code"),
            "property": PropertyDefinition("property"),
        },
    )
    return GrammarCodeSystem(header, read, understand)


@lru_cache(MAX_REMEMBERED)
def read(code: str) -> Concept | None:
    """The concept of a unit."""
    unit = find_unit(code)
    if unit is None:
        return None
    properties = [Property("canonical", "code", unit.canonical)]  # the first: `understand` takes it
    if unit.kind is not None:
        properties.append(Property("property", "string", unit.kind))
    names = [Designation(unit.name, "en")]
    if (common := _common_names().get(code)) is not None:
        names.append(Designation(common, "en", _SYNONYM))
    return Concept(code, code, designations=names, properties=properties)


def understand(asked: Filter) -> Filter:
    """A filter on `canonical` with the base units of the unit that it names.

    Raises:
        InvalidFilter: it names no unit.
    """
    if asked.property != "canonical" or asked.operator is not FilterOperator.EQUALS:
        return asked
    unit = read(asked.value)
    if unit is None:
        raise InvalidFilter("The value of a filter on 'canonical' is a unit of UCUM.")
    return replace(asked, value=unit.properties[0].value)


@cache
def _common_names() -> dict[str, str]:
    """Names of common units; read once, and not among the definitions that are kept."""
    (row,) = (each for each in shipped().rows() if (each.kind, each.url) == (Kind.VALUE_SET, COMMON_UNITS))
    return {
        concept["code"]: concept["display"]
        for include in shipped().resource(row)["compose"]["include"]
        for concept in include["concept"]
    }
