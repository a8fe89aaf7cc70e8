"""Relationships and concrete values of an RF2 release (Release File Specifications §4.2.3, §4.2.4)."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from terminology.loading.files import fault
from terminology.loading.rf2_concepts import Concepts
from terminology.loading.rf2_files import FileKind, ReleaseFile, Row
from terminology.releases.draft import ReleaseDraft
from terminology.releases.spool import Spool
from terminology.tables import TerminologyConcreteValue, TerminologyRelation

Json = Any

IS_A = "116680003"
STATED = "900000000000010007"  # a characteristic type; inferred and additional relationships are read

_NUMBER = re.compile(r"#([+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?)")


class Related(NamedTuple):
    """A relationship of a concept. A value that is a concept is its place; `number` None: it is text."""

    attribute: int
    value: int | str
    role_group: int
    number: float | None


def read_related(concepts: Concepts, spool: Spool) -> None:
    """Put all that are active into a spool by the place of the source: the values of a `Related`.

    Raises:
        UnreadableRelease: one names a concept that is not there, or has no value.
    """
    groups: dict[str, int] = {}
    for kind in (FileKind.RELATIONSHIP, FileKind.CONCRETE_VALUE):
        for file, row in concepts.rows(kind):
            source, value, group, attribute, characteristic = row.values[4:9]
            if row.values[2] == "0" or characteristic == STATED:
                continue
            owner, attribute_at = concepts.known(file, row, source), concepts.known(file, row, attribute)
            if group not in groups:
                if not (group.isascii() and group.isdigit()) or len(group) > _GROUP_DIGITS:
                    raise fault(file.label, row.line, f"'{group[:20]}' is no relationship group")
                groups[group] = int(group)
            if kind is FileKind.RELATIONSHIP:
                spool.add(owner, (attribute_at, concepts.known(file, row, value), groups[group], None))
            else:
                text, number = _concrete(file, row, value)
                spool.add(owner, (attribute_at, text, groups[group], number))


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


def as_properties(codes: Sequence[str], attributes: Sequence[Related]) -> Iterator[Json]:
    """CodeSystem.concept.property of attributes, each once whatever its group; `codes` by place."""
    for attribute, value, number in dict.fromkeys(
        [(each.attribute, each.value, each.number) for each in attributes]
    ):
        code = codes[attribute]
        if isinstance(value, int):
            yield {"code": code, "valueCode": codes[value]}
        elif number is not None:
            yield {"code": code, "valueDecimal": number}
        elif value in ("true", "false"):
            yield {"code": code, "valueBoolean": value == "true"}
        else:
            yield {"code": code, "valueString": value}


def add_rows(draft: ReleaseDraft, concept: int, attributes: Sequence[Related]) -> None:
    """Add the rows of a concept's attributes; in the draft concepts are called by their places."""
    relations: list[Sequence[Any]] = []
    values: list[Sequence[Any]] = []
    for attribute, value, group, number in attributes:
        if isinstance(value, int):
            relations.append((0, concept, group, attribute, value))
        else:
            values.append((0, concept, group, attribute, value, number))
    draft.add_rows(TerminologyRelation, concept, relations)
    draft.add_rows(TerminologyConcreteValue, concept, values)
