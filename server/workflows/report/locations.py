"""Groups that only say where something lies that an earlier group is about (PS3.16 TID 1410).

One finding may need several groups: one template takes one region. They share its Tracking UID; one without a
measurement or evaluation of its own adds its regions and images to the Observation of the first.
"""

from typing import Any

from server.workflows.report import concepts
from server.workflows.report.content import ContentItem
from server.workflows.report.regions import MAX_NOTES, NUMBERS_OF_POINT, basis_of, notes_of

Json = Any
Resource = dict[str, Json]


def only_locates(group: ContentItem) -> bool:
    """Whether a group holds regions and nothing that would become a member."""
    regions = [child for child in group.children if child.value_type in NUMBERS_OF_POINT]
    return bool(regions) and not any(map(_says_more, group.children))


def thing_of(group: ContentItem) -> tuple[str, object] | None:
    """What a group is about: its Tracking UID and its finding; None: it has no Tracking UID."""
    tracked = group.child(concepts.TRACKING_UID)
    uid = None if tracked is None else tracked.uid()
    found = group.child(concepts.FINDING)
    code = None if found is None else found.code()
    return None if uid is None else (uid, None if code is None else code.key)


def locate(observation: Resource, group: ContentItem) -> None:
    """Add where a group lies to an Observation."""
    basis = observation.setdefault("derivedFrom", [])
    known = {each["identifier"]["value"] for each in basis if "identifier" in each}
    more = [each for each in basis_of(group) if each["identifier"]["value"] not in known]
    basis += more[: max(0, MAX_NOTES - len(basis))]
    notes = observation.setdefault("note", [])
    notes += [{"text": text} for text in notes_of(group)][: max(0, MAX_NOTES - len(notes))]


def _says_more(item: ContentItem) -> bool:
    said = item.value_type in ("NUM", "CODE", "TEXT", "CONTAINER") and item.relationship == "CONTAINS"
    about = (concepts.FINDING, concepts.FINDING_CATEGORY, concepts.TRACKING_IDENTIFIER, concepts.FINDING_SITE)
    return said and item.key not in about
