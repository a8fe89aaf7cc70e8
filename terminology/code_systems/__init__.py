"""Code systems of a grammar: UCUM, BCP 47, BCP 13, RFC 3986. Each is made when it is first opened."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from terminology.code_system import CodeSystem
from terminology.library import Edition, Kind

Make = Callable[[], CodeSystem]


class GrammarSystems:
    """The source of the code systems of a grammar."""

    async def editions(self, kind: Kind, url: str) -> Sequence[Edition]:
        """The one version of a code system."""
        return [_edition(url)] if kind is Kind.CODE_SYSTEM and url in _makers() else []

    async def supplements(self, system_url: str) -> Sequence[Edition]:  # noqa: ARG002  of the protocol
        """None."""
        return ()

    async def listing(self, kind: Kind) -> Sequence[Edition]:
        """All of them."""
        return [_edition(url) for url in _makers()] if kind is Kind.CODE_SYSTEM else []


@cache
def _makers() -> Mapping[str, Make]:
    from terminology.code_systems import languages, media_types, ucum, uris

    return {
        ucum.URL: ucum.ucum,
        languages.URL: languages.languages,
        media_types.URL: media_types.media_types,
        uris.URL: uris.uris,
    }


@cache
def _made(url: str) -> CodeSystem:
    return _makers()[url]()


@cache
def _edition(url: str) -> Edition:
    async def open_it() -> CodeSystem:
        return _made(url)

    return Edition(Kind.CODE_SYSTEM, url, _made(url).header.version, open_it, "complete")
