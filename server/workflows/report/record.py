"""A report and its Observations written into the record, as the next version of what was (DESIGN §2)."""

from dataclasses import dataclass

import orjson
from sqlalchemy import RowMapping

from fhir.interactions.authored import put_resource
from fhir.interactions.read import read_resource
from fhir.interactions.write import Written, lock_name
from server.kernel.access import Principal
from server.kernel.clock import instant_text
from server.kernel.database import UnitOfWork
from server.kernel.services import Services
from server.kernel.site import Site
from server.workflows.orders import orders_of
from server.workflows.projection import accession_of, imaging_study_id_of
from server.workflows.registry.device import of_the_registry
from server.workflows.report.graph import ReportContext, ReportGraph, entered_in_error

IN_ERROR = "entered-in-error"
SIGNED_OFF = frozenset({"final", "amended", "corrected", "appended"})  # DiagnosticReport.status after review

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a mapping needs of the installation."""

    site: Site
    public_base: str


def surroundings_of(services: Services) -> Surroundings:
    """Those of this server."""
    return Surroundings(services.site, services.public_base)


async def context_of(
    unit: UnitOfWork, study: RowMapping, report_id: str, around: Surroundings
) -> ReportContext:
    """What the record knows beside the SR; `study` is the row of its study."""
    before = await read_resource(unit.connection, "DiagnosticReport", report_id)
    accession = accession_of(orjson.loads(study["attributes"]))
    return ReportContext(
        report_id=report_id,
        imaging_study_id=imaging_study_id_of(study["study_instance_uid"]),
        study_instance_uid=study["study_instance_uid"],
        issued=instant_text(unit.now_us),
        patient_id=study["patient_id"],
        timezone=around.site.timezone,
        amends=before is not None and before["status"] in SIGNED_OFF,
        accession_number=accession.number if accession else None,
        accession_system=accession.system if accession else None,
        based_on=await orders_of(unit.connection, study["patient_id"], accession),
        previous_observation_ids=await observation_ids_of(unit, before),
        public_base=around.public_base,
    )


async def write_graph(unit: UnitOfWork, graph: ReportGraph, principal: Principal) -> Written:
    """Write the graph of an SR; Observations that it does not make any more become entered-in-error.

    Returns what became of the report. All names are held first, in order: documents of several studies may
    name the same devices. The Devices of registered models are the registry's to write.
    """
    await unit.lock(lock_name(each["resourceType"], each["id"]) for each in graph.resources())
    known = await of_the_registry(unit, [each["id"] for each in graph.devices])
    resources = [each for each in graph.resources() if each["id"] not in known]
    written = [await put_resource(unit, resource, principal) for resource in resources]
    await retract_observations(unit, graph.no_longer_held, principal)
    return next(each for each in written if each.id == graph.report["id"])


async def retract_observations(
    unit: UnitOfWork, observation_ids: frozenset[str], principal: Principal
) -> None:
    """Say of Observations that they do not hold."""
    for observation_id in sorted(observation_ids):
        observation = await read_resource(unit.connection, "Observation", observation_id)
        if observation is not None:
            await put_resource(unit, entered_in_error(observation), principal)


async def retract_report(
    unit: UnitOfWork, report_id: str, principal: Principal, text: dict[str, object] | None = None
) -> Written | None:
    """Say of a report and its Observations that they were in error (valueset-diagnostic-report-status).

    Its page goes, and its narrative becomes `text`; None: it stays. Returns None when there is no report.
    """
    report = await read_resource(unit.connection, "DiagnosticReport", report_id)
    if report is None:
        return None
    said = {name: value for name, value in report.items() if name != "presentedForm"}
    said |= {"status": IN_ERROR} if text is None else {"status": IN_ERROR, "text": text}
    written = await put_resource(unit, said, principal)
    await retract_observations(unit, await observation_ids_of(unit, report), principal)
    return written


async def observation_ids_of(unit: UnitOfWork, report: Json | None) -> frozenset[str]:
    """The ids of the Observations that a report names, and of their members."""
    found: set[str] = set()
    waiting = _references(report, "result")
    while waiting:
        observation_id = waiting.pop()
        if observation_id not in found:
            found.add(observation_id)
            observation = await read_resource(unit.connection, "Observation", observation_id)
            waiting.extend(_references(observation, "hasMember"))
    return frozenset(found)


def _references(resource: Json | None, element: str) -> list[str]:
    references = [] if resource is None else resource.get(element, [])
    assert isinstance(references, list)
    return [each["reference"].removeprefix("Observation/") for each in references]
