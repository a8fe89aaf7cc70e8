"""fhir-kit-client, a FHIR client in JavaScript, as npm gives it; run by Node."""

import os
import subprocess
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isthmus-tests"
PACKAGE = "fhir-kit-client@2.0.3"


def fhir_kit_folder() -> Path:
    """The folder with the package and what it needs; installed once, by npm."""
    folder = CACHE / PACKAGE.replace("@", "-")
    if not (folder / "node_modules" / "fhir-kit-client").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        install = ["npm", "install", "--prefix", str(folder), PACKAGE, "--silent", "--no-fund", "--no-audit"]
        subprocess.run(install, check=True)
    return folder


def run_with_fhir_kit(script: str, folder: Path, *arguments: str) -> str:
    """What a module of JavaScript writes; it may import fhir-kit-client."""
    path = folder / "script.mjs"
    path.write_text(script)
    modules = folder / "node_modules"
    if not modules.exists():
        modules.symlink_to(fhir_kit_folder() / "node_modules")
    done = subprocess.run(["node", str(path), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
