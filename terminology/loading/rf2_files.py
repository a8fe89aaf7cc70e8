"""Files of SNOMED CT's Release Format 2: which is which, and their rows (Release File Specifications §3, §4).

A file is known by its name (§3.3), its columns by its header. Snapshots are read: the latest state of each
component. Where an extension lies beside the edition that it extends, of a component that both have the one
in the newer file counts.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import NamedTuple

from terminology.loading.files import ReleaseFiles, UnreadableRelease, fault

_NAME = re.compile(
    r"x?(?P<kind>sct2_(?:Concept|Description|TextDefinition|RelationshipConcreteValues|Relationship)"
    r"|der2_[a-z]*Refset)_(?P<summary>[A-Za-z0-9]*?)(?P<release>Snapshot|Full|Delta)(?:-[A-Za-z-]+)?"
    r"_(?P<namespace>[A-Za-z0-9]+)_(?P<date>\d{8})(?:T\d+Z?)?\.txt",
)
_TIME = re.compile(r"(?:[0-9]{8,14}Z?)?")  # YYYYMMDD, in releases that are not final with a time
_DESCRIBES = "conceptId languageCode typeId term caseSignificanceId"
_CHARACTER = "relationshipGroup typeId characteristicTypeId modifierId"


class FileKind(Enum):
    """What is read of a release: the beginning of a file's name, and its columns after the first four."""

    CONCEPT = ("sct2_Concept", "definitionStatusId")
    DESCRIPTION = ("sct2_Description", _DESCRIBES)
    TEXT_DEFINITION = ("sct2_TextDefinition", _DESCRIBES)
    RELATIONSHIP = ("sct2_Relationship", f"sourceId destinationId {_CHARACTER}")
    CONCRETE_VALUE = ("sct2_RelationshipConcreteValues", f"sourceId value {_CHARACTER}")
    LANGUAGE = ("Language", "refsetId referencedComponentId acceptabilityId")
    MODULE_DEPENDENCY = (
        "ModuleDependency",
        "refsetId referencedComponentId sourceEffectiveTime targetEffectiveTime",
    )
    MEMBERS = ("Simple", "refsetId referencedComponentId")
    SIMPLE_MAP = ("SimpleMap", "refsetId referencedComponentId mapTarget")
    COMPLEX_MAP = (
        "ComplexMap",
        "refsetId referencedComponentId mapGroup mapPriority mapRule mapAdvice mapTarget correlationId",
    )

    @property
    def columns(self) -> Sequence[str]:
        """The columns that must be there, in this order, first."""
        return ["id", "effectiveTime", "active", "moduleId", *self.value[1].split()]


# Reference sets of concepts, by the summary in the file's name.
_OF_REFSETS = {
    "Language": FileKind.LANGUAGE,
    "ModuleDependency": FileKind.MODULE_DEPENDENCY,
    "Simple": FileKind.MEMBERS,
    "Association": FileKind.MEMBERS,
    "SimpleMap": FileKind.SIMPLE_MAP,
    "ComplexMap": FileKind.COMPLEX_MAP,
    "ExtendedMap": FileKind.COMPLEX_MAP,
}
OF_CONCEPTS = (FileKind.MEMBERS, FileKind.SIMPLE_MAP, FileKind.COMPLEX_MAP)  # whose members are concepts
_OF_CORE = {kind.value[0]: kind for kind in FileKind if kind.value[0].startswith("sct2_")}


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """A file of a release."""

    name: str
    date: str  # YYYYMMDD

    @property
    def label(self) -> str:
        """Its name in messages."""
        return PurePosixPath(self.name).name


class Row(NamedTuple):
    """A line; `more` has the columns after those that its kind must have, by name."""

    line: int
    values: Sequence[str]
    more: Mapping[str, str]


def find_files(files: ReleaseFiles) -> Mapping[FileKind, Sequence[ReleaseFile]]:
    """The snapshot files by kind, the newest first.

    Raises:
        UnreadableRelease: there are none, or the same twice.
    """
    found: dict[FileKind, list[ReleaseFile]] = {}
    releases = set()
    for name in files.names:
        match = _NAME.fullmatch(PurePosixPath(name).name)
        kind = None if match is None else _OF_CORE.get(match["kind"]) or _OF_REFSETS.get(match["summary"])
        if match is None or kind is None:
            continue
        releases.add(match["release"])
        if match["release"] == "Snapshot":
            found.setdefault(kind, []).append(ReleaseFile(name, match["date"]))
    if FileKind.CONCEPT not in found:
        others = f" (there are {', '.join(sorted(releases))} files only)" if releases else ""
        raise UnreadableRelease(f"{files.path}: no sct2_Concept_Snapshot file of an RF2 release{others}.")
    return {
        kind: sorted(each, key=lambda file: (file.date, file.name), reverse=True)
        for kind, each in found.items()
    }


def read_rows(files: ReleaseFiles, file: ReleaseFile, kind: FileKind) -> Iterator[Row]:
    """The rows of a file.

    Raises:
        UnreadableRelease: columns are missing, or a row is not as its kind must be.
    """
    lines = files.lines(file.name)
    _, header = next(lines, (0, ""))
    columns, needed = header.split("\t"), kind.columns
    if columns[: len(needed)] != needed:
        raise fault(file.label, 1, f"the columns are to be: {' '.join(needed)}")
    more = columns[len(needed) :]
    width = len(columns)
    times: set[str] = set()  # that are dates: few are different
    for line, text in lines:
        values = text.split("\t")
        if len(values) != width:
            raise fault(file.label, line, f"{width} columns expected, {len(values)} found")
        if values[2] not in ("0", "1"):
            raise fault(file.label, line, f"'active' is 0 or 1, not '{values[2][:20]}'")
        if values[1] not in times:
            if not _TIME.fullmatch(values[1]):
                raise fault(file.label, line, f"'effectiveTime' is no date: '{values[1][:20]}'")
            if len(times) < _MAX_TIMES:
                times.add(values[1])
        yield Row(line, values, dict(zip(more, values[len(needed) :], strict=True)) if more else _NO_MORE)


_MAX_TIMES = 10_000
_NO_MORE: Mapping[str, str] = {}


def read_latest(
    files: ReleaseFiles,
    found: Mapping[FileKind, Sequence[ReleaseFile]],
    kind: FileKind,
    key: Callable[[str], object],
) -> Iterator[tuple[ReleaseFile, Row]]:
    """The rows of all files of a kind, of each component the newest; `key` makes its `id` small."""
    of_kind = found.get(kind, ())
    seen: set[object] = set()
    for at, file in enumerate(of_kind):
        is_last = at == len(of_kind) - 1
        for row in read_rows(files, file, kind):
            if len(of_kind) > 1:
                one = key(row.values[0])
                if one in seen:
                    continue
                if not is_last:
                    seen.add(one)
            yield file, row
