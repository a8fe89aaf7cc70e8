"""Installing the viewer: only the pinned package, unpacked without harm, and in one step."""

import os
import stat
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import server.viewer.unpack
from server.kernel.faults import Busy, Fault
from server.viewer.commands import describe, run_install
from server.viewer.install import _alone, install, uninstall
from server.viewer.installed import read_installed
from server.viewer.obtain import NotObtained, WrongIntegrity
from server.viewer.release import OHIF, Release
from server.viewer.unpack import BadPackage, is_plain
from tests.unit.viewer.kit import FILES, SCRIPT, MakePackage, entry, no_progress


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_installs_what_the_viewer_needs(make_package: MakePackage, tmp_path: Path) -> None:
    package = make_package()
    os.umask(mask := os.umask(0o077))
    os.umask(0o077)
    try:
        installed = install(tmp_path / "viewer", package.release, str(package.path), no_progress)
    finally:
        os.umask(mask)
    assert set(installed.files) == {SCRIPT, "app.bundle.css", "codec.wasm", "assets/favicon.ico"}
    assert (installed.entry.scripts, installed.entry.styles) == ((SCRIPT,), ("app.bundle.css",))
    assert read_installed(tmp_path / "viewer") == installed
    assert installed.is_whole
    left = {path.name for path in (tmp_path / "viewer").iterdir()}
    assert left == {".lock", "viewer.json", installed.record.folder}
    for path in [installed.folder, *installed.folder.rglob("*")]:
        assert path.stat().st_mode & (stat.S_IROTH | stat.S_IRGRP), path  # a server of another user reads it


def test_installing_again_does_nothing(make_package: MakePackage, tmp_path: Path) -> None:
    package = make_package()
    first = install(tmp_path / "viewer", package.release, str(package.path), no_progress)
    package.path.unlink()
    assert install(tmp_path / "viewer", package.release, str(package.path), no_progress) == first


def test_a_missing_file_is_mended(make_package: MakePackage, tmp_path: Path) -> None:
    package = make_package()
    installed = install(tmp_path / "viewer", package.release, str(package.path), no_progress)
    (installed.folder / "codec.wasm").unlink()
    assert not describe(tmp_path / "viewer").is_usable
    install(tmp_path / "viewer", package.release, str(package.path), no_progress)
    assert describe(tmp_path / "viewer").is_usable


def test_another_version_takes_the_place(make_package: MakePackage, tmp_path: Path) -> None:
    for version in ("1.0.0", "1.0.1"):
        package = make_package(version)
        installed = install(tmp_path / "viewer", package.release, str(package.path), no_progress)
    assert installed.record.version == "1.0.1"
    assert len([path for path in (tmp_path / "viewer").iterdir() if path.is_dir()]) == 1


def test_uninstall_leaves_nothing_to_serve(make_package: MakePackage, tmp_path: Path) -> None:
    package = make_package()
    install(tmp_path / "viewer", package.release, str(package.path), no_progress)
    assert uninstall(tmp_path / "viewer")
    assert read_installed(tmp_path / "viewer") is None
    assert [path.name for path in (tmp_path / "viewer").iterdir()] == [".lock"]
    assert not uninstall(tmp_path / "viewer")
    assert not uninstall(tmp_path / "nowhere")


UNPLAIN = [
    entry("package/dist/../../outside", b"x"),
    entry("../outside", b"x"),
    entry("/tmp/outside", b"x"),
    entry("package/dist/a\\..\\outside", b"x"),
    entry("package/dist//outside", b"x"),
    entry("package/dist/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    entry("package/dist/hard", type=tarfile.LNKTYPE, linkname=f"package/dist/{SCRIPT}"),
    entry("package/dist/pipe", type=tarfile.FIFOTYPE),
    entry(f"package/dist/{SCRIPT}", b"twice"),
    entry(f"package/dist/{SCRIPT}/below-a-file", b"x"),
]


@pytest.mark.parametrize("bad", UNPLAIN, ids=[info.name for info, _ in UNPLAIN])
def test_what_must_not_be_unpacked_is_refused(
    make_package: MakePackage, tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes]
) -> None:
    good = make_package()
    kept = install(tmp_path / "viewer", good.release, str(good.path), no_progress)
    before = content_of(tmp_path)
    package = make_package("1.0.1", more=[bad])
    with pytest.raises(BadPackage):
        install(tmp_path / "viewer", package.release, str(package.path), no_progress)
    package.path.unlink()
    assert content_of(tmp_path) == before
    assert read_installed(tmp_path / "viewer") == kept


def test_a_bomb_inflates_only_to_the_limit(
    make_package: MakePackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.viewer.unpack, "MAX_UNPACKED_BYTES", 1 << 20)
    package = make_package(more=[entry("package/dist/zeros", bytes(8 << 20))])
    assert package.path.stat().st_size < 100_000
    with pytest.raises(BadPackage, match="more than 1 MiB"):
        install(tmp_path / "viewer", package.release, str(package.path), no_progress)


def test_too_many_entries_are_refused(
    make_package: MakePackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.viewer.unpack, "MAX_ENTRIES", 20)
    package = make_package(more=[entry(f"package/dist/{number}", b"x") for number in range(20)])
    with pytest.raises(BadPackage, match="entries"):
        install(tmp_path / "viewer", package.release, str(package.path), no_progress)


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08\x00"], ids=["empty", "text", "cut"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes, make_package: MakePackage) -> None:
    package = make_package(files={})
    package.path.write_bytes(content)
    with pytest.raises(Fault):
        install(tmp_path / "viewer", package.release, str(package.path), no_progress)


def test_a_package_without_a_page_is_no_viewer(make_package: MakePackage, tmp_path: Path) -> None:
    package = make_package(files={name: FILES[name] for name in FILES if name != "dist/index.html"})
    with pytest.raises(BadPackage, match="no viewer"):
        install(tmp_path / "viewer", package.release, str(package.path), no_progress)


def test_a_package_of_another_build_is_refused(make_package: MakePackage, tmp_path: Path) -> None:
    package = make_package(files={**FILES, f"dist/{SCRIPT}": b"console.log('viewer');"})
    with pytest.raises(BadPackage, match="not built as it should be"):
        install(tmp_path / "viewer", package.release, str(package.path), no_progress)


def test_another_checksum_is_refused(make_package: MakePackage, tmp_path: Path) -> None:
    package, other = make_package(), make_package("1.0.1")
    with pytest.raises(WrongIntegrity, match=r"is not @made-up/app 1\.0\.0"):
        install(tmp_path / "viewer", package.release, str(other.path), no_progress)
    assert read_installed(tmp_path / "viewer") is None


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotObtained, match=r"missing\.tgz cannot be read: No such file"):
        install(tmp_path / "viewer", OHIF, str(tmp_path / "missing.tgz"), no_progress)


def test_without_a_network_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotObtained, match=r"npm pack @ohif/app@.*--from FILE") as refused:
        run_install(tmp_path / "viewer", None, "http://127.0.0.1:9")
    assert "http://127.0.0.1:9/@ohif/app/-/app-" in str(refused.value)


def test_one_installation_at_a_time(make_package: MakePackage, tmp_path: Path) -> None:
    package = make_package()
    with _alone(tmp_path / "viewer"), pytest.raises(Busy):
        install(tmp_path / "viewer", package.release, str(package.path), no_progress)


KILLED = """
import os, signal, sys
from pathlib import Path
import server.viewer.install as module
from server.viewer.release import Release
finish, count = module._finish, [0]
def die(path):
    count[0] += 1
    if count[0] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return finish(path)
module._finish = die
folder, tarball, version, integrity = sys.argv[1:]
module.install(Path(folder), Release("@made-up/app", version, integrity), tarball, lambda *_: None)
"""


def test_a_killed_installation_leaves_the_old_one(make_package: MakePackage, tmp_path: Path) -> None:
    package = make_package()
    kept = install(tmp_path / "viewer", package.release, str(package.path), no_progress)
    newer = make_package("1.0.1")
    words = [str(tmp_path / "viewer"), str(newer.path), newer.release.version, newer.release.integrity]
    done = subprocess.run([sys.executable, "-c", KILLED, *words], check=False)
    assert done.returncode == -9
    assert read_installed(tmp_path / "viewer") == kept
    assert kept.is_whole
    installed = install(tmp_path / "viewer", newer.release, str(newer.path), no_progress)
    left = {path.name for path in (tmp_path / "viewer").iterdir()}
    assert left == {".lock", "viewer.json", installed.record.folder}  # what the killed one left is gone


@pytest.fixture
def registry(make_package: MakePackage) -> Any:
    """A registry with one package, which tells where it was asked."""
    package = make_package("2.0.0")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if self.path == "/npm/@made-up/app/-/app-2.0.0.tgz":
                self.send_response(302)
                self.send_header("Location", "/elsewhere")
                self.end_headers()
                return
            body = package.path.read_bytes() if self.path == "/elsewhere" else b"no such package"
            self.send_response(200 if self.path == "/elsewhere" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    asked: list[str] = []
    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/npm/", package.release, asked
        http.shutdown()
        thread.join()


def test_installs_from_a_registry(registry: Any, tmp_path: Path) -> None:
    url, release, asked = registry
    first, second = run_install(tmp_path / "viewer", None, url, release)
    assert "@made-up/app 2.0.0, 4 files" in first
    assert "/ui/viewer/" in second
    assert asked == ["/npm/@made-up/app/-/app-2.0.0.tgz", "/elsewhere"]


def test_a_package_that_the_registry_does_not_have(registry: Any, tmp_path: Path) -> None:
    url, _, _ = registry
    with pytest.raises(NotObtained, match="404"):
        run_install(tmp_path / "viewer", None, url, Release("@made-up/app", "3.0.0", "sha512-"))


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("a/b.js", True),
        ("a", True),
        ("", False),
        ("a//b", False),
        ("./a", False),
        ("a/..", False),
        ("a\n", False),
    ],
)
def test_plain_paths(path: str, plain: bool) -> None:
    assert is_plain(path) is plain


def test_the_pinned_release_is_where_npm_has_it() -> None:
    url = OHIF.tarball_url("https://registry.npmjs.org/")
    assert url == "https://registry.npmjs.org/@ohif/app/-/app-3.13.2.tgz"
    assert OHIF.integrity.startswith("sha512-")
