"""Simple, association and map reference sets of an RF2 release (Release File Specifications §5.2).

Members that are concepts, with the columns that their kind of reference set has beside; those of maps are
held to what they must be, as `$translate` reads them.
"""

from collections.abc import Mapping

import msgspec

from terminology.loading.files import fault
from terminology.loading.rf2_concepts import Concepts
from terminology.loading.rf2_files import OF_CONCEPTS, FileKind, ReleaseFile, Row
from terminology.releases.draft import MAX_CODE_CHARACTERS, ReleaseDraft
from terminology.tables import TerminologyMember

_ENCODE = msgspec.json.encode
_OF_EACH = 6  # columns that every reference set has
_DIGITS = 6  # of a group, a priority


def tell_members(concepts: Concepts, draft: ReleaseDraft) -> None:
    """Put all that are active into a draft.

    Raises:
        UnreadableRelease: one names a concept that is not there, or is no mapping where it has to be one.
    """
    counted: dict[tuple[str, str], int] = {}
    for kind in OF_CONCEPTS:
        for file, row in concepts.rows(kind):
            _, time, active, module, refset, concept = row.values[:_OF_EACH]
            if active == "0" or concept[-2:-1] != "0":  # descriptions and relationships can be members too
                continue
            concepts.known(file, row, refset)
            concepts.known(file, row, concept)
            n = counted[refset, concept] = counted.get((refset, concept), -1) + 1
            own = dict(zip(kind.columns[_OF_EACH:], row.values[_OF_EACH:], strict=False))
            fields = {**own, **row.more}
            target = fields.pop("targetComponentId", None)
            draft.add_row(
                TerminologyMember,
                refset=refset,
                concept=concept,
                n=n,
                target=target if target in concepts.index else None,
                map_target=_map_target(file, row, kind, fields),
                module=module,
                effective_time=int(time[:8] or 0),
                fields=_ENCODE(fields).decode() if fields else "{}",
            )


def _map_target(file: ReleaseFile, row: Row, kind: FileKind, fields: Mapping[str, str]) -> str | None:
    """The code that a row maps to; "": it says that there is none. None: it is no row of a map."""
    if kind is FileKind.MEMBERS:
        return None
    for name in ("mapGroup", "mapPriority") if kind is FileKind.COMPLEX_MAP else ():
        value = fields[name]
        if not (value.isascii() and value.isdigit()) or len(value) > _DIGITS:
            raise fault(file.label, row.line, f"'{name}' is no number: '{value[:20]}'")
    target = fields["mapTarget"].strip()
    if not target and kind is FileKind.SIMPLE_MAP:
        raise fault(file.label, row.line, "'mapTarget' is empty")
    if len(target) > MAX_CODE_CHARACTERS or "\0" in target:
        raise fault(file.label, row.line, f"'mapTarget' is no code of {MAX_CODE_CHARACTERS} characters")
    return target
