"""`isthmus fhir load-package`: what it prints, and with which exit code it ends."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli import cli
from server.kernel.faults import Fault
from tests.unit.fhir_profiles.definitions import GUIDE, PATIENT
from tests.unit.fhir_profiles.test_packages import MANIFEST, package


def load(path: Path, data: Path) -> tuple[int, list[str]]:
    done = CliRunner().invoke(cli, ["fhir", "load-package", str(path), "--data", str(data)])
    if isinstance(done.exception, Fault):  # main() makes one line of it
        raise done.exception
    return done.exit_code, done.stdout.splitlines()


def test_definitions_are_stored_and_counted(tmp_path: Path) -> None:
    files = {f"package/{each['id']}-{each['resourceType']}.json": each for each in GUIDE}
    wrong = {**PATIENT, "id": "wrong", "status": "nonsense"}
    path = package(
        tmp_path / "p.tgz",
        {"package/package.json": MANIFEST, **files, "package/wrong.json": wrong},
    )
    code, lines = load(path, tmp_path / "data")
    assert code == 1
    assert lines[0].startswith("not valid, left out: wrong.json: ")
    assert lines[1] == f"{len(GUIDE)} definitions written, 0 unchanged."
    code, lines = load(
        package(tmp_path / "q.tgz", {"package/package.json": MANIFEST, **files}), tmp_path / "data"
    )
    assert (code, lines) == (0, [f"0 definitions written, {len(GUIDE)} unchanged."])


def test_a_file_that_is_no_package_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "p.tgz").write_bytes(b"x")
    with pytest.raises(Fault, match="no package"):
        load(tmp_path / "p.tgz", tmp_path / "data")
    assert CliRunner().invoke(cli, ["fhir", "load-package", str(tmp_path / "none.tgz")]).exit_code == 2
