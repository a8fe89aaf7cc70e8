"""docs/settings.md names every setting and every command, as they are."""

import re
from typing import Any

import pytest
import typer.main

from server.cli import cli
from server.settings import PREFIX, Settings

NOT_SETTINGS = {"ISTHMUS_TOKEN", "ISTHMUS_PASSWORD"}  # of the commands `store` and `user add`
ROW = re.compile(r"^\| `(ISTHMUS_\w+)` \| `(\w+)` \| ([^|]*) \|")


@pytest.fixture
def page(reference: dict[str, str]) -> str:
    return reference["settings.md"]


def shown(default: Any) -> str:
    """How the page writes a default."""
    if default is None or default in ((), {}):  # also an empty list or table
        return "none"
    return f"`{str(default).lower() if isinstance(default, bool) else format_number(default)}`"


def format_number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_setting_stands_with_its_default(name: str, page: str) -> None:
    rows = {match[2]: match for line in page.splitlines() if (match := ROW.match(line))}
    assert name in rows, f"{name} has no row"
    assert rows[name][1] == f"{PREFIX}{name.upper()}"
    default = Settings.model_fields[name].get_default(call_default_factory=True)
    assert rows[name][3].strip().startswith(shown(default)), f"{name}: the default is {default!r}"


def test_no_other_setting_is_documented(reference: dict[str, str]) -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | NOT_SETTINGS
    for name, text in reference.items():
        told = {each.removesuffix("_FILE") for each in re.findall(r"ISTHMUS_[A-Z_]*[A-Z]", text)}
        assert told - known == set(), name


def commands(command: Any, path: str = "isthmus") -> list[tuple[str, Any]]:
    """(words, command); typer brings a click of its own, so the types have no name to ask for."""
    inner = getattr(command, "commands", None)
    if inner is None:
        return [(path, command)]
    return [found for name, each in inner.items() for found in commands(each, f"{path} {name}")]


def option_rows() -> list[tuple[str, str]]:
    """(command, its option or argument), as the page writes them."""
    return [
        (path, parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.name.upper())
        for path, command in commands(typer.main.get_command(cli))
        for parameter in command.params
        if parameter.name != "help"
    ]


COMMAND_ROW = re.compile(r"^\| `(isthmus [a-z -]+)` \| `([A-Za-z_-]+)` \|", re.MULTILINE)


def test_every_command_and_option_stands_in_the_page(page: str) -> None:
    assert sorted(COMMAND_ROW.findall(page)) == sorted(option_rows())


def test_every_command_is_named(page: str) -> None:
    names = [path for path, _ in commands(typer.main.get_command(cli))]
    assert len(names) >= 9
    assert [name for name in names if f"`{name}`" not in page] == []
