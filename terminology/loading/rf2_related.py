"""Relationships and concrete values of an RF2 release (Release File Specifications §4.2.3, §4.2.4)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from terminology.loading.files import fault
from terminology.loading.rf2_concepts import Concepts
from terminology.loading.rf2_files import FileKind, ReleaseFile, Row
from terminology.releases.spool import Spool
from terminology.tables import TerminologyConcreteValue, TerminologyRelation

Json = Any

IS_A = "116680003"
STATED = "900000000000010007"  # a characteristic type; inferred and additional relationships are read

_NUMBER = re.compile(r"#([+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?)")


class Related(NamedTuple):
    """A relationship of a concept; `number` None: the value is a concept, or text."""

    attribute: str
    value: str
    role_group: int
    is_concept: bool
    number: float | None


def read_related(concepts: Concepts, spool: Spool) -> None:
    """Put all that are active into a spool by concept: the place of the source, then a `Related`.

    Raises:
        UnreadableRelease: one names a concept that is not there, or has no value.
    """
    for kind in (FileKind.RELATIONSHIP, FileKind.CONCRETE_VALUE):
        is_concept = kind is FileKind.RELATIONSHIP
        for file, row in concepts.rows(kind):
            source, value, group, attribute, characteristic = row.values[4:9]
            if row.values[2] == "0" or characteristic == STATED:
                continue
            owner = concepts.known(file, row, source)
            concepts.known(file, row, attribute)
            if not (group.isascii() and group.isdigit()) or len(group) > _GROUP_DIGITS:
                raise fault(file.label, row.line, f"'{group[:20]}' is no relationship group")
            number: float | None = None
            if is_concept:
                concepts.known(file, row, value)
            else:
                value, number = _concrete(file, row, value)
            spool.add(owner, (owner, attribute, value, int(group), is_concept, number))


_GROUP_DIGITS = 6


def _concrete(file: ReleaseFile, row: Row, text: str) -> tuple[str, float | None]:
    """A concrete value without its mark: `#5`, `"text"`, or true and false."""
    if number := _NUMBER.fullmatch(text):
        return number[1], float(number[1])
    if text.startswith('"') and text.endswith('"') and len(text) > 1:
        return text[1:-1], None
    if text in ("true", "false"):
        return text, None
    raise fault(file.label, row.line, f"'{text[:30]}' is no concrete value")


def as_properties(attributes: Sequence[Related]) -> Iterator[Json]:
    """CodeSystem.concept.property of attributes, each once whatever its group."""
    for attribute, value, is_concept, number in dict.fromkeys(
        (each.attribute, each.value, each.is_concept, each.number) for each in attributes
    ):
        if is_concept:
            yield {"code": attribute, "valueCode": value}
        elif number is not None:
            yield {"code": attribute, "valueDecimal": number}
        elif value in ("true", "false"):
            yield {"code": attribute, "valueBoolean": value == "true"}
        else:
            yield {"code": attribute, "valueString": value}


def rows_of(code: str, attributes: Sequence[Related]) -> Iterator[tuple[type[Any], Mapping[str, Any]]]:
    """The rows of a concept's attributes, with their tables."""
    for each in dict.fromkeys(attributes):
        row = {"source": code, "role_group": each.role_group, "attribute": each.attribute}
        if each.is_concept:
            yield TerminologyRelation, row | {"target": each.value}
        else:
            yield TerminologyConcreteValue, row | {"value": each.value, "number": each.number}
