"""The server, its worker, the demo; sending studies; the database and the settings."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from server.cli.options import Data, load_settings
from server.kernel.metrics_folder import share_metrics

commands = typer.Typer()
db = typer.Typer(help="The database.", no_args_is_help=True)

Url = Annotated[str, typer.Option("--url", help="The server.")]
Token = Annotated[str | None, typer.Option("--token", envvar="ISTHMUS_TOKEN", help="An access token.")]


@commands.command()
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
    tls_certificate: Annotated[
        Path | None, typer.Option(help="PEM file of the certificate and its chain, to serve TLS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its private key, 0600.")] = None,
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
        tls_certificate=tls_certificate,
        tls_key=tls_key,
    )
    run(settings)


@commands.command()
def worker(
    data: Data = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, or cuda:N[,cuda:N…]: where models run.")
    ] = None,
) -> None:
    """Start a worker: it claims workitems, runs models and publishes their findings."""
    from server.worker import run_worker

    run_worker(load_settings(data=data, devices=device))


@commands.command()
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


@commands.command()
def store(
    paths: Annotated[list[Path], typer.Argument(help="Files and folders with DICOM instances.")],
    url: Url = "http://127.0.0.1:8080",
    token: Token = None,
) -> None:
    """Send DICOM files by STOW-RS, with progress; run it again to go on where it stopped."""
    from server.client.store_command import run_store

    raise typer.Exit(run_store(paths, url, token))


@commands.command("check-config")
def check_config(data: Data = None) -> None:
    """Say which settings are in force and whether everything they name is usable."""
    from server.check_config import check

    checks = asyncio.run(check(load_settings(data=data)))
    for line in checks.lines:
        typer.echo(line)
    raise typer.Exit(0 if checks.passed else 1)


@db.command("upgrade")
def db_upgrade(data: Data = None) -> None:
    """Bring the database to the newest schema."""
    from server.administration import upgrade_database

    typer.echo(asyncio.run(upgrade_database(load_settings(data=data))))
