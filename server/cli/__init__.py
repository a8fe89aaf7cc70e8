"""The command line `isthmus` (DESIGN §4). Each command parses, calls one function, and prints.

Rule: nothing heavy is imported before its command runs, so that `isthmus --help` is quick and the server
process stays small.
"""

import gc
import os
import sys

import typer

from server.cli import accounts, content, emergency, models, running, upkeep
from server.cli.options import errors
from server.kernel.faults import Fault

YOUNG_OBJECTS = 50_000  # before garbage is looked for; at Python's 700, a tenth of the start goes into that
PRIVATE = 0o077  # umask: what the commands write is patients' data and keys

cli = typer.Typer(
    name="isthmus",
    help="One standards-based server for DICOMweb and FHIR, with clinical AI between them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for part in (running, accounts, upkeep):
    cli.add_typer(part.commands)
for name, group in (
    ("backup", upkeep.backup),
    ("audit", upkeep.audit),
    ("fhir", content.definitions),
    ("db", running.db),
    ("client", accounts.client),
    ("user", accounts.user),
    ("keys", accounts.keys),
    ("emergency", emergency.commands),
    ("models", models.commands),
    ("viewer", upkeep.viewer),
    ("terminology", content.terminology),
):
    cli.add_typer(group, name=name)


def main() -> None:
    """Run the command line; a fault is one line and exit code 1, not a traceback."""
    os.umask(PRIVATE)
    gc.set_threshold(YOUNG_OBJECTS)
    try:
        cli()
    except Fault as fault:
        errors.print(f"isthmus: {fault}", markup=False, highlight=False)
        sys.exit(1)
