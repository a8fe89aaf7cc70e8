"""`isthmus viewer …`: where it looks, what it says, how it exits."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import server.viewer.commands
from server.cli import cli
from server.kernel.faults import Fault
from server.viewer.install import install
from tests.unit.viewer.kit import MakePackage, no_progress


def run(*words: str, **environment: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["viewer", *words], env=environment)
    if isinstance(done.exception, Fault):
        raise done.exception
    return done.exit_code, done.output


def test_status_and_uninstall(make_package: MakePackage, tmp_path: Path) -> None:
    data = ("--data", str(tmp_path))
    assert run("status", *data) == (
        1,
        f"No viewer is installed in {tmp_path}/viewer; `isthmus viewer install` does it.\n",
    )
    package = make_package()
    install(tmp_path / "viewer", package.release, str(package.path), no_progress)
    code, text = run("status", *data)
    assert (code, "@made-up/app 1.0.0, 4 files" in text) == (0, True)
    assert run("uninstall", *data) == (0, f"Removed from {tmp_path}/viewer.\n")
    assert run("uninstall", *data)[1].startswith("No viewer is installed")


def test_install_takes_a_file_of_the_pinned_release_only(make_package: MakePackage, tmp_path: Path) -> None:
    with pytest.raises(Fault, match="is not @ohif/app"):
        run("install", "--from", str(make_package().path), "--data", str(tmp_path))


@pytest.mark.parametrize("by_option", [True, False])
def test_registry_and_folder_are_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_option: bool
) -> None:
    asked: list[tuple[Path, str | None, str]] = []

    def note(folder: Path, source: str | None, registry: str) -> tuple[str, ...]:
        asked.append((folder, source, registry))
        return ("done",)

    monkeypatch.setattr(server.viewer.commands, "run_install", note)
    registry, folder = "https://npm.example.org", tmp_path / "elsewhere"
    environment = {"ISTHMUS_VIEWER": str(folder)}
    if by_option:
        assert run("install", "--registry", registry, **environment) == (0, "done\n")
    else:
        assert run("install", **environment, ISTHMUS_VIEWER_REGISTRY=registry) == (0, "done\n")
    assert asked == [(folder, None, registry)]
