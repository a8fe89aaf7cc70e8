"""A CodeSystem resource that is too large for memory becomes a draft (FHIR R4 codesystem.html)."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from terminology.issues import InvalidDefinition
from terminology.listed import read_concept
from terminology.releases.draft import ReleaseDraft

Json = Any

MAX_LISTED_CONCEPTS = (
    5_000  # of a CodeSystem that is kept as a resource, and read into memory when it is used
)
_URI = "http://hl7.org/fhir/concept-properties#"


def is_large(resource: Json) -> bool:
    """Whether a CodeSystem has more concepts than are kept in memory."""
    return next(islice(_entries(resource), MAX_LISTED_CONCEPTS, None), None) is not None


def read_code_system(resource: Json, folder: Path | None = None) -> ReleaseDraft:
    """The draft of a CodeSystem; the caller closes it.

    Raises:
        InvalidDefinition: a concept has no code or one that is there already.
    """
    draft = ReleaseDraft(resource, "listed", folder)
    try:
        _fill(draft, resource)
    except BaseException:
        draft.__exit__(None, None, None)
        raise
    return draft


def _fill(draft: ReleaseDraft, resource: Json) -> None:
    names = {name: _codes_of(draft, name) for name in ("parent", "child")}
    parents = _said_parents(resource, names["child"])
    for above, entry in _entries(resource):
        if not isinstance(entry, dict) or not isinstance(entry.get("code"), str):
            raise InvalidDefinition(
                f"The code system '{draft.read_header.url}' has a concept without a code."
            )
        code = entry["code"]
        said = [
            str(each.get("valueCode"))
            for each in entry.get("property", ())
            if each.get("code") in names["parent"]
        ]
        own = {name: value for name, value in entry.items() if name != "concept"}
        direct = [*([] if above is None else [above]), *said, *parents.get(code, ())]
        active = not read_concept(own, draft.read_header).inactive
        draft.add_concept(own, parents=direct, active=active)


def _said_parents(resource: Json, child_names: frozenset[str]) -> dict[str, list[str]]:
    """What concepts say of those below them, the other way round."""
    parents: dict[str, list[str]] = {}
    for _, entry in _entries(resource):
        for each in entry.get("property", ()) if isinstance(entry, dict) else ():
            if each.get("code") in child_names:
                parents.setdefault(str(each.get("valueCode")), []).append(entry.get("code"))
    return parents


def _codes_of(draft: ReleaseDraft, name: str) -> frozenset[str]:
    defined = draft.read_header.properties.values()
    return frozenset({name, *(each.code for each in defined if each.uri == _URI + name)})


def _entries(resource: Json) -> Iterator[tuple[str | None, Json]]:
    """Each concept with the code of the one that it stands in, in the resource's order."""
    concepts = resource.get("concept")
    waiting = [iter([(None, each) for each in concepts])] if isinstance(concepts, list) else []
    while waiting:
        found = next(waiting[-1], None)
        if found is None:
            waiting.pop()
            continue
        yield found
        entry = found[1]
        if isinstance(entry, dict) and isinstance(entry.get("concept"), list):
            waiting.append(iter([(entry.get("code"), each) for each in entry["concept"]]))
