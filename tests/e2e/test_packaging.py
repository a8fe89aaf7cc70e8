"""Our `fhir` and the installed `fhir.resources` live side by side, however and wherever we are installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORTS = """
import fhir.outcome, dicomweb.routes, server.serve, sys
assert not {"torch", "monai", "highdicom", "numpy", "pydicom"} & set(sys.modules)  # too heavy for a server
import fhir.resources.R4B.patient
print(fhir.outcome.__file__)
"""


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def installed_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the wheel installed, core dependencies only."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT, cwd=folder)
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    python = folder / "venv/bin/python"
    run(python, "-m", "pip", "install", "-q", next(folder.glob("isthmus-*.whl")), cwd=folder)
    return python


def test_editable_install_imports_from_anywhere(elsewhere: Path) -> None:
    for cwd in (ROOT, elsewhere):
        assert run(sys.executable, "-c", IMPORTS, cwd=cwd).strip() == str(ROOT / "fhir/outcome.py")


@pytest.mark.slow
def test_wheel_imports_from_elsewhere_and_from_the_root(installed_wheel: Path, elsewhere: Path) -> None:
    assert "site-packages" in run(installed_wheel, "-c", IMPORTS, cwd=elsewhere)
    assert run(installed_wheel, "-c", IMPORTS, cwd=ROOT).strip() == str(ROOT / "fhir/outcome.py")


@pytest.mark.slow
def test_wheel_carries_what_it_needs_at_run_time(installed_wheel: Path, elsewhere: Path) -> None:
    isthmus = installed_wheel.with_name("isthmus")
    assert "serve" in run(isthmus, "--help", cwd=elsewhere)
    serving_only = {**os.environ, "ISTHMUS_WORKER": "false"}
    run(isthmus, "check-config", "--data", elsewhere / "data", cwd=elsewhere, env=serving_only)


@pytest.mark.slow
def test_worker_without_the_engine_says_what_to_install(installed_wheel: Path, elsewhere: Path) -> None:
    command = [installed_wheel.with_name("isthmus"), "serve", "--data", elsewhere / "data"]
    done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'isthmus[ai]'" in done.stderr
    assert "Traceback" not in done.stderr
