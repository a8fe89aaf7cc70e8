"""Which studies go by retention rules, and which never do."""

import pytest

from dicomweb.delete.holds import HoldOrder, place_hold
from dicomweb.tables import Study, Tombstone
from dicomweb.worklist.schedule import arm
from dicomweb.worklist.workitem import NewWorkitem, SeriesReference
from server.kernel.database import UnitOfWork
from server.kernel.retention_policy import RetentionRule
from server.kernel.tables import AuditRow
from server.workflows.retention import apply
from server.workflows.retention.apply import apply_retention, find_due
from tests.conformance.ps3_18.kit import place, uid
from tests.unit.deletion.conftest import ADA
from tests.unit.retention.conftest import Aging

MONTH = RetentionRule(30)


async def test_without_rules_everything_is_kept(archive: Aging) -> None:
    await archive.receive(1, 40_000)
    assert await apply_retention(archive.services) == 0
    assert await archive.left() == {uid(1)}


async def test_old_studies_go_as_if_a_person_had_deleted_them(archive: Aging) -> None:
    await archive.receive(1, 30.1, "CT", "SR")
    await archive.receive(2, 29.9)
    services = archive.under(MONTH)
    assert await apply_retention(services) == 1
    assert await archive.left() == {uid(2)}
    (tombstone,) = await archive.rows(Tombstone)
    assert (tombstone.uid, tombstone.instances, tombstone.deleted_by) == (uid(1), 2, "system:retention")
    assert tombstone.reason == "Retention rule: any modality, 30 days from receipt"
    entries = await archive.audited(await archive.rows(AuditRow), "delete-study")
    assert entries == [("system:retention", 2)]
    assert await apply_retention(services) == 0


async def test_a_rule_of_a_modality_is_for_studies_with_a_series_of_it(archive: Aging) -> None:
    await archive.receive(1, 31, "MR", "CT")
    await archive.receive(2, 31, "MR")
    assert await apply_retention(archive.under(RetentionRule(30, modality="CT"))) == 1
    assert await archive.left() == {uid(2)}


@pytest.mark.parametrize("tried", [False, True], ids=["in force", "only tried"])
async def test_of_several_rules_the_longest_wins(archive: Aging, tried: bool) -> None:
    await archive.receive(1, 31, "CT")
    await archive.receive(2, 31, "CT", "MG")
    await archive.receive(3, 400, "CT", "MG")
    mammography = RetentionRule(365, modality="MG", dry_run=tried)
    assert await apply_retention(archive.under(MONTH, mammography)) == 2
    assert await archive.left() == {uid(2)}


async def test_a_rule_that_is_only_tried_deletes_nothing_and_tells(archive: Aging) -> None:
    await archive.receive(1, 31)
    rule = RetentionRule(30, dry_run=True)
    services = archive.under(rule)
    assert await apply_retention(services) == 0
    assert [row.study_instance_uid for row in (await find_due(services, rule, 5)).studies] == [uid(1)]
    assert await archive.left() == {uid(1)}


async def test_age_by_study_date_leaves_studies_without_one(archive: Aging) -> None:
    await archive.receive(1, 0, StudyDate="19990101")
    await archive.receive(2, 40_000, StudyDate="")
    await archive.receive(3, 40_000, StudyDate="20991231")
    assert await apply_retention(archive.under(RetentionRule(30, counted_from="study_date"))) == 1
    assert await archive.left() == {uid(2), uid(3)}


async def test_what_is_held_or_being_analysed_stays(archive: Aging) -> None:
    await archive.receive(1, 31)
    await archive.receive(2, 31, PatientID="HELD")
    await archive.receive(3, 31)
    await archive.receive(4, 31)
    held = {row.study_instance_uid: row.patient_id for row in await archive.rows(Study)}[uid(2)]

    async def work(unit: UnitOfWork) -> None:
        await place_hold(unit, HoldOrder("case", study_instance_uid=uid(1)), ADA)
        await place_hold(unit, HoldOrder("case", patient_id=held), ADA)
        where = place(study=3)
        series = SeriesReference(where.study, where.series, "1.2", (where.instance,))
        await arm(unit, NewWorkitem("rule", "model", "1", where.study, None, (series,)))

    await archive.services.database.transact(work)
    assert await apply_retention(archive.under(MONTH)) == 1
    assert await archive.left() == {uid(1), uid(2), uid(3)}
    assert await archive.audited(await archive.rows(AuditRow), "delete-held") == []  # not even tried


async def test_a_step_takes_a_bounded_bite_the_oldest_first(
    archive: Aging, monkeypatch: pytest.MonkeyPatch
) -> None:
    for study in range(1, 6):
        await archive.receive(study, 30 + study)
    monkeypatch.setattr(apply, "STUDIES_AT_ONCE", 2)
    services = archive.under(MONTH, RetentionRule(32))
    assert [await apply_retention(services) for _ in range(3)] == [2, 2, 0]
    assert await archive.left() == {uid(1)}
