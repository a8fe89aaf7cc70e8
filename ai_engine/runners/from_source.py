"""Code of a bundle comes from the source files, whose hashes are known: byte code beside it is never read.

What lies in `__pycache__` is none of a bundle's hashed files, and Python would run it unseen where its header
fits the source. The standard library and what is installed go on with theirs.
"""

import sys
from collections.abc import Callable
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from types import CodeType


class _FromSource(SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType | None:
        """Compile the source, whatever has been compiled before."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def read_source_only(bundle: str) -> None:
    """Have the modules below a folder compiled from their source, in this process."""
    root = bundle.rstrip("/")
    loaders = (
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (_FromSource, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),  # beside the sources it is a hashed file as any other
    )

    def finder_of(path: str) -> FileFinder:
        if path != root and not path.startswith(f"{root}/"):
            raise ImportError("not of the bundle")
        return FileFinder(path, *loaders)

    hooks: list[Callable[[str], FileFinder]] = sys.path_hooks  # type: ignore[assignment]
    hooks.insert(0, finder_of)
    sys.path_importer_cache.clear()
