"""What commands have in common: options, settings, how they end."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError
from rich.console import Console

from server.settings import Settings

if TYPE_CHECKING:
    from server.backup.commands import Outcome

errors = Console(stderr=True)

Data = Annotated[Path | None, typer.Option("--data", help="Folder of the database, objects and keys.")]


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


def finish(outcome: "Outcome") -> None:
    """Print what came of a command, and end with its exit code."""
    for line in outcome.lines:
        typer.echo(line)
    raise typer.Exit(0 if outcome.passed else 1)
