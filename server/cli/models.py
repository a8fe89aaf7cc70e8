"""Models: `isthmus models …` acts on the registry directly, also while a server runs."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server.cli import training
from server.cli.options import Data, errors, load_settings

if TYPE_CHECKING:
    from server.kernel.access import Principal
    from server.kernel.database import Database, UnitOfWork
    from server.settings import Settings
    from server.workflows.loaded_models import LoadedModels
    from server.workflows.registry.decide import Asked

commands = typer.Typer(help="Models: versions, stages, gate, traffic.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The model, as `models list` shows it.")]
Version = Annotated[str, typer.Argument(help="The version.")]
holdout = typer.Typer(help="Holdout sets: cases whose truth is known.", no_args_is_help=True)
commands.add_typer(holdout, name="holdout")
commands.command("train")(training.train)

Reason = Annotated[str | None, typer.Option(help="Why; it stands in the history.")]


@commands.command("list")
def list_(data: Data = None) -> None:
    """List the registered models."""
    from server.workflows.registry.overview import list_models

    told = _administer(data, lambda database, _who: list_models(database))
    if not told["models"]:
        errors.print("No model is registered. The server registers those that come with it when it starts.")
    for row in sorted(told["models"], key=lambda row: (row["name"], row["version"])):
        barred = " barred" if row["barred"] else ""
        typer.echo(f"{row['name']} {row['version']} {row['stage']} sha256:{row['digest'][:12]}{barred}")


@commands.command()
def show(
    name: Name,
    data: Data = None,
) -> None:
    """Show a model as JSON: versions, stages, gate, limits, evaluations and who decided what."""
    from server.workflows.registry.overview import list_evaluations, show_model

    async def tell(database: "Database", _who: "Principal") -> dict[str, Any]:
        return await show_model(database, name) | await list_evaluations(database, name)

    typer.echo(json.dumps(_administer(data, tell), indent=2, ensure_ascii=False))


@commands.command()
def add(
    folder: Annotated[Path, typer.Argument(help="The bundle's folder.", exists=True, file_okay=False)],
    data: Data = None,
) -> None:
    """Register a bundle as a candidate; its files are copied into the installation. It is code: trust it."""
    from rich.progress import BarColumn, DownloadColumn, Progress

    from ai_engine.bundle import files_of
    from server.workflows.registry.add import add_bundle

    with Progress(BarColumn(), DownloadColumn(), console=errors, transient=True) as progress:
        task = progress.add_task("", total=sum(file.size for file in files_of(folder)))
        told = lambda count: progress.advance(task, count)  # noqa: E731
        bundle, codes = _administer(data, lambda database, who: add_bundle(database, folder, who, told))
    for code in codes:
        errors.print(f"no such code: {code.value} ({code.scheme}) {code.meaning}", markup=False)
    manifest = bundle.manifest
    typer.echo(f"{manifest.name} {manifest.version} candidate sha256:{bundle.digest[:12]}")


@commands.command()
def evaluate(
    name: Name,
    version: Version,
    on: Annotated[str, typer.Option("--holdout", help="The holdout set.")],
    cases: Annotated[int | None, typer.Option(help="Only the first so many; opens no gate.", min=1)] = None,
    data: Data = None,
) -> None:
    """Run a version on a holdout set and write down its figures."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from server.workflows.registry.evaluate import Asked, Evaluated, evaluate, lines_of
    from server.workflows.worker_process import require_engine

    require_engine()
    settings = load_settings(data=data)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("", total=None)

        async def act(database: "Database", who: "Principal") -> Evaluated:
            told = lambda done, all_: progress.update(task, completed=done, total=all_)  # noqa: E731
            async with open_models(settings, database) as models:
                return await evaluate(database, models, Asked(name, version, on, who, cases), told)

        evaluated = _administer(data, act)
    for line in lines_of(evaluated):
        typer.echo(line)
    if not evaluated.whole:
        typer.echo("Only a part of the set was run: this opens no gate.")


@asynccontextmanager
async def open_models(settings: "Settings", database: "Database") -> "AsyncIterator[LoadedModels]":
    """Models as a worker of these settings would run them.

    Unpacked into a temporary folder: a command may run as another account than the worker's, whose folder it
    must not fill with what that cannot read.
    """
    from server.worker import runner_policy
    from server.workflows.loaded_models import LoadedModels
    from server.workflows.registry.unpacked import UnpackedBundles
    from server.workflows.warm_models import room_here

    given = (settings.models_memory_mb, settings.devices, settings.gpu_memory_mb)
    room = await asyncio.to_thread(room_here, *given)
    models = LoadedModels(database, runner_policy(settings), UnpackedBundles(database), room)
    try:
        yield models
    finally:
        await models.close()


@holdout.command("add")
def holdout_add(
    name: Annotated[str, typer.Argument(help="A name of lower case letters, digits and hyphens.")],
    folder: Annotated[Path, typer.Argument(help="Folder with holdout.json.", exists=True, file_okay=False)],
    data: Data = None,
) -> None:
    """Register a holdout set by its content; its files stay where they are."""
    from server.workflows.registry.holdouts import add_holdout

    digest, cases = _administer(data, lambda database, who: add_holdout(database, name, folder, who))
    typer.echo(f"{name} {cases} cases sha256:{digest}")


@holdout.command("list")
def holdout_list(data: Data = None) -> None:
    """List the registered holdout sets."""
    from server.workflows.registry.holdouts import list_holdouts

    for row in _administer(data, lambda database, _who: list_holdouts(database)):
        typer.echo(f"{row['name']} {row['cases']} cases sha256:{row['digest']} {row['folder']}")


@commands.command()
def promote(
    name: Name,
    version: Version,
    to: Annotated[str, typer.Option(help="candidate, shadow, canary or production.")] = "production",
    reason: Reason = None,
    data: Data = None,
) -> None:
    """Move a version to another stage; canary and production lie behind the gate."""
    from server.workflows.registry.decide import promote as decide
    from server.workflows.registry.stages import Stage

    if to not in {stage.value for stage in Stage if stage is not Stage.RETIRED}:
        raise typer.BadParameter("one of candidate, shadow, canary, production", param_hint="--to")
    _decide(data, name, reason, lambda unit, asked: decide(unit, asked, version, Stage(to)))
    typer.echo(f"{name} {version} is {to}.")


@commands.command()
def retire(name: Name, version: Version, reason: Reason = None, data: Data = None) -> None:
    """Take a version out; what waits for it goes to the version that serves."""
    from server.workflows.registry.decide import retire as decide

    _decide(data, name, reason, lambda unit, asked: decide(unit, asked, version))
    typer.echo(f"{name} {version} is retired.")


@commands.command()
def bar(name: Name, version: Version, reason: Reason = None, data: Data = None) -> None:
    """Let nothing put a version to work that is known to be bad; it retires."""
    from server.workflows.registry.bar import bar as decide

    _decide(data, name, reason, lambda unit, asked: decide(unit, asked, version))
    typer.echo(f"{name} {version} is barred.")


@commands.command()
def unbar(name: Name, version: Version, reason: Reason = None, data: Data = None) -> None:
    """Let a version be promoted again; it stays retired until it is."""
    from server.workflows.registry.bar import lift_bar

    _decide(data, name, reason, lambda unit, asked: lift_bar(unit, asked, version))
    typer.echo(f"{name} {version} is not barred.")


@commands.command()
def rollback(name: Name, reason: Reason = None, data: Data = None) -> None:
    """Put the version that was in production before back there, at once."""
    from server.workflows.registry.decide import roll_back

    version = _decide(data, name, reason, roll_back)
    typer.echo(f"{name} {version} is production.")


@commands.command()
def traffic(
    name: Name,
    canary: Annotated[str, typer.Option(help="Percentage of the studies, at most two decimals.")],
    reason: Reason = None,
    data: Data = None,
) -> None:
    """Give the canary a share of the studies; the others go to production."""
    from server.workflows.registry.decide import parse_share, percent_text, set_traffic

    share = parse_share(canary.removesuffix("%").strip())
    _decide(data, name, reason, lambda unit, asked: set_traffic(unit, asked, share))
    typer.echo(f"The canary of {name} gets {percent_text(share)} of the studies.")


@commands.command()
def gate(
    name: Name,
    file: Annotated[
        Path | None, typer.Argument(help="JSON list of criteria; none: what the manifests say.", exists=True)
    ] = None,
    reason: Reason = None,
    data: Data = None,
) -> None:
    """Say what versions of a model must show on holdout sets before they serve."""
    from server.workflows.registry.decide import set_gate
    from server.workflows.registry.requests import Gate, read_decision

    said = None if file is None else f'{{"criteria": {file.read_text()}}}'
    criteria = None if said is None else read_decision(said.encode(), Gate).criteria
    _decide(data, name, reason, lambda unit, asked: set_gate(unit, asked, criteria))
    said_so = "what manifests say" if criteria is None else f"{len(criteria)} of your own"
    typer.echo(f"The criteria of {name}: {said_so}.")


@commands.command()
def limits(
    name: Name,
    file: Annotated[
        Path, typer.Argument(help="JSON object of limits; the others have defaults.", exists=True)
    ],
    reason: Reason = None,
    data: Data = None,
) -> None:
    """Say when a version that serves is taken back without being asked."""
    from server.workflows.registry.decide import set_limits
    from server.workflows.registry.requests import LimitsChange, read_decision

    said = read_decision(f'{{"limits": {file.read_text()}}}'.encode(), LimitsChange)
    _decide(data, name, reason, lambda unit, asked: set_limits(unit, asked, said.limits))
    typer.echo(f"The limits of {name} are set.")


def _decide(
    data: Path | None,
    name: str,
    reason: str | None,
    work: "Callable[[UnitOfWork, Asked], Awaitable[Any]]",
) -> Any:
    from server.workflows.registry.decide import Asked

    async def act(database: "Database", who: "Principal") -> Any:
        return await database.transact(lambda unit: work(unit, Asked(name, who, reason)))

    return _administer(data, act)


def _administer(data: Path | None, act: "Callable[[Database, Principal], Awaitable[Any]]") -> Any:
    from server.administration import administer

    return asyncio.run(administer(load_settings(data=data), act))
