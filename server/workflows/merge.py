"""Merge and unmerge of two Patients: identity, resources and studies in one transaction (DESIGN §5).

The studies show the identifier and the person of the Patient that stays, and as sent when that ends.

What was projected or published of the studies follows from the outbox: `server/workflows/follow_patient.py`.
"""

from dataclasses import dataclass

from dicomweb.overlay.merged import remember_survivor, show_merges
from dicomweb.patients import announce_patient_changed, move_studies
from fhir.interactions.door import surroundings_of
from fhir.interactions.link import LinkType, add_link, drop_link, read_active, set_active
from fhir.interactions.rewrite import Held, hold_resource, rewrite
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import UnitOfWork
from server.kernel.faults import NotFound
from server.kernel.patient_merge import LOCK, end_merge, merged_into, record_merge, survivor_of
from server.kernel.patients import lock_identifiers
from server.kernel.services import Services
from server.workflows.person import person_of


@dataclass(frozen=True, slots=True)
class Pair:
    """The Patients of a merge, by id: `source` is merged into `target`."""

    source: str
    target: str


async def merge(services: Services, pair: Pair, principal: Principal) -> int:
    """Merge a Patient into another; returns how many studies moved.

    Raises:
        NotFound: one of them is not there.
        MergeRefused: see `record_merge`.
    """

    async def work(unit: UnitOfWork) -> int:
        source, target = await _hold(unit, pair)
        await record_merge(unit, pair.source, pair.target, source_active=read_active(source.elements))
        await lock_identifiers(unit, await merged_into(unit.connection, pair.source) | {pair.source})
        moved = await move_studies(unit, pair.source, pair.target)
        await remember_survivor(unit, pair.target, person_of(target.elements))
        await show_merges(unit, pair.target, services.site)
        await announce_patient_changed(unit, [pair.target])
        replaced = {**add_link(source.elements, LinkType.REPLACED_BY, pair.target), **set_active(False)}
        replacing = add_link(target.elements, LinkType.REPLACES, pair.source)
        around = surroundings_of(services)
        await rewrite(unit, source, replaced, principal, around)
        await rewrite(unit, target, replacing, principal, around)
        unit.audit(_entry(principal, "merge", pair))
        return moved

    return await services.database.transact(work)


async def unmerge(services: Services, pair: Pair, principal: Principal) -> int:
    """Take a merge back; returns how many studies went back to the source.

    Those are the studies with an identifier of the source, also of one merged into it and also those that
    were stored since: the identifier says whose they are.

    Raises:
        NotFound: one of them is not there.
        MergeRefused: the source is not merged into this target.
    """

    async def work(unit: UnitOfWork) -> int:
        source, target = await _hold(unit, pair)
        survivor = await survivor_of(unit.connection, pair.target)
        active = await end_merge(unit, pair.source, pair.target)
        returning = await merged_into(unit.connection, pair.source) | {pair.source}
        await lock_identifiers(unit, returning)
        moved = await move_studies(unit, survivor, pair.source, returning)
        await show_merges(unit, pair.source, services.site)
        if not await merged_into(unit.connection, pair.target):
            await remember_survivor(unit, pair.target, None)
        await announce_patient_changed(unit, [pair.source, survivor])
        restored = {**drop_link(source.elements, LinkType.REPLACED_BY, pair.target), **set_active(active)}
        remaining = drop_link(target.elements, LinkType.REPLACES, pair.source)
        around = surroundings_of(services)
        await rewrite(unit, source, restored, principal, around)
        await rewrite(unit, target, remaining, principal, around)
        unit.audit(_entry(principal, "unmerge", pair))
        return moved

    return await services.database.transact(work)


async def _hold(unit: UnitOfWork, pair: Pair) -> tuple[Held, Held]:
    """Source and target; taken in one order whichever is which."""
    await unit.lock([LOCK])
    held = {each: await hold_resource(unit, "Patient", each) for each in sorted({pair.source, pair.target})}
    source, target = held[pair.source], held[pair.target]
    if source is None or target is None:
        raise NotFound(f"There is no such Patient: the {'target' if source else 'source'} is not known.")
    return source, target


def _entry(principal: Principal, interaction: str, pair: Pair) -> AuditEntry:
    """The act itself; the new versions of both Patients have entries of their own."""
    return AuditEntry(principal, Action.EXECUTE, interaction, "Patient", pair.source, pair.target)
