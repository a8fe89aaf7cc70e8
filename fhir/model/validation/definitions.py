"""The R4 structures that tools/generate_fhir_structures.py wrote, decoded type by type when asked for."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec
import zstandard

PRIMITIVE = "primitive-type"  # Structure.kind


class TypeReference(msgspec.Struct, frozen=True):
    """One allowed type of an element (ElementDefinition.type)."""

    code: str
    profile: str | None = None  # SimpleQuantity
    targets: tuple[str, ...] = ()  # of a Reference; empty: any resource

    @property
    def structure(self) -> str:
        """The type whose elements hold."""
        return self.profile or self.code


class Element(msgspec.Struct, frozen=True):
    """One element of a type (ElementDefinition), without what the parent says."""

    name: str  # of a choice without "[x]"
    choice: bool = False
    min: int = 0
    many: bool = False
    types: tuple[TypeReference, ...] = ()
    same_as: str | None = None  # content reference: "Observation.referenceRange"
    value_set: str | None = None  # of a required binding, or of a preferred one's maximum
    extensible: str | None = None  # value set of an extensible binding
    constraints: tuple[str, ...] = ()  # keys of invariants
    summary: bool = False
    modifier: bool = False


class Structure(msgspec.Struct, frozen=True):
    """One resource or data type (StructureDefinition)."""

    kind: str
    elements: dict[str, tuple[Element, ...]]  # path below the type ("" for itself) → its children
    abstract: bool = False
    base: str | None = None
    pattern: str | None = None  # regular expression of a primitive
    constraints: tuple[str, ...] = ()


class Constraint(msgspec.Struct, frozen=True):
    """One invariant (ElementDefinition.constraint); evaluated by whoever has a FHIRPath engine."""

    severity: str
    human: str
    expression: str | None


class _File(msgspec.Struct, frozen=True):
    resource_types: frozenset[str]
    types: dict[str, msgspec.Raw]
    constraints: dict[str, Constraint]
    value_sets: dict[str, dict[str, tuple[str, ...]]]


@cache
def _file() -> _File:
    packed = files("fhir.definitions").joinpath("structures.json.zst").read_bytes()
    return msgspec.json.decode(zstandard.ZstdDecompressor().decompress(packed), type=_File)


@cache
def structure_of(type_name: str) -> Structure:
    """The structure of a resource or data type of R4."""
    return msgspec.json.decode(_file().types[type_name], type=Structure)


def is_type(type_name: str) -> bool:
    """Whether R4 has a resource or data type of this name."""
    return type_name in _file().types


def resource_types() -> frozenset[str]:
    """Every concrete resource type of R4."""
    return _file().resource_types


def codes_by_system(value_set: str) -> Mapping[str, tuple[str, ...]] | None:
    """The codes of a required or extensible value set; None: it cannot be enumerated (UCUM …)."""
    return _file().value_sets.get(value_set)


def constraint_of(key: str, type_name: str) -> Constraint:
    """The invariant that an element of this type names by its key."""
    constraints = _file().constraints
    return constraints.get(f"{type_name}#{key}") or constraints[key]


@cache
def known_constraints() -> frozenset[str]:
    """The keys of all invariants of R4."""
    return frozenset(key.rpartition("#")[2] for key in _file().constraints)
