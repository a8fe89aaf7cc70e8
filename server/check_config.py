"""`isthmus check-config`: which settings are in force, and whether everything they name is usable."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url

from server.audit.forward.receiver import Receiver
from server.auth.federation.provider_link import ProviderFailed, ProviderLink
from server.http.tls import ends_at, load_context
from server.kernel.faults import Fault, FaultKind
from server.kernel.object_stores import open_store
from server.kernel.redis import RedisLink
from server.migrations import HEAD, current_revision
from server.settings import Settings

SECRET_SETTINGS = frozenset(
    {
        "backup_key",
        "federation_client_secret",
        "master_key",
        "previous_master_keys",
        "objects_secret_key",
        "objects_encryption_key",
    }
)


class NotUsable(Fault):
    """Something the settings name cannot be used."""

    kind = FaultKind.INVALID


@dataclass(frozen=True, slots=True)
class Checks:
    """What `check-config` found: lines to print, and whether everything is usable."""

    lines: Sequence[str]
    passed: bool


async def check(settings: Settings) -> Checks:
    """Try everything that the settings name, and say how each came out."""
    lines = [f"{name} = {text}" for name, text in _shown(settings)]
    passed = True
    for name, attempt in _CHECKS.items():
        try:
            lines.append(f"ok    {name}: {await attempt(settings)}")
        except (Fault, OSError, ValueError) as problem:
            lines.append(f"FAIL  {name}: {problem}")
            passed = False
    return Checks(lines, passed)


def _shown(settings: Settings) -> list[tuple[str, str]]:
    """Every setting with its value; secrets and passwords masked."""
    values = {name: getattr(settings, name) for name in type(settings).model_fields}
    if settings.database_url is not None:
        values["database_url"] = make_url(settings.database_url).render_as_string(hide_password=True)
    if settings.redis_url is not None:
        values["redis_url"] = urlsplit(settings.redis_url)._replace(netloc="(secret)").geturl()
    return [
        (name, "(secret)" if name in SECRET_SETTINGS and value else str(value))
        for name, value in values.items()
    ]


async def _check_database(settings: Settings) -> str:
    settings.data.mkdir(parents=True, exist_ok=True)
    try:
        found = await current_revision(settings.database)
    except Exception as error:
        raise NotUsable(f"cannot be opened ({type(error).__name__})") from error
    if found is None:
        return f"empty; `serve` or `db upgrade` brings it to revision {HEAD}"
    return f"at revision {found}" + ("" if found == HEAD else f", newest is {HEAD}")


async def _check_objects(settings: Settings) -> str:
    store = open_store(settings.objects)
    try:
        await store.check()
        (stored,) = await store.pack(_one_body())
        if await store.read(stored) != b"check-config":
            raise NotUsable("does not give back what was written")
        await store.remove(stored.object_name)
    finally:
        await store.close()
    return "writes, reads and removes"


async def _one_body() -> AsyncIterator[bytes]:
    yield b"check-config"


async def _check_redis(settings: Settings) -> str:
    if settings.redis_url is None:
        return "none; limits are counted, and events seen, by each process for itself"
    link = RedisLink(settings.redis_url)
    try:
        if not await link.probe():
            raise NotUsable("does not answer")
    finally:
        await link.close()
    return "answers"


async def _check_tls(settings: Settings) -> str:
    if settings.tls is None:
        return "none; a proxy in front is expected to serve it"
    load_context(settings.tls)
    ends = ends_at(settings.tls.certificate)
    if ends < datetime.now(UTC):
        raise NotUsable(f"the certificate ended at {ends.isoformat()}")
    return f"the certificate ends at {ends.isoformat()}"


async def _check_receiver(settings: Settings) -> str:
    if settings.syslog is None:
        return "none; the audit trail is not forwarded"
    await asyncio.to_thread(Receiver(settings.syslog).send, b"")
    return "takes connections"


async def _check_models(_settings: Settings) -> str:
    from server.workflows.models import shipped_bundles

    return ", ".join(f"{bundle.manifest.name} {bundle.manifest.version}" for bundle in shipped_bundles())


async def _check_engine(settings: Settings) -> str:
    from server.workflows.worker_process import EngineNotInstalled, require_engine

    try:
        require_engine()
    except EngineNotInstalled as missing:
        if settings.worker:
            raise
        return f"{missing} (this server starts none)"
    return _sandbox(settings)


def _sandbox(settings: Settings) -> str:
    from ai_engine.runners.sandbox import probe_sandbox

    support = probe_sandbox()
    if support.available:
        return "installed; models run in a sandbox"
    if settings.allow_unsandboxed:
        return f"installed; NO sandbox ({support.reason}), and allow_unsandboxed lets models run without"
    raise NotUsable(f"{support.reason}; models will be refused unless allow_unsandboxed is set")


async def _check_provider(settings: Settings) -> str:
    if settings.provider is None:
        return "none; users log in here"
    try:
        await ProviderLink(settings.provider).metadata()
    except ProviderFailed as problem:
        raise NotUsable(f"{problem}; administrators log in by their passwords") from problem
    return "answers"


_CHECKS: dict[str, Callable[[Settings], Awaitable[str]]] = {
    "database": _check_database,
    "object store": _check_objects,
    "redis": _check_redis,
    "login provider": _check_provider,
    "TLS": _check_tls,
    "audit receiver": _check_receiver,
    "models": _check_models,
    "engine": _check_engine,
}
