"""Definitions that a request brings along (`tx-resource`, and a `valueSet` or `codeSystem` given whole)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from terminology.canonical import parse_canonical
from terminology.library import Edition, Kind
from terminology.listed import ListedCodeSystem

Json = Any


class GivenDefinitions:
    """A source of JSON resources; each CodeSystem is read once."""

    def __init__(self, resources: Sequence[Json]) -> None:
        self._editions = [replace(edition_of(each), given=True) for each in resources]

    async def editions(self, kind: Kind, url: str) -> Sequence[Edition]:
        """All versions of a definition."""
        return [each for each in self._editions if each.kind is kind and each.url == url]

    async def supplements(self, system_url: str) -> Sequence[Edition]:
        """The supplements of any version of a code system."""
        return [each for each in self._editions if each.supplements and each.supplements.url == system_url]

    async def listing(self, kind: Kind) -> Sequence[Edition]:
        """Everything of a kind."""
        return [each for each in self._editions if each.kind is kind]


def edition_of(resource: Json) -> Edition:
    """A resource as an edition that is opened once."""
    supplements = resource.get("supplements")
    kind = Kind(resource["resourceType"])
    return Edition(
        kind,
        resource.get("url", ""),
        resource.get("version"),
        _once((lambda: ListedCodeSystem(resource)) if kind is Kind.CODE_SYSTEM else lambda: resource),
        resource.get("content"),
        parse_canonical(supplements) if supplements else None,
    )


def _once(make: Callable[[], Any]) -> Callable[[], Any]:
    made: list[Any] = []

    async def open_it() -> Any:
        if not made:
            made.append(make())
        return made[0]

    return open_it
