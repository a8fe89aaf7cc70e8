"""What keeps an installation well: backups, the audit trail, the web viewer."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from server.cli.options import Data, finish, load_settings, read_key

commands = typer.Typer()
viewer = typer.Typer(help="The web viewer OHIF.", no_args_is_help=True)
audit = typer.Typer(help="The audit trail.", no_args_is_help=True)

Backups = Annotated[Path, typer.Argument(help="The folder of the backups.")]
BackupId = Annotated[str | None, typer.Option("--backup", help="Which backup; see `backup list`.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", help="A file with the passphrase of the backups' encryption.")
]


class DirectoryGroup(TyperGroup):
    """`isthmus backup DIR` means `isthmus backup to DIR`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the word in where there is none."""
        if args and args[0] not in self.commands and args[0] != "--help":
            args = ["to", *args]
        return super().parse_args(ctx, args)


backup = typer.Typer(
    cls=DirectoryGroup, help="Back up to a folder: `isthmus backup DIR`.", no_args_is_help=True
)


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


@commands.command()
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
