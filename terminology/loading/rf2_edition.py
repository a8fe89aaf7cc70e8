"""Which edition and version of SNOMED CT a release is (SNOMED CT URI Standard §2).

An edition is named by its module: that of the extension, where there is one. The module dependency reference
set says of which day it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from terminology.loading.files import ReleaseFiles, UnreadableRelease
from terminology.loading.rf2_files import FileKind, ReleaseFile, read_latest
from terminology.sctid import why_invalid

CORE_MODULE = "900000000000207008"

_TITLES = {
    CORE_MODULE: "International edition",
    "731000124108": "US edition",
    "32506021000036107": "Australian edition",
    "20611000087101": "Canadian edition",
    "83821000000107": "UK edition",
    "11000146104": "Netherlands edition",
    "11000172109": "Belgian edition",
    "11000274103": "German edition",
    "2011000195101": "Swiss edition",
    "11000234105": "Austrian edition",
    "554471000005108": "Danish edition",
    "45991000052106": "Swedish edition",
    "51000202101": "Norwegian edition",
    "449081005": "Spanish edition",
}


@dataclass(frozen=True, slots=True)
class Edition:
    """A version of an edition."""

    module: str
    date: str

    @property
    def version(self) -> str:
        """CodeSystem.version."""
        return f"http://snomed.info/sct/{self.module}/version/{self.date}"

    @property
    def title(self) -> str:
        """What people call it."""
        return f"{_TITLES.get(self.module, f'edition {self.module}')}, {self.date}"


def name_edition(
    files: ReleaseFiles,
    found: Mapping[FileKind, Sequence[ReleaseFile]],
    modules: Mapping[str, int],
    wanted: str | None,
) -> Edition:
    """The edition of a release.

    Args:
        files: where it is.
        found: its files.
        modules: how many concepts each module has.
        wanted: the module that is to name it; None: the extension's with most concepts, else the largest.

    Raises:
        UnreadableRelease: the module that is wanted is no module of it.
    """
    dates: dict[str, str] = {}
    for _, row in read_latest(files, found, FileKind.MODULE_DEPENDENCY, str):
        if row.values[2] == "1":
            module, date = row.values[3], row.values[6]
            dates[module] = max(dates.get(module, ""), date)
    known = {module: modules.get(module, 0) for module in (*modules, *dates)}
    if wanted is not None and wanted not in known:
        raise UnreadableRelease(f"{files.path}: '{wanted}' is no module of this release.")
    if not known:
        raise UnreadableRelease(f"{files.path}: there are no concepts.")
    of_extensions = [module for module in known if module[-3:-2] == "1"]
    others = [CORE_MODULE] if CORE_MODULE in known else list(known)
    module = wanted or max(of_extensions or others, key=lambda each: (known[each], each))
    if why_invalid(module) is not None:
        raise UnreadableRelease(f"{files.path}: '{module[:30]}' is no module.")
    date = dates.get(module, "")[:8] or found[FileKind.CONCEPT][0].date
    return Edition(module, date)
