"""Versions that an operator adds: a folder on the operator's machine becomes rows of the installation."""

from pathlib import Path

import structlog
from sqlalchemy import select

from ai_engine.bundle import Bundle, load_bundle
from ai_engine.findings import Code
from server.kernel.access import Principal
from server.kernel.audit import Action
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.workflows.manifest_codes import unknown_codes
from server.workflows.registry.bundle_files import Told, files_of_bundle, keep_files, require_size
from server.workflows.registry.stages import Stage
from server.workflows.registry.versions import (
    VERSION,
    Act,
    NewVersion,
    add_model,
    add_version,
    hold_model,
    is_version,
    set_model,
)
from server.workflows.terminology import terms_of

log = structlog.get_logger(__name__)


class VersionTaken(Fault):
    """Another bundle has this name and version; versions never change."""

    kind = FaultKind.CONFLICT


async def add_bundle(
    database: Database, folder: Path, principal: Principal, told: Told = lambda _: None
) -> tuple[Bundle, list[Code]]:
    """Register the bundle in a folder as a candidate; returns it with the codes of it that do not exist.

    Of a bundle that is registered already only the files are made good. `told` hears of each file's bytes.

    Raises:
        BundleInvalid: the folder is no bundle, or changes meanwhile.
        BundleTooLarge: it is more than the registry takes.
        VersionTaken: its name and version are those of another bundle.
    """
    bundle = load_bundle(folder)
    files = files_of_bundle(bundle)
    require_size(files)
    codes = list(await unknown_codes(bundle.manifest, terms_of(database)))
    await database.transact(lambda unit: _is_known(unit, bundle))
    await keep_files(database, bundle.path, files, told)

    async def work(unit: UnitOfWork) -> None:
        await unit.lock([f"model:{bundle.manifest.name}"])
        if await _is_known(unit, bundle):
            return
        await add_model(unit, bundle.manifest.name)
        await set_model(unit, await hold_model(unit, bundle.manifest.name))
        act = Act("add", principal, action=Action.CREATE)
        await add_version(unit, NewVersion(bundle, files, shipped=False), Stage.CANDIDATE, act)

    await database.transact(work)
    return bundle, codes


async def _is_known(unit: UnitOfWork, bundle: Bundle) -> bool:
    query = select(VERSION.c.digest).where(is_version(bundle.manifest.name, bundle.manifest.version))
    digest = (await unit.execute(query)).scalar_one_or_none()
    if digest is not None and digest != bundle.digest:
        raise VersionTaken(
            f"{bundle.manifest.name} {bundle.manifest.version} is registered with other files:"
            f" sha256:{digest[:12]}. Give the bundle another version."
        )
    return digest is not None
