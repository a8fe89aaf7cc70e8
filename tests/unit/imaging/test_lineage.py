"""Editions of one document are versions of one report, in whatever order they come."""

from itertools import permutations

import pytest

from server.workflows.documents.lineage import Belonging, KnownDocument, belonging_of, received_report_id

FIRST, SECOND, THIRD = "2.25.1", "2.25.2", "2.25.3"
REPLACES = {FIRST: frozenset[str](), SECOND: frozenset({FIRST}), THIRD: frozenset({SECOND})}


def known(uid: str, report_id: str | None) -> KnownDocument:
    return KnownDocument(uid, report_id, REPLACES[uid])


@pytest.mark.parametrize("order", list(permutations(REPLACES)), ids=" ".join)
def test_three_editions_are_one_report_and_the_newest_speaks(order: tuple[str, ...]) -> None:
    documents: list[KnownDocument] = []
    speaking: dict[str, str] = {}  # report -> document
    for uid in order:
        found = belonging_of(uid, REPLACES[uid], documents)
        if not found.is_replaced:
            speaking[found.report_id] = uid
        for ended in found.ended:
            del speaking[ended]
        documents.append(known(uid, found.report_id))
    assert list(speaking.values()) == [THIRD]


def test_a_document_of_its_own_begins_a_report() -> None:
    others = [known(SECOND, "another"), known(FIRST, None)]
    assert belonging_of("2.25.9", frozenset(), others) == Belonging(
        received_report_id("2.25.9"), is_replaced=False, ended=frozenset()
    )


def test_a_document_replaces_one_of_the_engine() -> None:
    assert belonging_of(SECOND, REPLACES[SECOND], [known(FIRST, "engine")]).report_id == "engine"


def test_what_became_no_report_hands_none_on() -> None:
    assert belonging_of(SECOND, REPLACES[SECOND], [known(FIRST, None)]).report_id == received_report_id(
        SECOND
    )


def test_the_same_document_anew_stays_with_its_report() -> None:
    assert belonging_of(FIRST, REPLACES[FIRST], [known(FIRST, "r")]) == Belonging("r", False, frozenset())
