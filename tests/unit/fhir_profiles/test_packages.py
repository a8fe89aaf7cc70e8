"""Packages: what is published is read, what is odd or too much is refused whole."""

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from fhir import packages
from fhir.packages import InvalidPackage, read_package
from tests.unit.fhir_profiles.definitions import CLINIC, COLOURS

MANIFEST = {"name": "our.guide", "version": "1.0.0", "fhirVersions": ["4.0.1"]}


def package(path: Path, files: dict[str, Any], *extra: tarfile.TarInfo) -> Path:
    """A package with these files; values are written as JSON."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return path


def whole(**more: Any) -> dict[str, Any]:
    return {"package/package.json": MANIFEST, "package/a.json": CLINIC, **more}


def test_definitions_are_read_and_the_rest_is_left(tmp_path: Path) -> None:
    files = whole(**{
        "package/.index.json": {"files": []},
        "package/example/b.json": {"resourceType": "Patient"},
        "package/other/c.json": b"no json",
        "package/d.json": COLOURS,
        "package/e.json": {"not": "a resource"},
        "package/f.html": b"x",
    })  # fmt: skip
    found = list(read_package(package(tmp_path / "p.tgz", files)))
    assert [(each.file, each.resource["id"]) for each in found] == [
        ("a.json", "clinic"),
        ("d.json", "colours"),
    ]


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "odd",
    [
        member("package/x.json", tarfile.SYMTYPE, "/etc/passwd"),
        member("package/x.json", tarfile.LNKTYPE, "package/a.json"),
        member("package/x.json", tarfile.FIFOTYPE),
        member("package/x.json", tarfile.CHRTYPE),
        member("../x.json", tarfile.REGTYPE),
        member("/x.json", tarfile.REGTYPE),
    ],
    ids=["symbolic link", "hard link", "pipe", "device", "path up", "path from the root"],
)
def test_odd_members_refuse_the_package(tmp_path: Path, odd: tarfile.TarInfo) -> None:
    with pytest.raises(InvalidPackage, match="leads out"):
        list(read_package(package(tmp_path / "p.tgz", whole(), odd)))


def test_what_unfolds_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = package(tmp_path / "p.tgz", whole(**{"package/z.txt": b"0" * 1_000_000}))
    assert path.stat().st_size < 10_000
    monkeypatch.setattr(packages, "MAX_UNPACKED_BYTES", 100_000)
    with pytest.raises(InvalidPackage, match="unfolds"):
        list(read_package(path))


def test_too_many_or_too_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = package(tmp_path / "p.tgz", whole())
    with pytest.raises(InvalidPackage, match="larger"):
        list(read_package(path, max_bytes=100))
    monkeypatch.setattr(packages, "MAX_MEMBERS", 1)
    with pytest.raises(InvalidPackage, match="more than 1 files"):
        list(read_package(path))


@pytest.mark.parametrize(
    "content",
    [b"", b"x", gzip.compress(b"x"), gzip.compress(b"")],
    ids=["nothing", "no archive", "no tar", "empty"],
)
def test_what_is_no_package_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.tgz").write_bytes(content)
    with pytest.raises(InvalidPackage):
        list(read_package(tmp_path / "p.tgz"))


def test_half_a_package_is_refused(tmp_path: Path) -> None:
    path = package(tmp_path / "p.tgz", whole())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InvalidPackage):
        list(read_package(path))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"package/a.json": CLINIC}, "no package/package.json"),
        ({"package/package.json": {**MANIFEST, "fhirVersions": ["5.0.0"]}}, "not for FHIR R4"),
        ({"package/package.json": MANIFEST, "package/a.json": b"{"}, "a.json"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, files: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidPackage, match=said):
        list(read_package(package(tmp_path / "p.tgz", files)))
