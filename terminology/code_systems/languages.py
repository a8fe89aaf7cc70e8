"""Tags for languages, urn:ietf:bcp:47 (RFC 5646), by the registry of their subtags at IANA.

A tag is valid if it is well-formed (§2.1) and all its subtags are registered (§2.2.9). Case does not count;
the code is the tag in the case of §2.1.1, `zh-Hant-TW`. Each subtag is a property that filters may name.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import zstandard

from terminology.code_system import Header, PropertyDefinition
from terminology.code_systems.grammar import GrammarCodeSystem
from terminology.concept import Concept, Designation, Property

Json = Any

URL = "urn:ietf:bcp:47"
MAX_TAG_CHARACTERS = 100  # the longest in use have some 35 (RFC 5646 §4.4.1)
MAX_REMEMBERED_TAGS = 5_000

_TABLE = Path(__file__).parents[1] / "definitions" / "bcp47.json.zst"
_WELL_FORMED = re.compile(
    r"(?P<language>[a-z]{2,3}(?P<extlang>(-[a-z]{3}){0,3})|[a-z]{4,8})"
    r"(-(?P<script>[a-z]{4}))?"
    r"(-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<variants>(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*)"
    r"(?P<extensions>(-[a-wy-z0-9](-[a-z0-9]{2,8})+)*)"
    r"(-(?P<private>x(-[a-z0-9]{1,8})+))?"
)
_PRIVATE = re.compile(r"x(-[a-z0-9]{1,8})+")
_EXTENSION = re.compile(r"-([a-wy-z0-9])((?:-[a-z0-9]{2,8})+)")
PROPERTIES = ("language", "extlang", "script", "region", "variant", "extension", "private-use")


@dataclass(frozen=True, slots=True)
class _Part:
    """A subtag: of what kind, as it is written, and its name."""

    kind: str
    subtag: str
    name: str
    deprecated: bool = False


def languages() -> GrammarCodeSystem:
    """The code system."""
    header = Header(
        url=URL,
        version=registry().version,
        name="Languages",
        title="Tags for Identifying Languages (BCP 47)",
        status="active",
        language="en",
        case_sensitive=False,
        compositional=True,
        properties={name: PropertyDefinition(name) for name in PROPERTIES},
    )
    return GrammarCodeSystem(header, read)


@lru_cache(MAX_REMEMBERED_TAGS)
def read(tag: str) -> Concept | None:
    """The concept of a tag."""
    if len(tag) > MAX_TAG_CHARACTERS or not tag.isascii():
        return None
    lower = tag.lower()
    if (whole := registry().whole.get(lower)) is not None:
        return _concept([whole])
    if _PRIVATE.fullmatch(lower):
        return _concept([_Part("private-use", lower, "Private use")])
    found = _WELL_FORMED.fullmatch(lower)
    parts = None if found is None else _parts(found)
    return None if parts is None else _concept(parts)


def _parts(found: re.Match[str]) -> Sequence[_Part] | None:
    """The subtags of a tag in order; None: one is not registered, or stands twice."""
    known = registry()
    language, *extlangs = found["language"].split("-")
    wanted = [("language", language), *(("extlang", each) for each in extlangs)]
    wanted += [(kind, found[kind]) for kind in ("script", "region") if found[kind]]
    variants = found["variants"].split("-")[1:]
    wanted += [("variant", each) for each in variants]
    parts = [known.find(*each) for each in wanted]
    extensions = _EXTENSION.findall(found["extensions"])
    repeated = len(set(variants)) < len(variants) or len({each for each, _ in extensions}) < len(extensions)
    if repeated or any(part is None for part in parts) or not known.allows(language, extlangs):
        return None
    more = [_Part("extension", each + values, each + values) for each, values in extensions]
    more += [_Part("private-use", found["private"], found["private"])] if found["private"] else []
    return [part for part in chain(parts, more) if part is not None]


def _concept(parts: Sequence[_Part]) -> Concept:
    code = "-".join(part.subtag for part in parts)
    properties = tuple(Property(part.kind, "string", part.subtag) for part in parts)
    status = "deprecated" if any(part.deprecated for part in parts) else None
    first, *others = parts
    if not others:
        return Concept(code, first.name, properties=properties, status=status)
    short = ", ".join(part.name for part in others)
    long = ", ".join(f"{part.kind.capitalize()}={part.name}" for part in others)
    return Concept(
        code,
        f"{first.name} ({short})",
        designations=(Designation(f"{first.name} ({long})", "en"),),
        properties=properties,
        status=status,
    )


class Registry:
    """IANA's registry of subtags (RFC 5646 §3)."""

    def __init__(self, table: Json) -> None:
        kinds = table["kinds"]
        self.version: str = table["version"]
        self.whole = {  # tags that the grammar does not tell (§2.2.8)
            tag.lower(): _part("language", tag, each) for tag, each in kinds["grandfathered"].items()
        }
        self._prefixes = {subtag: each["prefix"] for subtag, each in kinds["extlang"].items()}
        self._kinds: Mapping[str, Mapping[str, _Part]] = {
            kind: {subtag.lower(): _part(kind, subtag, each) for subtag, each in kinds[kind].items()}
            for kind in ("language", "extlang", "script", "region", "variant")
        }
        self._ranges = [
            (kind, *subtag.lower().split(".."), each["name"])
            for kind in ("language", "script", "region")
            for subtag, each in kinds[kind].items()
            if ".." in subtag
        ]

    def find(self, kind: str, subtag: str) -> _Part | None:
        """A subtag of a kind, in lower case; those for private use are registered as ranges."""
        if (found := self._kinds[kind].get(subtag)) is not None:
            return found
        for of_kind, low, high, name in self._ranges:
            if of_kind == kind and len(low) == len(subtag) and low <= subtag <= high:
                return _Part(kind, _CASES.get(kind, str.lower)(subtag), name)
        return None

    def allows(self, language: str, extlangs: Sequence[str]) -> bool:
        """Whether there is one extended language at most, behind the language it belongs to (§2.2.2)."""
        return not extlangs or (len(extlangs) == 1 and language in self._prefixes[extlangs[0]])


_CASES = {"script": str.title, "region": str.upper}


def _part(kind: str, subtag: str, entry: Json) -> _Part:
    return _Part(kind, subtag, entry["name"], entry.get("deprecated", False))


@cache
def registry() -> Registry:
    """The registry, read when the first tag is."""
    return Registry(orjson.loads(zstandard.ZstdDecompressor().decompress(_TABLE.read_bytes())))
