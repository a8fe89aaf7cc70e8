"""Units of UCUM 2.2 (ucum.org/ucum): its grammar (§§2-13) and what units are made of. Pure.

A code is read in one pass; one regular expression finds its atoms, the longest and bare ones first. Length,
nesting and exponents are bounded, so that reading is short whatever comes. More lenient than the text: an
annotation may follow a parenthesis, as in UCUM's own example `g/(8.h){shift}`, and may have spaces, as in
HL7's common unit `{3 times}/d`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import zstandard

Json = Any

MAX_CODE_CHARACTERS = 300  # UCUM's longest example has 30
MAX_NESTING = 10  # parentheses within one another
MAX_EXPONENT = 99

_TABLE = Path(__file__).parents[1] / "definitions" / "ucum.json.zst"
_FACTOR = re.compile(r"([1-9][0-9]*)(?=[./(){]|$)")
_ANNOTATION = re.compile(r"\{[ -z|~]*\}")
_FOLLOWED = r"(?P<exponent>[+-]?[0-9]+)?(?=[./){]|$)"

Dimensions = Mapping[str, int]  # exponent by base unit; arbitrary units are bases of their own (§24)


class NotAUnit(ValueError):
    """A code that is not of the grammar; the text says what and where (characters from 1)."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A code that was read."""

    code: str
    name: str  # what it means in words
    dimensions: Dimensions
    kind: str | None = None  # "mass": what a single (prefixed) unit measures, UCUM's property

    @property
    def canonical(self) -> str:
        """Its dimensions in base units, by their codes: `g.m-1.s-2`."""
        return (
            ".".join(
                base if power == 1 else f"{base}{power}" for base, power in sorted(self.dimensions.items())
            )
            or "1"
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of a code: its words, and what it is made of."""

    name: str
    dimensions: Dimensions
    kind: str | None = None


def find_unit(code: str) -> Unit | None:
    """The unit of a code; None: it is none. Case counts (§3)."""
    try:
        return read_unit(code)
    except NotAUnit:
        return None


def read_unit(code: str) -> Unit:
    """The unit of a code.

    Raises:
        NotAUnit: it is none.
    """
    if not code or len(code) > MAX_CODE_CHARACTERS:
        raise NotAUnit(f"a unit has 1 to {MAX_CODE_CHARACTERS} characters")
    reader = _Reader(code)
    part = reader.read_main_term()
    return Unit(code, part.name, part.dimensions, part.kind)


class _Reader:
    """Reads one code from left to right (§12, the grammar's productions)."""

    def __init__(self, code: str) -> None:
        self._code = code
        self._at = 0

    def read_main_term(self) -> _Part:
        part = self._read_term(self._inverted(), 0) if self._take("/") else self._read_term(None, 0)
        if self._at < len(self._code):
            raise self._failure("unexpected")
        return part

    def _inverted(self) -> _Part:
        """A leading solidus inverts the unit that directly follows it (§7.4)."""
        part = self._read_component(0)
        return _Part(f"1 / {part.name}", _times({}, part.dimensions, -1))

    def _read_term(self, first: _Part | None, depth: int) -> _Part:
        part = first or self._read_component(depth)
        while sign := self._take(".") or self._take("/"):
            right = self._read_component(depth)
            name = f"{part.name} {'*' if sign == '.' else '/'} {right.name}"
            part = _Part(name, _times(part.dimensions, right.dimensions, 1 if sign == "." else -1))
        return part

    def _read_component(self, depth: int) -> _Part:
        annotation = self._match(_ANNOTATION)
        part = _Part("1", {}) if annotation else self._read_annotatable(depth)
        self._match(_ANNOTATION)
        return part

    def _read_annotatable(self, depth: int) -> _Part:
        if self._take("("):
            if depth >= MAX_NESTING:
                raise self._failure("nested too deeply")
            part = self._read_term(None, depth + 1)
            if not self._take(")"):
                raise self._failure("no closing parenthesis")
            return _Part(f"({part.name})", part.dimensions)
        if found := self._match(units().pattern):
            return self._simple_unit(found)
        if found := self._match(_FACTOR):
            return _Part(found[1], {})
        raise self._failure("no unit")

    def _simple_unit(self, found: re.Match[str]) -> _Part:
        exponent = int(found["exponent"] or 1)
        if not 0 < abs(exponent) <= MAX_EXPONENT:
            raise self._failure(f"an exponent is not 0 and at most {MAX_EXPONENT}")
        table, code = units(), found["atom"] or found["metric"]
        name = (table.prefixes[found["prefix"]] if found["prefix"] else "") + table.names[code]
        if exponent == 1:
            return _Part(f"({name})", table.dimensions(code), table.properties.get(code))
        return _Part(f"({name} ^ {exponent})", _times({}, table.dimensions(code), exponent))

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self._code, self._at)
        if found is not None:
            self._at = found.end()
        return found

    def _take(self, character: str) -> str:
        if not self._code.startswith(character, self._at):
            return ""
        self._at += 1
        return character

    def _failure(self, what: str) -> NotAUnit:
        return NotAUnit(f"{what} at character {self._at + 1}")


def _times(left: Dimensions, right: Dimensions, power: int) -> Dimensions:
    found = dict(left)
    for base, exponent in right.items():
        found[base] = found.get(base, 0) + exponent * power
    return {base: exponent for base, exponent in found.items() if exponent}


class Units:
    """UCUM's prefixes and units (its file `ucum-essence.xml`)."""

    def __init__(self, table: Json) -> None:
        self.version: str = table["version"]
        self.prefixes: Mapping[str, str] = {code: each["name"] for code, each in table["prefixes"].items()}
        everything = table["base"] | table["units"]
        self.names: Mapping[str, str] = {code: each["name"] for code, each in everything.items()}
        self.properties: Mapping[str, str] = {code: each["property"] for code, each in everything.items()}
        self.metric = {*table["base"], *(code for code, each in table["units"].items() if each.get("metric"))}
        self.pattern = re.compile(
            f"(?:(?P<atom>{_any_of(everything)})|(?P<prefix>{_any_of(table['prefixes'])})"
            f"(?P<metric>{_any_of(self.metric)})){_FOLLOWED}"
        )
        self._derived: Json = table["units"]
        self._dimensions: dict[str, Dimensions] = {code: {code: 1} for code in table["base"]}

    def dimensions(self, code: str) -> Dimensions:
        """What a unit is made of, in base units; special units (§21): the unit that their function takes."""
        if (known := self._dimensions.get(code)) is None:
            unit = self._derived[code]
            is_base = unit.get("arbitrary") and unit["unit"] == "1"
            known = {code: 1} if is_base else read_unit(unit["unit"]).dimensions
            self._dimensions[code] = known
        return known


@cache
def units() -> Units:
    """The table, read when the first unit is."""
    return Units(orjson.loads(zstandard.ZstdDecompressor().decompress(_TABLE.read_bytes())))


def _any_of(codes: Iterable[str]) -> str:
    return "|".join(re.escape(code) for code in sorted(codes, key=len, reverse=True))
