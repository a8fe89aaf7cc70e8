"""The shipped bundles and the rules that route studies to them, in the database."""

from functools import cache

import structlog
from sqlalchemy import ColumnElement, RowMapping, insert, select, update

from ai_engine.bundle import Bundle, load_bundle
from ai_engine.bundle import shipped_bundles as shipped_bundle_folders
from server.kernel.audit import Action
from server.kernel.database import Database, UnitOfWork
from server.workflows.manifest_codes import unknown_codes
from server.workflows.registry.bundle_files import are_kept, encode_files, files_of_bundle, keep_files
from server.workflows.registry.decide import default_rule, follow_wants
from server.workflows.registry.device import device_id_of, write_device
from server.workflows.registry.stages import Stage
from server.workflows.registry.versions import (
    INSTALLER,
    RULE,
    VERSION,
    Act,
    NewVersion,
    add_model,
    add_version,
    at_stage,
    hold_model,
    is_version,
    manifest_of,
    set_model,
    set_stage,
)
from server.workflows.terminology import terms_of

log = structlog.get_logger(__name__)

AS_CANDIDATES = frozenset(
    {"lung-nodule-ct"}
)  # learned from phantoms: whether studies go to it, an operator decides


@cache
def shipped_bundles() -> tuple[Bundle, ...]:
    """The bundles that come with the package, checked."""
    return tuple(load_bundle(folder) for folder in shipped_bundle_folders())


async def keep_shipped(database: Database) -> None:
    """Keep the files of the shipped bundles: the next package has others in their place.

    Then a version can still be gone back to, and what waits for it still be run.
    """
    for bundle in shipped_bundles():
        files = files_of_bundle(bundle)
        async with database.read() as connection:
            kept = await are_kept(connection, files)
        if not kept:
            await keep_files(database, bundle.path, files)


async def register_shipped(database: Database) -> None:
    """Make the shipped bundles known, each with the rule that routes studies to it; once for each version.

    Codes that a new version speaks in and that do not exist are told in the log: a release of a code system
    that a site has imported must not keep the server from starting.
    """
    for bundle in shipped_bundles():
        if not await _is_registered(database, bundle):
            for code in await unknown_codes(bundle.manifest, terms_of(database)):
                named = {"model": bundle.manifest.name, "version": bundle.manifest.version}
                log.warning("model speaks in an unknown code", **named, code=code.value, scheme=code.scheme)
        await database.transact(lambda unit, bundle=bundle: _register(unit, bundle))  # type: ignore[misc]


async def _is_registered(database: Database, bundle: Bundle) -> bool:
    async with database.read() as connection:
        return (await connection.execute(select(VERSION.c.name).where(_is(bundle)))).first() is not None


def _is(bundle: Bundle) -> ColumnElement[bool]:
    return is_version(bundle.manifest.name, bundle.manifest.version)


async def _register(unit: UnitOfWork, bundle: Bundle) -> None:
    manifest = bundle.manifest
    await unit.lock([f"model:{manifest.name}"])
    await add_model(unit, manifest.name)
    known = (await unit.execute(select(VERSION).where(_is(bundle)))).mappings().one_or_none()
    if known is None:
        await _add(unit, bundle)
    elif known["digest"] != bundle.digest:
        log.error("shipped model differs from its registration", model=manifest.name)
    else:
        await _complete(unit, bundle, known)
    ruled = select(RULE.c.name).where(RULE.c.model_name == manifest.name)
    if manifest.name not in AS_CANDIDATES and (await unit.execute(ruled)).first() is None:
        await unit.execute(insert(RULE), [default_rule(manifest)])


async def _add(unit: UnitOfWork, bundle: Bundle) -> None:
    """Register a version: into production, unless an operator governs the model, or shall: as a candidate.

    An upgrade of the package must not change what a hospital has decided on.
    """
    manifest = bundle.manifest
    model = await hold_model(unit, manifest.name)
    act = Act("register", INSTALLER, action=Action.CREATE)
    new = NewVersion(bundle, files_of_bundle(bundle), shipped=True)
    if model["governed_us"] is not None or manifest.name in AS_CANDIDATES:
        await add_version(unit, new, Stage.CANDIDATE, act)
        return
    production = await at_stage(unit.connection, manifest.name, Stage.PRODUCTION)
    if production is not None:
        await set_stage(unit, production, Stage.RETIRED, Act("succeeded", INSTALLER))
        await follow_wants(unit, manifest_of(production), manifest)
        await set_model(unit, model, previous_version=production["version"], governed_us=None)
    await add_version(unit, new, Stage.PRODUCTION, act)


async def _complete(unit: UnitOfWork, bundle: Bundle, known: RowMapping) -> None:
    """What a version lacks that an earlier release registered; and where the package lies now."""
    columns: dict[str, str] = {}
    if known["path"] != str(bundle.path):  # the package was installed elsewhere
        columns["path"] = str(bundle.path)
    if known["device_id"] is None:
        identity = bundle.manifest.identity
        columns |= {"device_id": device_id_of(identity), "files": encode_files(files_of_bundle(bundle))}
        await write_device(unit, identity, Stage(known["stage"]), INSTALLER)
    if columns:
        await unit.execute(update(VERSION).where(_is(bundle)).values(**columns))
