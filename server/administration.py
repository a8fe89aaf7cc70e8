"""What administrators do on the data folder or database directly, while a server runs or not (DESIGN §4)."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from fhir.bundles.importing import import_files
from fhir.interactions.door import Door, Policy
from server.audit.seal import SEALS
from server.audit.verify import describe as describe_verdict
from server.audit.verify import parse_noted, verify_trail
from server.auth.administration.lists import read_page, select_clients, select_users
from server.auth.client_keys import require_jwks_uri
from server.auth.clients import Wanted, add_client
from server.auth.emergency.review import list_accesses
from server.auth.registration.tokens import issue_registration_token
from server.auth.signing import PUBLISHED_US, SigningKeys
from server.auth.tokens import issue_token
from server.auth.users.accounts import NewUser, add_user
from server.auth.users.identities import Identity
from server.kernel.access import Principal, system_access
from server.kernel.clock import SECOND_US
from server.kernel.database import Database
from server.kernel.faults import Fault, FaultKind
from server.kernel.object_stores import open_store
from server.kernel.read_audit import ReadAudit
from server.kernel.services import Services
from server.migrations import HEAD, upgrade
from server.settings import Settings
from server.workflows.job_registry import SUBSCRIPTIONS
from server.workflows.launches.prepare import Wanted as Launch
from server.workflows.launches.prepare import prepare
from server.workflows.packages import Loaded, load_package, publish_shipped
from server.workflows.terminology_import.forms import Form
from server.workflows.terminology_import.importing import import_path
from server.workflows.terminology_import.importing import told as told_of
from server.workflows.terminology_import.releases import list_releases, remove
from terminology.releases.writer import Progress

T = TypeVar("T")
ADMINISTRATOR = Principal("system:administrator", "administrator")


class NotUsable(Fault):
    """Something the settings name cannot be used."""

    kind = FaultKind.INVALID


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The database of these settings, with the newest schema."""
    await upgrade_database(settings)
    database = Database(settings.database)
    try:
        yield database
    finally:
        await database.close()


async def upgrade_database(settings: Settings) -> str:
    """Bring the schema to the newest revision; returns a sentence that says so."""
    settings.data.mkdir(parents=True, exist_ok=True)
    await upgrade(settings.database)
    return f"The database is at revision {HEAD}."


async def issue(settings: Settings, scope: str, patient: str | None, ttl_s: int) -> str:
    """A new access token."""
    async with open_database(settings) as database:
        return await issue_token(database, scope=scope, patient=patient, ttl_s=ttl_s)


async def register_client(settings: Settings, wanted: Wanted) -> list[str]:
    """Register a client; returns lines with its identifier and its secret, if it has one."""
    if wanted.jwks_uri is not None:
        require_jwks_uri(wanted.jwks_uri, settings.jwks_outbound)
    async with open_database(settings) as database:
        new = await add_client(database, wanted)
    lines = [f"client_id {new.client_id}"]
    return [*lines, f"client_secret {new.client_secret}"] if new.client_secret else lines


async def new_registration_token(settings: Settings, ttl_s: int) -> str:
    """A token that opens one registration."""
    async with open_database(settings) as database:
        return await issue_registration_token(database, ttl_s, ADMINISTRATOR)


async def administer(settings: Settings, act: Callable[[Database, Principal], Awaitable[T]]) -> T:
    """Do something on the database, as the administrator that the data folder makes its holder."""
    async with open_database(settings) as database:
        return await act(database, ADMINISTRATOR)


async def rotate_key(settings: Settings) -> str:
    """Make the key that signs id_tokens next; returns a sentence that says so."""
    async with open_database(settings) as database:
        kid = await SigningKeys(database, settings.keyring("signing keys")).rotate(ADMINISTRATOR)
    return f"{kid} signs in {PUBLISHED_US // SECOND_US // 3600} hours."


async def list_emergencies(settings: Settings, reviewed: bool | None) -> list[str]:
    """One line an emergency access; `reviewed` None: with and without verdict."""
    lines: list[str] = []
    after = 0
    async with open_database(settings) as database:
        while after is not None:
            page = await list_accesses(database, settings.base, reviewed=reviewed, after=after)
            lines += map(_emergency_line, page["emergency-accesses"])
            after = page["after"]
    return lines


def _emergency_line(row: dict[str, Any]) -> str:
    verdict = f" ({row['verdict']} by {row['reviewer']})" if row["verdict"] else ""
    return f"{row['id']} {row['begun']} {row['user']} Patient/{row['patient_id']}{verdict}: {row['reason']}"


async def list_accounts(settings: Settings, of_clients: bool) -> list[str]:
    """One line a user or a client, those out of use too."""
    select_page, told = (select_clients, _client_line) if of_clients else (select_users, _user_line)
    lines, after = [], 0
    async with open_database(settings) as database:
        while after is not None:
            page = await read_page(database, "rows", select_page(after))
            lines += [told(row) + (" (disabled)" if row["disabled"] else "") for row in page["rows"]]
            after = page["after"]
    return lines


def _user_line(row: dict[str, Any]) -> str:
    return f"{row['name']} {row['role']} {row['display']}"


def _client_line(row: dict[str, Any]) -> str:
    return f"{row['client_id']} {row['token_endpoint_auth_method']} {row['name']}"


async def register_user(settings: Settings, new: NewUser) -> str:
    """Make the account of a user; returns a sentence that says so."""
    async with open_database(settings) as database:
        user = await add_user(database, new, ADMINISTRATOR)
    return f"{user.name} may log in as {user.role.value}."


def identity_at(settings: Settings, subject: str) -> Identity:
    """Somebody at the provider of the settings.

    Raises:
        NotUsable: they name none.
    """
    if settings.provider is None:
        raise NotUsable("federation_issuer is not set: there is no external provider.")
    return Identity(settings.provider.issuer, subject)


async def prepare_launch(settings: Settings, wanted: Launch) -> str:
    """Prepare an EHR launch; returns the parameters that the app's launch URL gets."""
    async with open_database(settings) as database:
        handle = await prepare(database, wanted, ADMINISTRATOR)
    return urlencode({"iss": f"{settings.base}/fhir", "launch": handle})


async def verify_audit(settings: Settings, seal: str | None) -> tuple[list[str], bool]:
    """Check the audit trail against its seals; lines that say what came of it, and whether all is well.

    Raises:
        NotUsable: `seal` is no seal as one is logged.
    """
    noted = None if seal is None else parse_noted(seal)
    if seal is not None and noted is None:
        raise NotUsable("A seal that was noted is its number, a colon, and 64 hexadecimal digits.")
    async with open_database(settings) as database:
        verdict = await verify_trail(database, settings.keyring(SEALS), noted)
    return describe_verdict(verdict), verdict.finding is None


async def load_definitions(
    settings: Settings, package: Path, told: Callable[[int], None]
) -> tuple[list[str], bool]:
    """Store the definitions of a FHIR package; returns lines that say what came of it, and if all are valid.

    Raises:
        InvalidPackage: the file is none.
    """
    async with open_database(settings) as database:
        return _told_of(await load_package(database, package, told))


async def publish_terminology(settings: Settings, told: Callable[[int], None]) -> tuple[list[str], bool]:
    """Store the terminology that ships; returns lines that say what came of it, and if all are valid."""
    async with open_database(settings) as database:
        return _told_of(await publish_shipped(database, told))


def _told_of(loaded: Loaded) -> tuple[list[str], bool]:
    refused = [f"not valid, left out: {line}" for line in loaded.refused]
    return [*refused, f"{loaded.written} definitions written, {loaded.unchanged} unchanged."], not refused


async def import_terminology(
    settings: Settings, paths: Sequence[Path], form: Form | None, told: Progress
) -> tuple[list[str], bool]:
    """Import code systems and definitions; returns lines that say what came of it, and if all were valid."""
    async with open_database(settings) as database:
        done = [await import_path(database, path, form, told) for path in paths]
    return list(told_of(done)), not any(each.definitions.refused for each in done)


async def list_terminology(settings: Settings) -> list[str]:
    """One line a release of a large code system."""
    async with open_database(settings) as database:
        return await list_releases(database)


async def remove_terminology(settings: Settings, name: str) -> str:
    """Remove a release of a large code system; returns a line that says so."""
    async with open_database(settings) as database:
        return await remove(database, name)


async def import_resources(
    settings: Settings, files: Sequence[Path], told: Callable[[int], None]
) -> tuple[list[str], bool]:
    """Write the resources of files; returns lines that say what came of them, and if all were valid."""
    await upgrade_database(settings)
    database = Database(settings.database, settings.database_limits, SUBSCRIPTIONS)
    services = Services(
        database,
        open_store(settings.objects),
        ReadAudit(database),
        settings.base,
        site=settings.site,
        storage=settings.storage,
        subscriptions=settings.subscriptions,
    )
    try:
        door = Door(services, b"", Policy(create_on_update=True))
        imported = await import_files(door, system_access("import"), files, told)
    finally:
        await services.objects.close()
        await database.close()
    said = f"{imported.written} written, {imported.unchanged} unchanged, {imported.failed} refused."
    return [*imported.refused, said], not imported.failed
