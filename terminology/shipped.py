"""The definitions that ship: FHIR R4, v3, v2, DICOM and the registries of ISO (`terminology/definitions`).

Their index is read when the first of them is asked for, a definition when it is opened: it is a line of one
compressed frame. `tools/generate_terminology.py` writes both. Nothing here changes what it gives, and those
who get it must not.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import orjson
import zstandard

from terminology.canonical import parse_canonical
from terminology.code_system import Content
from terminology.code_systems import GrammarSystems, countries
from terminology.fragment import FragmentCodeSystem
from terminology.kept import KeptDefinitions
from terminology.library import Edition, Kind, Source
from terminology.listed import ListedCodeSystem

Json = Any

DEFINITIONS = Path(__file__).parent / "definitions"
MAX_KEPT_CONCEPTS = 60_000  # in memory at once: some 50 MB


class Row(msgspec.Struct, frozen=True):
    """Where a definition is, and what is told of it without opening it."""

    kind: Kind
    url: str
    offset: int  # of its frame, in bytes
    length: int
    line: int  # within its frame
    concepts: int
    version: str | None = None
    content: str | None = None
    supplements: str | None = None
    value_set: str | None = None  # CodeSystem.valueSet


class _IndexFile(msgspec.Struct):
    definitions: list[Row]


@dataclass(frozen=True, slots=True)
class _Index:
    by_url: Mapping[tuple[Kind, str], Sequence[Row]]
    supplements: Mapping[str, Sequence[Row]]  # by the URL of the code system
    all_codes: Mapping[str, Sequence[Row]]  # code systems by the URL of the value set of all their codes


class ShippedDefinitions:
    """The source of what ships."""

    def __init__(self, folder: Path = DEFINITIONS, max_kept_concepts: int = MAX_KEPT_CONCEPTS) -> None:
        self._folder = folder
        self._kept = KeptDefinitions(max_kept_concepts)
        self._read: _Index | None = None
        self._editions: dict[int, Edition] = {}  # by the identity of their rows, which the index keeps

    async def editions(self, kind: Kind, url: str) -> Sequence[Edition]:
        """All versions of a definition."""
        found = [self._edition(each) for each in self._index.by_url.get((kind, url), ())]
        if not found and kind is Kind.VALUE_SET:
            found = [_all_codes(url, each) for each in self._index.all_codes.get(url, ())]
        return found

    async def supplements(self, system_url: str) -> Sequence[Edition]:
        """The supplements of any version of a code system."""
        return [self._edition(each) for each in self._index.supplements.get(system_url, ())]

    async def listing(self, kind: Kind) -> Sequence[Edition]:
        """Everything of a kind."""
        return list(self._all(kind))

    def _all(self, kind: Kind) -> Iterator[Edition]:
        for (found, _), rows in self._index.by_url.items():
            if found is kind:
                yield from map(self._edition, rows)
        if kind is Kind.VALUE_SET:
            for url, rows in self._index.all_codes.items():
                if (kind, url) not in self._index.by_url:
                    yield from (_all_codes(url, each) for each in rows)

    @property
    def _index(self) -> _Index:
        if self._read is None:
            self._read = _read_index(self._folder / "shipped_index.json.zst")
        return self._read

    def _edition(self, row: Row) -> Edition:
        if (known := self._editions.get(id(row))) is None:
            known = self._editions[id(row)] = self._new_edition(row)
        return known

    def _new_edition(self, row: Row) -> Edition:
        async def open_it() -> Any:
            return self._kept.get((row.offset, row.line), row.concepts, lambda: self._open(row))

        supplements = parse_canonical(row.supplements) if row.supplements else None
        return Edition(row.kind, row.url, row.version, open_it, row.content, supplements)

    def _open(self, row: Row) -> Any:
        resource = self.resource(row)
        if row.kind is not Kind.CODE_SYSTEM:
            return resource
        if row.url == countries.URL:
            return countries.CountryCodeSystem(resource)
        return (FragmentCodeSystem if row.content == Content.FRAGMENT else ListedCodeSystem)(resource)

    def resource(self, row: Row) -> Json:
        """The resource of a row."""
        with (self._folder / "shipped.jsonl.zst").open("rb") as file:
            file.seek(row.offset)
            frame = zstandard.ZstdDecompressor().decompress(file.read(row.length))
        return orjson.loads(frame.split(b"\n")[row.line])

    def rows(self) -> Iterator[Row]:
        """Every definition."""
        for rows in self._index.by_url.values():
            yield from rows


@cache
def shipped() -> ShippedDefinitions:
    """The one of this process: what is opened is kept for all requests."""
    return ShippedDefinitions()


def sources() -> Sequence[Source]:
    """All that is known without a database: the code systems of a grammar too."""
    return GrammarSystems(), shipped()


def _read_index(file: Path) -> _Index:
    plain = zstandard.ZstdDecompressor().decompress(file.read_bytes())
    by_url: dict[tuple[Kind, str], list[Row]] = defaultdict(list)
    supplements: dict[str, list[Row]] = defaultdict(list)
    all_codes: dict[str, list[Row]] = defaultdict(list)
    for row in msgspec.json.decode(plain, type=_IndexFile).definitions:
        by_url[row.kind, row.url].append(row)
        if row.supplements:
            supplements[parse_canonical(row.supplements).url].append(row)
        if row.value_set and not row.supplements:
            all_codes[parse_canonical(row.value_set).url].append(row)
    return _Index(dict(by_url), dict(supplements), dict(all_codes))


def _all_codes(url: str, code_system: Row) -> Edition:
    """The value set of all codes of a code system, which says its URL only (CodeSystem.valueSet)."""

    async def open_it() -> Json:
        include = {"system": code_system.url}
        version = {"version": code_system.version} if code_system.version else {}
        return {
            "resourceType": "ValueSet",
            "url": url,
            **version,
            "status": "active",
            "compose": {"include": [{**include, **version}]},
        }

    return Edition(Kind.VALUE_SET, url, code_system.version, open_it)
