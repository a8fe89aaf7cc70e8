"""What the engine ever published of a study, found by its workitems: reports and their Observations."""

from collections.abc import Iterator

from sqlalchemy import select

from dicomweb.worklist.tables import Workitem
from dicomweb.worklist.workitem import decode_series
from fhir.interactions.read import read_resource
from fhir.model.json_codec import Json
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.workflows.report.graph import provenance_id_of, report_id_of

_WORKITEM = table_of(Workitem)


async def published_of(unit: UnitOfWork, study_instance_uid: str) -> list[tuple[str, str]]:
    """Type and id of every report on the study, and of every Observation of any version of it."""
    c = _WORKITEM.c
    query = select(c.model_name, c.output).where(c.study_instance_uid == study_instance_uid).order_by(c.pk)
    found: dict[tuple[str, str], None] = {}
    for row in (await unit.execute(query)).all():
        report_id = report_id_of(study_instance_uid, row.model_name)
        found[("DiagnosticReport", report_id)] = None
        for sop_instance_uid in (uid for each in decode_series(row.output) for uid in each.sop_instance_uids):
            provenance_id = provenance_id_of(report_id, sop_instance_uid)
            provenance = await read_resource(unit.connection, "Provenance", provenance_id)
            found |= dict.fromkeys(_observations_of(provenance or {}))
    return list(found)


def _observations_of(provenance: Json) -> Iterator[tuple[str, str]]:
    for target in provenance.get("target", ()):
        resource_type, _, resource_id = target.get("reference", "").partition("/")
        if resource_type == "Observation":
            yield resource_type, resource_id
