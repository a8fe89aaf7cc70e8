"""Which report a document is a version of: that of the documents that it replaces (PS3.3 C.17.2). Pure.

Predecessor Documents Sequence names what a document replaces. So one report stays one, over every edition of
its document, in whatever order they come; the newest speaks.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from server.kernel.uids import derived_id


@dataclass(frozen=True, slots=True)
class KnownDocument:
    """A document of the study; `report_id` None: it became no report."""

    sop_instance_uid: str
    report_id: str | None
    predecessors: frozenset[str]


@dataclass(frozen=True, slots=True)
class Belonging:
    """Where a document belongs."""

    report_id: str
    is_replaced: bool  # a later edition is known already
    ended: frozenset[str]  # reports of what it replaces, that turn out to be this one


def belonging_of(
    sop_instance_uid: str, predecessors: frozenset[str], known: Iterable[KnownDocument]
) -> Belonging:
    """The report of a document, by the documents of its study that are known; it may be among them."""
    reports = [each for each in known if each.report_id is not None]
    itself = [each.report_id for each in reports if each.sop_instance_uid == sop_instance_uid]
    later = [each.report_id for each in reports if sop_instance_uid in each.predecessors]
    earlier = [each.report_id for each in reports if each.sop_instance_uid in predecessors]
    found = next((each for each in (*itself, *later, *earlier) if each is not None), None)
    report_id = found or received_report_id(sop_instance_uid)
    ended = frozenset(each for each in (*later, *earlier) if each is not None and each != report_id)
    return Belonging(report_id, bool(later), ended)


def received_report_id(sop_instance_uid: str) -> str:
    """The id of the report that begins with a received document."""
    return derived_id("received-report", sop_instance_uid)
