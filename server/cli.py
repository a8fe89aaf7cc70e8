"""The command line `isthmus` (DESIGN §4). Each command parses, calls one function, and prints.

Rule: nothing heavy is imported before its command runs, so that `isthmus --help` is quick and the server
process stays small.
"""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console
from typer.core import TyperGroup

from server.kernel.faults import Fault
from server.kernel.metrics_folder import share_metrics
from server.settings import Settings

if TYPE_CHECKING:
    from server.backup.commands import Outcome


class DirectoryGroup(TyperGroup):
    """`isthmus backup DIR` means `isthmus backup to DIR`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the word in where there is none."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["to", *args]
        return super().parse_args(ctx, args)


cli = typer.Typer(
    name="isthmus",
    help="One standards-based server for DICOMweb and FHIR, with clinical AI between them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
db = typer.Typer(help="The database.", no_args_is_help=True)
client = typer.Typer(help="OAuth clients.", no_args_is_help=True)
user = typer.Typer(help="Users who log in.", no_args_is_help=True)
keys = typer.Typer(help="Keys that sign id_tokens.", no_args_is_help=True)
models = typer.Typer(help="Models.", no_args_is_help=True)
viewer = typer.Typer(help="The web viewer OHIF.", no_args_is_help=True)
backup = typer.Typer(
    cls=DirectoryGroup, help="Back up to a folder: `isthmus backup DIR`.", no_args_is_help=True
)
audit = typer.Typer(help="The audit trail.", no_args_is_help=True)
terminology = typer.Typer(help="Code systems, value sets and concept maps.", no_args_is_help=True)
definitions = typer.Typer(help="FHIR resources and definitions.", no_args_is_help=True)
cli.add_typer(backup, name="backup")
cli.add_typer(audit, name="audit")
cli.add_typer(definitions, name="fhir")
cli.add_typer(db, name="db")
cli.add_typer(client, name="client")
cli.add_typer(user, name="user")
cli.add_typer(keys, name="keys")
cli.add_typer(models, name="models")
cli.add_typer(viewer, name="viewer")
cli.add_typer(terminology, name="terminology")

errors = Console(stderr=True)
YOUNG_OBJECTS = 50_000  # before garbage is looked for; at Python's 700, a tenth of the start goes into that
PRIVATE = 0o077  # umask: what the commands write is patients' data and keys

Data = Annotated[Path | None, typer.Option("--data", help="Folder of the database, objects and keys.")]
Url = Annotated[str, typer.Option("--url", help="The server.")]
Token = Annotated[str | None, typer.Option("--token", envvar="ISTHMUS_TOKEN", help="An access token.")]


Backups = Annotated[Path, typer.Argument(help="The folder of the backups.")]
BackupId = Annotated[str | None, typer.Option("--backup", help="Which backup; see `backup list`.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", help="A file with the passphrase of the backups' encryption.")
]


def main() -> None:
    """Run the command line; a fault is one line and exit code 1, not a traceback."""
    os.umask(PRIVATE)
    gc.set_threshold(YOUNG_OBJECTS)
    try:
        cli()
    except Fault as fault:
        errors.print(f"isthmus: {fault}", markup=False, highlight=False)
        sys.exit(1)


def load_settings(**given: Any) -> Settings:
    """The settings, with the options that were given; a wrong one ends the program with its name."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as invalid:
        for problem in invalid.errors(include_input=False, include_url=False):
            name = ".".join(map(str, problem["loc"])) or "settings"
            errors.print(f"isthmus: {name}: {problem['msg']}", markup=False, highlight=False)
        raise typer.Exit(2) from None
    except (SettingsError, OSError) as unreadable:
        errors.print(f"isthmus: settings cannot be read: {unreadable}", markup=False, highlight=False)
        raise typer.Exit(2) from None


def read_key(path: Path | None) -> str | None:
    """The passphrase in a file; None: no file is named."""
    return None if path is None else path.read_text().strip()


def read_password() -> str:
    """A new password, from ISTHMUS_PASSWORD or as it is typed twice."""
    typed: str = os.environ.get("ISTHMUS_PASSWORD") or typer.prompt(
        "Password", hide_input=True, confirmation_prompt=True
    )
    return typed


def read_keys(path: Path) -> str:
    """The text of a file with keys; one that cannot be read ends the program with its name."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as problem:
        raise typer.BadParameter(f"{path} cannot be read.", param_hint="--jwks") from problem


def finish(outcome: "Outcome") -> None:
    """Print what came of a command, and end with its exit code."""
    for line in outcome.lines:
        typer.echo(line)
    raise typer.Exit(0 if outcome.passed else 1)


@cli.command()
def serve(  # noqa: PLR0913, PLR0917  one parameter an option
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    data: Data = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Require no token (loopback only).")] = False,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Start no worker process.")] = False,
    open_registration: Annotated[
        bool, typer.Option("--open-registration", help="Apps register without a token (loopback only).")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(help="Server processes; more than one needs PostgreSQL.")
    ] = None,
) -> None:
    """Start the server."""
    share_metrics()
    from server.serve import run

    settings = load_settings(
        host=host,
        port=port,
        data=data,
        auth=False if no_auth else None,
        worker=False if no_worker else None,
        open_registration=True if open_registration else None,
        server_workers=workers,
    )
    run(settings)


@cli.command()
def worker(data: Data = None) -> None:
    """Start a worker: it claims workitems, runs models and publishes their findings."""
    from server.app import run_worker

    run_worker(load_settings(data=data))


@cli.command()
def demo(
    study: Annotated[
        Path | None, typer.Option(help="Folder of a real CT series instead of the phantom.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running.")] = False,
    data: Annotated[Path | None, typer.Option(help="Data folder; default: a temporary one.")] = None,
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any free one.")] = 0,
) -> None:
    """Show the main job: a study goes in, findings come out."""
    from server.client.demo import DemoOptions, run_demo

    viewer_folder = load_settings(data=data).viewer_folder
    raise typer.Exit(
        run_demo(DemoOptions(study=study, keep=keep, data=data, port=port, viewer=viewer_folder.absolute()))
    )


@cli.command()
def store(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders with DICOM instances.")],
    url: Url = "http://127.0.0.1:8080",
    token: Token = None,
) -> None:
    """Send DICOM files by STOW-RS, with progress; run it again to go on where it stopped."""
    from server.client.store_command import run_store

    raise typer.Exit(run_store(paths, url, token))


@cli.command()
def token(
    scope: Annotated[str, typer.Option(help="SMART scopes, separated by spaces.")],
    patient: Annotated[str | None, typer.Option(help="Confine the token to this Patient id.")] = None,
    ttl: Annotated[int, typer.Option(help="Seconds until it expires.")] = 3600,
    data: Data = None,
) -> None:
    """Issue an access token; it is the last word on standard output."""
    from server.administration import issue

    typer.echo(asyncio.run(issue(load_settings(data=data), scope, patient, ttl)))


@cli.command("registration-token")
def registration_token(
    ttl: Annotated[int, typer.Option(help="Seconds until it expires.")] = 3600,
    data: Data = None,
) -> None:
    """Make a token with which one app may register itself (RFC 7591)."""
    from server.administration import new_registration_token

    typer.echo(asyncio.run(new_registration_token(load_settings(data=data), ttl)))


@client.command("add")
def client_add(  # noqa: PLR0913, PLR0917  one parameter an option
    name: Annotated[str, typer.Option(help="A name for people.")],
    scope: Annotated[str, typer.Option(help="The scopes it may ask for.")],
    redirect_uri: Annotated[
        list[str] | None,
        typer.Option(help="Where users of the app come back to; may be given more than once."),
    ] = None,
    jwks: Annotated[
        str | None,
        typer.Option(help="A file with its public keys, or the https URL where they are (private_key_jwt)."),
    ] = None,
    confidential: Annotated[
        bool, typer.Option("--confidential", help="An app that can keep a secret, which is shown once.")
    ] = False,
    data: Data = None,
) -> None:
    """Register an app that users log in to, or without --redirect-uri a Backend Services client."""
    from server.administration import register_client
    from server.auth.clients import Wanted

    is_url = jwks is not None and "://" in jwks
    keys = None if jwks is None or is_url else read_keys(Path(jwks))
    uri = jwks if is_url else None
    wanted = Wanted(name, scope, keys, tuple(redirect_uri or ()), confidential, jwks_uri=uri)
    for line in asyncio.run(register_client(load_settings(data=data), wanted)):
        typer.echo(line)


@user.command("add")
def user_add(  # noqa: PLR0913, PLR0917  one parameter an option
    name: Annotated[str, typer.Argument(help="What they type to log in.")],
    role: Annotated[str, typer.Option(help="clinician, patient, admin or auditor.")] = "clinician",
    patient: Annotated[str | None, typer.Option(help="Of a patient: the id of their Patient.")] = None,
    display: Annotated[str | None, typer.Option(help="Their name for people.")] = None,
    fhir_user: Annotated[str | None, typer.Option(help="Their resource, such as Practitioner/1.")] = None,
    data: Data = None,
) -> None:
    """Make an account; the password is asked for, or comes in ISTHMUS_PASSWORD."""
    from server.administration import register_user
    from server.auth.users.accounts import NewUser
    from server.auth.users.roles import Role

    if role not in {each.value for each in Role}:
        raise typer.BadParameter(f"{role} is no role.", param_hint="--role")
    password = read_password()
    new = NewUser(name, Role(role), display, password, fhir_user, patient)
    typer.echo(asyncio.run(register_user(load_settings(data=data), new)))


@user.command("list")
def user_list(data: Data = None) -> None:
    """List the accounts of users."""
    from server.administration import list_accounts

    for line in asyncio.run(list_accounts(load_settings(data=data), of_clients=False)):
        typer.echo(line)


@user.command("disable")
def user_disable(
    name: Annotated[str, typer.Argument(help="Who may not log in any more.")], data: Data = None
) -> None:
    """Take an account out of use, with all that was allowed in its name."""
    from server.administration import administer
    from server.auth.users.accounts import disable_user

    asyncio.run(administer(load_settings(data=data), lambda database, by: disable_user(database, name, by)))


@user.command("password")
def user_password(
    name: Annotated[str, typer.Argument(help="Whose password it is.")], data: Data = None
) -> None:
    """Set a password, asked for or in ISTHMUS_PASSWORD; ends the user's sessions and grants."""
    from server.administration import administer
    from server.auth.users.accounts import set_password

    new = read_password()
    asyncio.run(
        administer(load_settings(data=data), lambda database, by: set_password(database, name, new, by))
    )


@client.command("list")
def client_list(data: Data = None) -> None:
    """List the registered clients."""
    from server.administration import list_accounts

    for line in asyncio.run(list_accounts(load_settings(data=data), of_clients=True)):
        typer.echo(line)


@client.command("disable")
def client_disable(
    client_id: Annotated[str, typer.Argument(help="Its client_id.")], data: Data = None
) -> None:
    """Take a client out of use, with every token of it."""
    from server.administration import administer
    from server.auth.clients import disable_client
    from server.kernel.faults import NotFound

    settings = load_settings(data=data)
    if not asyncio.run(administer(settings, lambda database, by: disable_client(database, client_id, by))):
        raise NotFound("There is no such client in use.")


@keys.command("rotate")
def keys_rotate(data: Data = None) -> None:
    """Make the key that signs id_tokens next, and retire those before it."""
    from server.administration import rotate_key

    typer.echo(asyncio.run(rotate_key(load_settings(data=data))))


@cli.command()
def launch(  # noqa: PLR0913, PLR0917  one parameter an option
    client_id: Annotated[str, typer.Option("--client", help="The app's client_id.")],
    user_name: Annotated[str, typer.Option("--user", help="Who launches it.")],
    patient: Annotated[str | None, typer.Option(help="The id of the Patient in context.")] = None,
    study: Annotated[str | None, typer.Option(help="The Study Instance UID in context.")] = None,
    url: Annotated[str, typer.Option(help="The app's launch URL.")] = "",
    data: Data = None,
) -> None:
    """Prepare an EHR launch; prints the launch URL, good for five minutes and one use."""
    from server.administration import prepare_launch
    from server.workflows.launches.prepare import Wanted

    wanted = Wanted(client_id, user_name, patient, study)
    query = asyncio.run(prepare_launch(load_settings(data=data), wanted))
    typer.echo(f"{url}{'&' if '?' in url else '?'}{query}")


@models.command("list")
def models_list(data: Data = None) -> None:
    """List the registered models."""
    from server.administration import list_models

    for line in asyncio.run(list_models(load_settings(data=data))):
        typer.echo(line)


@definitions.command("load-package")
def fhir_load_package(
    file: Annotated[Path, typer.Argument(help="An npm package of FHIR R4 definitions (.tgz).", exists=True)],
    data: Data = None,
) -> None:
    """Store the profiles, value sets and other definitions of an implementation guide, to validate with."""
    from server.administration import load_definitions

    settings = load_settings(data=data)
    _store_definitions(lambda told: load_definitions(settings, file, told))


def _store_definitions(
    store: Callable[[Callable[[int], None]], Coroutine[Any, Any, tuple[list[str], bool]]],
) -> None:
    """Show how many definitions are stored, then what came of them."""
    from rich.progress import Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} definitions"))
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("", total=None)
        lines, passed = asyncio.run(store(lambda count: progress.advance(task, count)))
    for line in lines:
        typer.echo(line)
    raise typer.Exit(0 if passed else 1)


@definitions.command("import")
def fhir_import(
    files: Annotated[
        list[Path],
        typer.Argument(help="NDJSON files, Bundles, or single resources.", exists=True, dir_okay=False),
    ],
    data: Data = None,
) -> None:
    """Write the resources of files, ids kept; run it again to go on where it stopped."""
    from rich.progress import BarColumn, DownloadColumn, Progress

    from server.administration import import_resources

    settings = load_settings(data=data)
    with Progress(BarColumn(), DownloadColumn(), console=errors, transient=True) as progress:
        task = progress.add_task("", total=sum(file.stat().st_size for file in files))
        told = lambda count: progress.advance(task, count)  # noqa: E731
        lines, passed = asyncio.run(import_resources(settings, files, told))
    for line in lines:
        typer.echo(line)
    raise typer.Exit(0 if passed else 1)


@terminology.command("import")
def terminology_import(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="SNOMED CT (RF2) or LOINC, a folder or .zip; a FHIR package (.tgz); JSON or NDJSON.",
            exists=True,
        ),
    ],
    form: Annotated[
        str | None, typer.Option("--as", help="What they are: snomed, loinc, package, resources.")
    ] = None,
    data: Data = None,
) -> None:
    """Import code systems, value sets and concept maps; a version that is there is replaced at once."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from server.administration import import_terminology
    from server.workflows.terminology_import.forms import Form

    if form is not None and form not in set(Form):
        raise typer.BadParameter(f"one of {', '.join(Form)}", param_hint="--as")
    settings = load_settings(data=data)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        chosen = None if form is None else Form(form)
        lines, passed = asyncio.run(import_terminology(settings, paths, chosen, told))
    for line in lines:
        typer.echo(line)
    raise typer.Exit(0 if passed else 1)


@terminology.command("publish")
def terminology_publish(data: Data = None) -> None:
    """Store the terminology that ships as resources, to be read and searched; operations need it not."""
    from server.administration import publish_terminology

    settings = load_settings(data=data)
    _store_definitions(lambda told: publish_terminology(settings, told))


@terminology.command("list")
def terminology_list(data: Data = None) -> None:
    """List the large code systems that were imported, with their versions."""
    from server.administration import list_terminology

    for line in asyncio.run(list_terminology(load_settings(data=data))):
        typer.echo(line)


@terminology.command("remove")
def terminology_remove(
    name: Annotated[str, typer.Argument(help="URL|VERSION, as `terminology list` shows it.")],
    data: Data = None,
) -> None:
    """Remove one version of a large code system."""
    from server.administration import remove_terminology

    typer.echo(asyncio.run(remove_terminology(load_settings(data=data), name)))


@viewer.command("install")
def viewer_install(
    source: Annotated[
        str | None, typer.Option("--from", help="The package's tarball: a file or a URL, not the registry's.")
    ] = None,
    registry: Annotated[str | None, typer.Option(help="npm registry to get it from.")] = None,
    data: Data = None,
) -> None:
    """Install the viewer (48 MB); it is served at /ui/viewer, by a server that runs already too."""
    from server.viewer.commands import run_install

    settings = load_settings(data=data, viewer_registry=registry)
    for line in run_install(settings.viewer_folder, source, settings.viewer_registry):
        typer.echo(line)


@viewer.command("status")
def viewer_status(data: Data = None) -> None:
    """Say which viewer is installed; exit code 1 when there is none, or not all of it."""
    from server.viewer.commands import describe

    status = describe(load_settings(data=data).viewer_folder)
    typer.echo(status.text)
    raise typer.Exit(0 if status.is_usable else 1)


@viewer.command("uninstall")
def viewer_uninstall(data: Data = None) -> None:
    """Remove the viewer."""
    from server.viewer.commands import run_uninstall

    typer.echo(run_uninstall(load_settings(data=data).viewer_folder))


@db.command("upgrade")
def db_upgrade(data: Data = None) -> None:
    """Bring the database to the newest schema."""
    from server.administration import upgrade_database

    typer.echo(asyncio.run(upgrade_database(load_settings(data=data))))


@audit.command("verify")
def audit_verify(
    seal: Annotated[
        str | None, typer.Option(help="A seal that was noted, NUMBER:MAC, which must be in the chain.")
    ] = None,
    data: Data = None,
) -> None:
    """Check the trail against its seals; names the first entry that was changed, removed or added."""
    from server.administration import verify_audit

    lines, passed = asyncio.run(verify_audit(load_settings(data=data), seal))
    for line in lines:
        typer.echo(line)
    raise typer.Exit(0 if passed else 1)


@backup.command("to")
def backup_to(
    directory: Backups,
    key_file: KeyFile = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="Leave the backup unencrypted though the object store is not.")
    ] = False,
    data: Data = None,
) -> None:
    """Back up, also while the server runs; only what is new is written."""
    from server.backup.commands import back_up

    settings = load_settings(data=data, backup_key=read_key(key_file))
    finish(asyncio.run(back_up(settings, directory, plain=plain)))


@backup.command("list")
def backup_list(directory: Backups, key_file: KeyFile = None) -> None:
    """List the backups in a folder, oldest first."""
    from server.backup.commands import list_backups

    finish(list_backups(load_settings(backup_key=read_key(key_file)), directory))


@backup.command("verify")
def backup_verify(directory: Backups, backup: BackupId = None, key_file: KeyFile = None) -> None:
    """Check every digest without restoring."""
    from server.backup.commands import verify

    finish(verify(load_settings(backup_key=read_key(key_file)), directory, backup=backup))


@backup.command("prune")
def backup_prune(
    directory: Backups,
    keep: Annotated[int, typer.Option(min=1, help="So many of the newest stay.")],
    key_file: KeyFile = None,
) -> None:
    """Remove old backups and what only they needed."""
    from server.backup.commands import prune

    finish(prune(load_settings(backup_key=read_key(key_file)), directory, keep=keep))


@cli.command()
def restore(  # noqa: PLR0913, PLR0917  an option each
    directory: Backups,
    backup: BackupId = None,
    at: Annotated[str | None, typer.Option(help="The newest backup of this time or before.")] = None,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Restore what there is though instances are missing.")
    ] = False,
    key_file: KeyFile = None,
    data: Data = None,
) -> None:
    """Restore a backup into an empty database and object store; default: the newest."""
    from server.backup.commands import restore as run

    settings = load_settings(data=data, backup_key=read_key(key_file))
    finish(asyncio.run(run(settings, directory, backup=backup, at=at, salvage=salvage)))


@cli.command("check-config")
def check_config(data: Data = None) -> None:
    """Say which settings are in force and whether everything they name is usable."""
    from server.administration import check

    checks = asyncio.run(check(load_settings(data=data)))
    for line in checks.lines:
        typer.echo(line)
    raise typer.Exit(0 if checks.passed else 1)
