"""Jobs that keep the record in step with the archive: which act defers which, and what each does.

Each is about one subject and brings that up to date with what the database says by then: one run does for a
whole burst, and a run too many writes nothing.
"""

from dataclasses import replace

from dicomweb.overlay.write import STUDY_CORRECTED
from dicomweb.patients import PATIENT_CHANGED
from dicomweb.store.index import STUDY_CHANGED
from dicomweb.store.reindex import STUDY_REINDEXED
from dicomweb.worklist.change import CHANGED as WORKITEM_CHANGED
from fhir.interactions.door import surroundings_of
from fhir.interactions.write import CHANGED as RESOURCE_CHANGED
from server.kernel.database import UnitOfWork
from server.kernel.jobs import LOW, Args, Emitted, Handlers, Job, Subscriptions
from server.kernel.services import Services
from server.workflows.follow_patient import move_reports, project_tasks_of
from server.workflows.orders import ORDER, studies_of_order
from server.workflows.projection import project_study, project_task

PROJECT_STUDY = "project-study"
PROJECT_TASK = "project-task"
PROJECT_ORDER = "project-order"
FOLLOW_TASKS = "follow-patient-tasks"
FOLLOW_REPORTS = "follow-patient-reports"

BURST_S = 0.5  # in which the instances of a study gather, so that they make one version of its ImagingStudy
MOMENT_S = 0.1  # for what seldom comes in bursts


def project_study_job(study_instance_uid: str, delay_s: float = BURST_S) -> Job:
    """Bring the ImagingStudy of a study up to date, and make its Patient when that is new."""
    return _job(PROJECT_STUDY, "study", study_instance_uid, delay_s)


def _job(task: str, what: str, subject: str, delay_s: float) -> Job:
    return Job(task, {what: subject}, delay_s=delay_s, dedupe_key=f"{task}:{subject}")


def _study_changed(event: Emitted) -> Job:
    return project_study_job(event.subject)


def _study_reindexed(event: Emitted) -> Job:
    """What a new release says of every study can wait for what is new."""
    return replace(project_study_job(event.subject), priority=LOW)


def _workitem_changed(event: Emitted) -> Job:
    return _job(PROJECT_TASK, "workitem", event.subject, MOMENT_S)


def _resource_changed(event: Emitted) -> Job | None:
    """Only an order concerns studies."""
    resource_type, _, id_ = event.subject.partition("/")
    return _job(PROJECT_ORDER, "order", id_, MOMENT_S) if resource_type == ORDER else None


def _patient_changed_tasks(event: Emitted) -> Job:
    return _job(FOLLOW_TASKS, "study", event.subject, MOMENT_S)


def _patient_changed_reports(event: Emitted) -> Job:
    return _job(FOLLOW_REPORTS, "study", event.subject, MOMENT_S)


SUBSCRIPTIONS: Subscriptions = {
    STUDY_CHANGED: (_study_changed,),
    STUDY_CORRECTED: (_study_changed,),
    STUDY_REINDEXED: (_study_reindexed,),
    WORKITEM_CHANGED: (_workitem_changed,),
    RESOURCE_CHANGED: (_resource_changed,),
    PATIENT_CHANGED: (_study_changed, _patient_changed_tasks, _patient_changed_reports),
}


def record_handlers(services: Services) -> Handlers:
    """What the jobs do."""
    transact = services.database.transact

    async def study(args: Args) -> None:
        await transact(lambda unit: project_study(unit, args["study"], services.site))

    async def task(args: Args) -> None:
        await transact(lambda unit: project_task(unit, args["workitem"]))

    async def order(args: Args) -> None:
        async def work(unit: UnitOfWork) -> None:
            for uid in sorted(await studies_of_order(unit.connection, args["order"])):
                unit.defer(project_study_job(uid, delay_s=0))

        await transact(work)

    async def tasks(args: Args) -> None:
        await transact(lambda unit: project_tasks_of(unit, args["study"]))

    async def reports(args: Args) -> None:
        await transact(lambda unit: move_reports(unit, args["study"], surroundings_of(services)))

    return {
        PROJECT_STUDY: study,
        PROJECT_TASK: task,
        PROJECT_ORDER: order,
        FOLLOW_TASKS: tasks,
        FOLLOW_REPORTS: reports,
    }
