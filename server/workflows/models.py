"""The shipped bundles and the rules that route studies to them, in the database."""

from collections.abc import Mapping
from functools import cache

import msgspec
import structlog
from sqlalchemy import ColumnElement, insert, select, update

from ai_engine.bundle import Bundle, load_bundle
from ai_engine.bundle import shipped_bundles as shipped_bundle_folders
from ai_engine.tables import ModelVersion, RoutingRule
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from server.workflows.manifest_codes import unknown_codes
from server.workflows.terminology import terms_of

_MODEL, _RULE = table_of(ModelVersion), table_of(RoutingRule)
LIVE, RETIRED = "live", "retired"  # ModelVersion.stage
INSTALLER = Principal("system:installer", "installer")

log = structlog.get_logger(__name__)


@cache
def shipped_bundles() -> tuple[Bundle, ...]:
    """The bundles that come with the package, checked."""
    return tuple(load_bundle(folder) for folder in shipped_bundle_folders())


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
        return (await connection.execute(select(_MODEL.c.name).where(_is(bundle)))).first() is not None


def _is(bundle: Bundle) -> ColumnElement[bool]:
    return (_MODEL.c.name == bundle.manifest.name) & (_MODEL.c.version == bundle.manifest.version)


async def _register(unit: UnitOfWork, bundle: Bundle) -> None:
    manifest = bundle.manifest
    await unit.lock([f"model:{manifest.name}"])
    known = (await unit.execute(select(_MODEL.c.digest, _MODEL.c.path).where(_is(bundle)))).one_or_none()
    if known is None:
        await _add_live_version(unit, bundle)
    elif known.digest != bundle.digest:
        log.error("shipped model differs from its registration", model=manifest.name)
    elif known.path != str(bundle.path):  # the package was installed elsewhere
        await unit.execute(update(_MODEL).where(_is(bundle)).values(path=str(bundle.path)))
    ruled = select(_RULE.c.name).where(_RULE.c.model_name == manifest.name)
    if (await unit.execute(ruled)).first() is None:
        await unit.execute(insert(_RULE), [_default_rule(bundle)])


async def _add_live_version(unit: UnitOfWork, bundle: Bundle) -> None:
    """Register a version as the live one; the one before it retires."""
    manifest = bundle.manifest
    earlier = (_MODEL.c.name == manifest.name) & (_MODEL.c.stage == LIVE)
    await unit.execute(update(_MODEL).where(earlier).values(stage=RETIRED))
    row = {
        "name": manifest.name,
        "version": manifest.version,
        "digest": bundle.digest,
        "path": str(bundle.path),
        "manifest": msgspec.json.encode(manifest).decode(),
        "stage": LIVE,
        "registered_us": unit.now_us,
    }
    await unit.execute(insert(_MODEL), [row])
    unit.audit(AuditEntry(INSTALLER, Action.CREATE, "model-register", "Device", manifest.name))


def _default_rule(bundle: Bundle) -> Mapping[str, object]:
    manifest = bundle.manifest
    return {
        "name": manifest.name,
        "model_name": manifest.name,
        "selection": msgspec.json.encode(manifest.wants).decode(),
        "quiet_time_s": manifest.wants.quiet_time_s,
        "enabled": True,
        "priority": "MEDIUM",
    }
