"""`isthmus models train`: a shipped model trained anew, from generated data to a bundle folder."""

import json
from pathlib import Path
from typing import Annotated

import typer

from server.cli.options import errors


def train(
    model: Annotated[str, typer.Argument(help="Which: lung-nodule-ct.")],
    out: Annotated[Path, typer.Option(help="Folder to write the bundle to; new, or of a run to go on with.")],
    seed: Annotated[int, typer.Option(help="Of weights and draws; the shipped weights have 1.")] = 1,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of the first network, instead of the recipe's.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that generate scans.")] = 1,
) -> None:
    """Train a model that ships on generated scans, and write its bundle; needs the extra `torch`."""
    from ai_engine.training.start import recipe_with, start

    def told(line: str) -> None:
        errors.print(line, markup=False, highlight=False)

    figures = start(model, out, recipe_with(seed, steps, workers), told)
    (out.with_name(f"{out.name}.json")).write_text(json.dumps(figures, indent=2) + "\n")
    typer.echo(str(out))
