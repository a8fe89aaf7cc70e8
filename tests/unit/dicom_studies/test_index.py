"""Indexing within a caller's transaction, as the AI publisher does it."""

from collections.abc import Sequence

import pytest
from pydicom.uid import EnhancedSRStorage
from sqlalchemy import select

from dicomweb.response_codes import StoreFailure
from dicomweb.store.classes import is_derived
from dicomweb.store.index import index_instances, supersede_instances
from dicomweb.store.instances import InstanceResult, Origin, StoredInstance, prepare_instance
from dicomweb.tables import Instance, Series, Study
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.site import Site
from tests.conformance.ps3_18.kit import as_file, ct_file, ct_slice, place
from tests.conformance.ps3_18.test_10_5_store import count, rows


async def index(
    services: Services, files: Sequence[bytes], origin: Origin = Origin.RECEIVED, site: Site | None = None
) -> list[InstanceResult]:
    ranges = await services.objects.put(files)
    stored = [StoredInstance(prepare_instance(f), r) for f, r in zip(files, ranges, strict=True)]
    return await services.database.transact(
        lambda unit: index_instances(unit, stored, origin, site or services.site)
    )


def report(instance: int) -> bytes:
    where = place(series=5, instance=instance)
    return as_file(ct_slice(where, Modality="SR", SOPClassUID=EnhancedSRStorage, PixelData=None))


async def test_engine_objects_join_the_study_without_unsettling_it(services: Services) -> None:
    await index(services, [ct_file()])
    (before,) = await rows(services, Study)
    (result,) = await index(services, [report(1)], Origin.ENGINE)
    (after,) = await rows(services, Study)
    assert result.patient_id == after.patient_id == before.patient_id
    assert after.input_changed_us == before.input_changed_us
    assert {row.origin for row in await rows(services, Instance)} == {"received", "engine"}


async def test_engine_images_are_no_input_either(services: Services) -> None:
    await index(services, [ct_file()])
    (before,) = await rows(services, Study)
    await index(services, [ct_file(place(series=2), SeriesDescription="made")], Origin.ENGINE)
    (after,) = await rows(services, Study)
    assert after.input_changed_us == before.input_changed_us


async def test_a_retry_with_the_same_objects_changes_nothing(services: Services) -> None:
    await index(services, [report(1)], Origin.ENGINE)
    (again,) = await index(services, [report(1)], Origin.ENGINE)
    assert (again.already_stored, again.refusal) == (True, None)
    assert await count(services, Instance) == 1


async def test_superseding_hides_a_series_with_its_last_instance(services: Services) -> None:
    await index(services, [report(1), report(2)], Origin.ENGINE)
    for number, hidden in ((1, False), (2, True)):
        uid = place(series=5, instance=number).instance
        await services.database.transact(lambda unit, uid=uid: supersede_instances(unit, [uid]))
        (series,) = await rows(services, Series)
        assert (series.superseded_us is not None) is hidden


async def test_a_transaction_that_fails_leaves_no_index(services: Services) -> None:
    file = ct_file()
    (stored_range,) = await services.objects.put([file])
    stored = StoredInstance(prepare_instance(file), stored_range)

    async def work(unit: UnitOfWork) -> None:
        await index_instances(unit, [stored], Origin.RECEIVED, services.site)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await services.database.transact(work)
    assert [await count(services, row) for row in (Study, Series, Instance)] == [0, 0, 0]


async def test_site_that_creates_no_patients_leaves_studies_unassigned(services: Services) -> None:
    await index(services, [ct_file()], site=Site(create_patients=False))
    (study,) = await rows(services, Study)
    assert (study.link_state, study.patient_id, study.patient_value) == ("unassigned", None, "P1")


async def test_issuer_makes_another_patient_of_the_same_id(services: Services) -> None:
    await index(services, [ct_file(), ct_file(place(2), IssuerOfPatientID="ELSEWHERE")])
    one, two = await rows(services, Study)
    assert one.patient_id != two.patient_id


async def test_rejected_first_instance_makes_no_study(services: Services) -> None:
    await index(services, [ct_file()])
    (result,) = await index(services, [ct_file(place(2), SOPInstanceUID=place(1).instance)])
    assert result.refusal is not None
    assert result.refusal.reason is StoreFailure.CONTRADICTS_HIERARCHY
    assert await count(services, Study) == 1


async def test_stored_bytes_lie_where_the_row_says(services: Services) -> None:
    files = [ct_file(place(instance=n)) for n in (1, 2, 3)]
    await index(services, files)
    table = table_of(Instance)
    async with services.database.read() as connection:
        found = (await connection.execute(select(table).order_by(table.c.id))).all()
    assert [row.object_length for row in found] == [len(file) for file in files]
    assert {row.rows for row in found} == {4}


@pytest.mark.parametrize(
    ("modality", "sop_class_uid", "derived"),
    [
        ("CT", "1.2.840.10008.5.1.4.1.1.2", False),
        ("SR", "1.2.840.10008.5.1.4.1.1.88.34", True),
        ("CT", "1.2.840.10008.5.1.4.1.1.7", True),
        ("OT", "1.2.840.10008.5.1.4.1.1.7.4", True),
        ("CT", "1.2.840.10008.5.1.4.1.1.77.1.4", False),
    ],
)
def test_derived_classes(modality: str, sop_class_uid: str, derived: bool) -> None:
    assert is_derived(modality, sop_class_uid) is derived
