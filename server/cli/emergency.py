"""Emergency accesses: who broke the glass, and what is said of it."""

import asyncio
from typing import Annotated

import typer

from server.cli.options import Data, load_settings

commands = typer.Typer(help="Emergency accesses to records.", no_args_is_help=True)


@commands.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Those with a verdict too.")] = False,
    data: Data = None,
) -> None:
    """List the emergency accesses that nobody has reviewed."""
    from server.administration import list_emergencies

    for line in asyncio.run(list_emergencies(load_settings(data=data), None if everything else False)):
        typer.echo(line)


@commands.command("review")
def review(
    number: Annotated[int, typer.Argument(help="Its number.")],
    verdict: Annotated[str, typer.Option(help="justified or not-justified.")],
    note: Annotated[str | None, typer.Option(help="What there is to say.")] = None,
    data: Data = None,
) -> None:
    """Say once whether an emergency access was justified."""
    from server.administration import administer
    from server.auth.emergency.review import Verdict
    from server.auth.emergency.review import review as give_verdict

    if verdict not in {each.value for each in Verdict}:
        raise typer.BadParameter(f"{verdict} is no verdict.", param_hint="--verdict")
    said = Verdict(verdict)
    asyncio.run(
        administer(
            load_settings(data=data), lambda database, by: give_verdict(database, number, by, said, note)
        )
    )
