"""Which of several versions of a definition goes first (FHIR R4 references.html#canonical)."""

from collections.abc import Sequence

import pytest

from terminology.canonical import Canonical
from terminology.in_request import GivenDefinitions
from terminology.library import Edition, Kind, Library

URL = "http://example.org/vs"


class Kept:
    """A source of value sets that are here."""

    def __init__(self, *versions: str) -> None:
        self._versions = versions

    async def editions(self, kind: Kind, url: str) -> Sequence[Edition]:
        """All versions."""

        async def open_it() -> None:
            """Nobody opens it."""

        return [Edition(kind, url, version, open_it) for version in self._versions]

    async def supplements(self, system_url: str) -> Sequence[Edition]:
        """None."""
        assert system_url
        return []

    async def listing(self, kind: Kind) -> Sequence[Edition]:
        """Everything."""
        return await self.editions(kind, URL)


@pytest.mark.parametrize(
    ("given", "wanted", "found"),
    [
        ([], None, "3"),
        (["1"], None, "1"),
        (["1", "2"], None, "2"),
        (["1"], "3", "3"),
        (["1"], "x", "1"),
    ],
)
async def test_what_a_request_brings_goes_before_what_is_here(
    given: list[str], wanted: str | None, found: str
) -> None:
    brought = [{"resourceType": "ValueSet", "url": URL, "version": version} for version in given]
    library = Library([GivenDefinitions(brought), Kept("1", "3"), Kept("2")])
    edition = await library.find(Kind.VALUE_SET, Canonical(URL, wanted))
    assert edition is not None
    assert edition.version == found
