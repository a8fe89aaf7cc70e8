"""Definitions that a request brings along (`tx-resource`, and a `valueSet` or `codeSystem` given whole)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from terminology.canonical import parse_canonical
from terminology.library import Edition, Kind
from terminology.listed import ListedCodeSystem

Json = Any
Open = Callable[[], Awaitable[Any]]

MANY_CONCEPTS = 2_000  # of one code system, which is read in a thread then: more than 10 ms of work


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
        _once(partial(_read, resource)) if kind is Kind.CODE_SYSTEM else _as_it_is(resource),
        resource.get("content"),
        parse_canonical(supplements) if supplements else None,
    )


def edition_of_code_system(opened: ListedCodeSystem) -> Edition:
    """A code system that has been opened as an edition."""
    header = opened.header
    content, supplements = header.content.value, header.supplements
    return Edition(Kind.CODE_SYSTEM, header.url, header.version, _as_it_is(opened), content, supplements)


async def _read(resource: Json) -> ListedCodeSystem:
    if len(resource.get("concept", ())) <= MANY_CONCEPTS:
        return ListedCodeSystem(resource)
    return await asyncio.to_thread(ListedCodeSystem, resource)


def _once(make: Open) -> Open:
    made: list[Any] = []

    async def open_it() -> Any:
        if not made:
            made.append(await make())
        return made[0]

    return open_it


def _as_it_is(value: Any) -> Open:
    async def open_it() -> Any:
        return value

    return open_it
