"""The concept files of an RF2 release, and what else names concepts (Release File Specifications §4.2.1)."""

from array import array
from collections.abc import Iterator, Mapping, Sequence

from terminology.ecl.concepts import DEFINED, PRIMITIVE
from terminology.loading.files import ReleaseFiles, UnreadableRelease, fault
from terminology.loading.rf2_files import OF_CONCEPTS, FileKind, ReleaseFile, Row, read_latest
from terminology.sctid import why_invalid

Found = Mapping[FileKind, Sequence[ReleaseFile]]

_BY_UUID = frozenset({FileKind.LANGUAGE, *OF_CONCEPTS})


class Concepts:
    """The concepts of a release, in columns by the order in which they came; and its other files."""

    def __init__(self, files: ReleaseFiles, found: Found) -> None:
        self.files, self.found = files, found
        self.index: dict[str, int] = {}
        self.active, self.defined = bytearray(), bytearray()
        self.effective_time, self.module = array("I"), array("I")
        modules: dict[str, int] = {}
        for file, row in read_latest(files, found, FileKind.CONCEPT, str):
            code, time, active, module, status = row.values[:5]
            wrong = why_invalid(code)
            if wrong is not None or code in self.index:
                why = wrong or "it is there twice"
                raise fault(file.label, row.line, f"the concept '{code[:30]}': {why}")
            if status not in (DEFINED, PRIMITIVE):
                raise fault(file.label, row.line, f"'{status[:30]}' is no definition status")
            self.index[code] = len(self.index)
            self.active.append(active == "1")
            self.defined.append(status == DEFINED)
            self.effective_time.append(int(time[:8] or 0))
            self.module.append(modules.setdefault(module, len(modules)))
        self.modules = list(modules)

    def module_sizes(self) -> Mapping[str, int]:
        """How many concepts each module has."""
        counts = [0] * len(self.modules)
        for at in self.module:
            counts[at] += 1
        return dict(zip(self.modules, counts, strict=True))

    def rows(self, kind: FileKind) -> Iterator[tuple[ReleaseFile, Row]]:
        """The rows of the other files, of each component the newest.

        Raises:
            UnreadableRelease: a row is not as its kind must be.
        """
        key = bytes.fromhex if kind in _BY_UUID else int
        try:
            yield from read_latest(self.files, self.found, kind, lambda text: key(text.replace("-", "")))
        except ValueError:
            raise UnreadableRelease(f"{self.found[kind][0].label}: an 'id' is no identifier.") from None

    def known(self, file: ReleaseFile, row: Row, code: str) -> int:
        """The place of a concept that a row names.

        Raises:
            UnreadableRelease: there is none.
        """
        found = self.index.get(code)
        if found is None:
            raise fault(file.label, row.line, f"there is no concept '{code[:30]}' in this release")
        return found
