"""What is kept beside studies: FHIR resources and definitions, terminology."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from server.cli.options import Data, errors, load_settings

terminology = typer.Typer(help="Code systems, value sets and concept maps.", no_args_is_help=True)
definitions = typer.Typer(help="FHIR resources and definitions.", no_args_is_help=True)


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
