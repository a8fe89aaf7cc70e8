"""Canonical URLs and the versions behind them (FHIR R4 references.html#canonical)."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

_WILD = frozenset({"x", "X", "*"})
_EDITIONS = "http://snomed.info/"
_NUMBER = re.compile(r"\d+")
_MAX_DIGITS = 18  # of one number in a version: dates and counters have fewer

_EXPRESSION = "?fhir_vs=ecl/"


class Canonical(NamedTuple):
    """A canonical URL; `version` None: whichever fits."""

    url: str
    version: str | None = None

    def __str__(self) -> str:
        return self.url if self.version is None else f"{self.url}|{self.version}"


def parse_canonical(text: str) -> Canonical:
    """`url`, or `url|version`; in an expression constraint (`…?fhir_vs=ecl/…`) a `|` begins a term."""
    if _EXPRESSION in text:
        return Canonical(text)
    url, _, version = text.partition("|")
    return Canonical(url, version or None)


def is_pattern(version: str) -> bool:
    """Whether a version stands for several: `1.0.x`, `2.*`, `*`."""
    return not _WILD.isdisjoint(version.split("."))


def accepts(wanted: str | None, version: str | None) -> bool:
    """Whether a version is the one that is wanted: the same, or one that its pattern stands for.

    `1.x` and `1.*` stand for all that begin with `1.`; `1.0.x` for those that begin with `1.0.`. The URI of a
    SNOMED CT edition stands for its releases (SNOMED CT URI Standard §2.1).
    """
    if wanted is None or wanted == version:
        return True
    if version is None:
        return False
    if wanted.startswith(_EDITIONS):
        return version.startswith(wanted + "/version/")
    if not is_pattern(wanted):
        return False
    given = version.split(".")
    for at, part in enumerate(wanted.split(".")):
        if part in _WILD:
            return True
        if at >= len(given) or given[at] != part:
            return False
    return False


def newest(versions: Iterable[str | None]) -> str | None:
    """The highest version; numbers count as numbers, and any version is above none."""
    return max(versions, key=order_of, default=None)


@lru_cache(4_096)
def order_of(version: str | None) -> tuple[int, tuple[tuple[int, int, str], ...]]:
    """By what versions are ordered; a pre-release is below its release (semver 2.0.0 §11)."""
    if version is None:
        return 0, ()
    release, dash, pre_release = version.partition("-")
    if not dash or not release.replace(".", "").isdigit() or "." not in release:
        return 1, (*_parts(version), (2, 0, ""))
    return 1, (*_parts(release), (-1, 0, ""), *_parts(pre_release))


def _parts(text: str) -> tuple[tuple[int, int, str], ...]:
    parts = re.split(r"[.\-/_+ ]", text)
    return tuple(
        (1, int(part), "") if _NUMBER.fullmatch(part) and len(part) <= _MAX_DIGITS else (0, 0, part)
        for part in parts
    )
