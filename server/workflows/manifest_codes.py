"""The codes of a model's manifest, held to the terminology: results speak in codes that exist."""

from collections.abc import Sequence

from ai_engine.bundle import codes_of
from ai_engine.findings import Code
from ai_engine.manifest import Manifest
from fhir.model import systems
from terminology.code_system import Content
from terminology.library import Library
from terminology.versions import choose, code_systems


async def unknown_codes(manifest: Manifest, terms: Library) -> Sequence[Code]:
    """The codes that their code systems do not have, as far as those are known here as a whole."""
    found = []
    for code in dict.fromkeys(codes_of(manifest)):
        system = systems.OF_SCHEME.get(code.scheme)
        edition = None if system is None else choose(await code_systems(terms, system), None)
        if edition is None or edition.content not in (None, Content.COMPLETE):
            continue
        if await (await edition.open()).locate(code.value) is None:
            found.append(code)
    return found
