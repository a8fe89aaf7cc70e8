"""Resources of files become resources of this server: `isthmus fhir import`.

By the authority of the command, which acts on the database itself: ids are kept, whoever may name resources.
What says the same as what is stored is left alone, so that an import can be run again. A Bundle of type
transaction or batch is processed as if it were posted.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fhir.bundles.files import Part, read_parts
from fhir.bundles.process import process_bundle
from fhir.exchange import FhirRequest
from fhir.interactions.body import same_content, unpack
from fhir.interactions.create import read_draft
from fhir.interactions.door import Door
from fhir.interactions.particular import particular
from fhir.interactions.served import require_written_type
from fhir.interactions.table import require_stored_type
from fhir.interactions.write import (
    Draft,
    find_ahead,
    insert_first,
    lock_and_find,
    lock_name,
    supersede,
)
from fhir.model.json_codec import decode_json
from fhir.outcome import issues_of
from server.kernel.access import Access
from server.kernel.database import UnitOfWork
from server.kernel.faults import Busy, Fault

AT_ONCE = 200  # resources of one transaction, which others wait for on SQLite
BYTES_AT_ONCE = 4 << 20
MAX_REFUSALS = 1_000  # told; others are only counted

Told = Callable[[int], None]  # hears how many bytes of the files are done


@dataclass(slots=True)
class Imported:
    """What came of files; `refused` has a line for each mistake: where it is, and what."""

    written: int = 0
    unchanged: int = 0
    failed: int = 0
    refused: list[str] = field(default_factory=list)

    def refuse(self, place: str, fault: Fault) -> None:
        """Note what is wrong at a place."""
        self.failed += 1
        for issue in issues_of(fault):
            if len(self.refused) < MAX_REFUSALS:
                at = f"{issue.expression}: " if issue.expression else ""
                self.refused.append(f"{place}: {at}{issue.text}")


async def import_files(door: Door, access: Access, files: Iterable[Path], told: Told) -> Imported:
    """Write what the files hold, each part by itself or with others; what is refused stops nothing.

    Raises:
        Busy: the database is not available; what was written before stays.
    """
    imported = Imported()
    for path in files:
        try:
            await _import_file(door, access, path, (imported, told))
        except Busy:
            raise
        except Fault as fault:  # of the file as a whole
            imported.failed += 1
            imported.refused.append(str(fault))
        except OSError as failure:
            imported.failed += 1
            imported.refused.append(f"{path}: {failure.strerror}")
    return imported


async def _import_file(door: Door, access: Access, path: Path, into: tuple[Imported, Told]) -> None:
    imported, told = into
    waiting: list[Part] = []
    held = 0
    for part in read_parts(path):
        if part.is_bundle:
            await _process(door, access, part, imported)
            told(len(part.text))
            continue
        waiting.append(part)
        held += len(part.text)
        if len(waiting) == AT_ONCE or held > BYTES_AT_ONCE:
            await _store(door, access, waiting, imported)
            told(held)
            waiting, held = [], 0
    await _store(door, access, waiting, imported)
    told(held)


async def _process(door: Door, access: Access, part: Part, imported: Imported) -> None:
    request = FhirRequest("POST", access, body=part.text)
    try:
        answer = await process_bundle(door, (), request)
    except Busy:
        raise
    except Fault as fault:
        imported.refuse(part.place, fault)
        return
    for number, entry in enumerate(decode_json(answer.text).get("entry", ())):
        response = entry["response"]
        if response["status"] >= "4":
            imported.failed += 1
            said = "; ".join(issue["diagnostics"] for issue in response["outcome"]["issue"])
            imported.refused.append(f"{part.place}: Bundle.entry[{number}]: {said}")
        elif "etag" in response and "resource" not in entry:
            imported.written += response["status"] < "204" and "location" in response


async def _store(door: Door, access: Access, parts: Sequence[Part], imported: Imported) -> None:
    drafts = []
    for part in parts:
        try:
            drafts.append(_draft(door, access, part.text))
        except Fault as fault:
            imported.refuse(part.place, fault)
        await asyncio.sleep(0)
    if not drafts:
        return

    async def work(unit: UnitOfWork) -> int:
        unit.gather(len(drafts))
        names = [lock_name(draft.type, draft.id) for draft in drafts]
        await unit.lock(names + [name for draft in drafts for name in draft.identity_locks()])
        await find_ahead(unit, {(draft.type, draft.id) for draft in drafts})
        return sum([await _put(door, access, unit, draft) for draft in drafts])

    written = await door.services.database.transact(work)
    imported.written += written
    imported.unchanged += len(drafts) - written


def _draft(door: Door, access: Access, text: bytes) -> Draft:
    resource = decode_json(text)
    resource_type = str(resource.get("resourceType"))
    require_stored_type(resource_type)
    require_written_type(resource_type)
    draft = read_draft(resource_type, text, resource.get("id"))
    draft = particular(draft, access, door.services)
    draft.indexed(door.surroundings())
    return draft


async def _put(door: Door, access: Access, unit: UnitOfWork, draft: Draft) -> bool:
    """Write the resource, unless it says what is stored; returns whether it was written."""
    current = await lock_and_find(unit, draft.type, draft.id)
    if current is None:
        await insert_first(unit, draft, access.principal, door.surroundings())
        return True
    if not current.deleted and same_content(decode_json(unpack(current.body)), draft.resource):
        return False
    await supersede(unit, current, draft, access.principal, door.surroundings())
    return True
