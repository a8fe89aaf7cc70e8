"""OHIF's package as npm gives it, and Debian's Chromium to run it in, without a graphics card."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from server.viewer.release import OHIF

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isthmus-tests"
SOFTWARE_RENDERING = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
# Chromium as it is, with its viewer of PDF, which Playwright would leave out.
NOT_LEFT_OUT = [
    "--headless",
    "--disable-extensions",
    "--disable-component-extensions-with-background-pages",
]


def ohif_tarball() -> Path:
    """The package's tarball; fetched once, by npm."""
    name = OHIF.package.removeprefix("@").replace("/", "-")
    path = CACHE / f"{name}-{OHIF.version}.tgz"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        package = f"{OHIF.package}@{OHIF.version}"
        subprocess.run(["npm", "pack", package, "--silent", "--pack-destination", str(CACHE)], check=True)
    return path


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser that reaches whatever its pages ask for: the tests watch that they ask for nothing else."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--headless=new", "--no-sandbox", *SOFTWARE_RENDERING],
            ignore_default_args=NOT_LEFT_OUT,
        )
        yield browser
        browser.close()
