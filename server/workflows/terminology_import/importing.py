"""`isthmus terminology import`: releases of large code systems, and definitions, into the database.

A code system that is too large for memory becomes a release, and its resource is stored without the concepts;
everything else is stored as any resource is. A path is read as a whole before anything of it is written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fhir.model.validation import InvalidResource, require_valid
from fhir.packages import Definition
from server.kernel.database import Database
from server.workflows.packages import AT_ONCE, Loaded, store_definitions
from server.workflows.terminology_import.forms import Form, read_definitions, recognise
from terminology.library import Kind
from terminology.loading.code_system import is_large, read_code_system
from terminology.releases.draft import ReleaseDraft
from terminology.releases.source import has_release
from terminology.releases.writer import Progress, Written, untold, write_release

Json = Any
KINDS = frozenset(Kind)
_TWICE = "csd-1"  # a code is: the draft says which


@dataclass(slots=True)
class Imported:
    """What came of an import; `refused` has a line for each definition that is not valid."""

    releases: list[Written] = field(default_factory=list)
    definitions: Loaded = field(default_factory=Loaded)
    left_out: int = 0  # resources that are no terminology


async def import_path(
    database: Database,
    path: Path,
    form: Form | None = None,
    progress: Progress = untold,
) -> Imported:
    """Import a file or a folder; `form` None: it is recognised.

    Raises:
        NotImportable, InvalidPackage, UnreadableRelease, InvalidDefinition: it is not as it should be.
    """
    form = form or recognise(path)
    imported = Imported()
    if form in (Form.SNOMED, Form.LOINC):
        with _read_release(form, path, progress) as draft:
            await _write(database, draft, path.name, imported, progress)
        return imported
    count = sum(1 for _ in read_definitions(form, path))  # damaged near its end, it is refused whole
    waiting: list[Definition] = []
    for done, (place, resource) in enumerate(read_definitions(form, path), 1):
        if resource.get("resourceType") not in KINDS:
            imported.left_out += 1
        elif resource["resourceType"] == Kind.CODE_SYSTEM and await _is_release(database, resource):
            if (wrong := _why_refused(resource)) is not None:
                imported.definitions.refused.append(f"{place}: {wrong}")
                continue
            with read_code_system(resource) as draft:
                await _write(database, draft, place, imported, progress)
        else:
            waiting.append(Definition(place, resource))
        if len(waiting) == AT_ONCE:
            await store_definitions(database, waiting, imported.definitions)
            waiting = []
        progress("definitions", done, count)
    await store_definitions(database, waiting, imported.definitions)
    return imported


async def _is_release(database: Database, resource: Json) -> bool:
    """Whether a CodeSystem belongs into the tables: it is large, or that version of it was."""
    if is_large(resource):
        return True
    return await has_release(database, resource.get("url"), resource.get("version") or "")


def _why_refused(resource: Json) -> str | None:
    """What is wrong with a CodeSystem that is to become a release; None: nothing."""
    try:
        require_valid(resource)
    except InvalidResource as refusal:
        wrong = [each for each in refusal.issues if _TWICE not in each.text]
        if wrong:
            return f"{wrong[0].expression}: {wrong[0].text}"
    return None if resource.get("url") else "A code system as large as this needs a url."


def _read_release(form: Form, path: Path, progress: Progress) -> ReleaseDraft:
    if form is Form.SNOMED:
        from terminology.loading import rf2

        return rf2.read_release(path, progress)
    from terminology.loading import loinc

    return loinc.read_release(path, progress)


async def _write(
    database: Database,
    draft: ReleaseDraft,
    place: str,
    imported: Imported,
    progress: Progress,
) -> None:
    imported.releases.append(await write_release(database, draft, progress))
    await store_definitions(
        database, [Definition(place, without_concepts(draft.header))], imported.definitions
    )


def without_concepts(resource: Json, **changes: Any) -> Json:
    """The resource that stands for a release: it can be searched and read, and has no concepts."""
    return {name: value for name, value in resource.items() if name not in ("concept", "text")} | changes


def told(imported: Sequence[Imported]) -> Iterator[str]:
    """Lines that say what came of it."""
    for each in imported:
        yield from (f"not valid, left out: {line}" for line in each.definitions.refused)
    for written in (release for each in imported for release in each.releases):
        inactive = written.concepts - written.active_concepts
        yield (
            f"{written.url}|{written.version}: {written.concepts} concepts"
            + (f", {inactive} of them inactive." if inactive else ".")
        )
    done = [each.definitions for each in imported]
    yield (
        f"{sum(each.written for each in done)} definitions written,"
        f" {sum(each.unchanged for each in done)} unchanged."
    )
    if left_out := sum(each.left_out for each in imported):
        yield f"{left_out} resources are no terminology and were left out."
