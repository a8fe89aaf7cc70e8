"""What the terminology service can do: `/metadata?mode=terminology` (FHIR R4 terminologycapabilities.html).

Code systems are listed without opening one. What expansions and validations take stands in tables here, which
tests hold to what the operations read.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from fhir.capability import SOFTWARE, ServerFacts
from fhir.model.builders.datatypes import elements
from fhir.model.json_codec import encode_json
from server.kernel.clock import SECOND_US, Clock
from terminology.canonical import order_of
from terminology.library import Edition, Kind, Library, Source

Json = Any

KEPT_US = 2 * SECOND_US  # as long the answer stays what it was: it is for everyone, and long

# Parameters of `$expand`, beside the value set (FHIR R4 valueset-operation-expand.html, and the ecosystem's).
EXPANSION_PARAMETERS = (
    "activeOnly", "check-system-version", "count", "default-valueset-version", "designation",
    "displayLanguage", "exclude-system", "excludeNested", "excludeNotForUI", "excludePostCoordinated",
    "filter", "force-system-version", "includeDefinition", "includeDesignations", "offset", "property",
    "system-version", "tx-resource", "useSupplement",
)  # fmt: skip


def terminology_capabilities(server: ServerFacts, code_systems: Iterable[Edition]) -> dict[str, Json]:
    """The TerminologyCapabilities; supplements are no code systems of their own."""
    return elements(
        resourceType="TerminologyCapabilities",
        url=f"{server.base}/metadata?mode=terminology",
        version=server.software_version,
        name=f"{SOFTWARE}Terminology",
        title=f"{SOFTWARE} FHIR R4 terminology service",
        status="active",
        date=server.date,
        kind="instance",
        software={"name": SOFTWARE, "version": server.software_version},
        implementation={"description": f"{SOFTWARE}: terminology service", "url": server.base},
        lockedDate=False,
        codeSystem=list(_code_systems(code_systems)),
        expansion={
            "hierarchical": True,
            "paging": True,
            "incomplete": False,
            "parameter": [{"name": name} for name in EXPANSION_PARAMETERS],
            "textFilter": "Each word begins a word of the code, the display or a designation.",
        },
        codeSearch="all",
        validateCode={"translations": True},
        translation={"needsMap": False},
    )


def _code_systems(editions: Iterable[Edition]) -> Iterable[Json]:
    by_url: dict[str, list[Edition]] = {}
    for each in editions:
        if each.supplements is None and each.content != "not-present":
            by_url.setdefault(each.url, []).append(each)
    for url in sorted(by_url):
        yield elements(uri=url, version=_versions(by_url[url]))


def _versions(editions: Sequence[Edition]) -> Sequence[Json]:
    """The newest first; it is the one that is meant where none is stated."""
    ordered = sorted(editions, key=lambda each: order_of(each.version), reverse=True)
    return [
        {"code": each.version, "isDefault": each is ordered[0]}
        for each in ordered
        if each.version is not None
    ]


class TerminologyStatement:
    """Tells the capabilities as of now, or of shortly before."""

    def __init__(self, server: ServerFacts, sources: Sequence[Source], clock: Clock) -> None:
        self._server, self._library, self._clock = server, Library(sources), clock
        self._text, self._made_us = b"", 0

    async def text(self) -> bytes:
        """The JSON text."""
        if abs(self._clock() - self._made_us) >= KEPT_US:
            listing = await self._library.listing(Kind.CODE_SYSTEM)
            self._text = encode_json(terminology_capabilities(self._server, listing))
            self._made_us = self._clock()
        return self._text
