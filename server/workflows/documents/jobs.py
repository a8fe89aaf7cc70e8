"""Jobs that look at received documents: one finds those of a study, and has each mapped by a job of its own.

So a document that makes trouble is a failed job, which holds back no other. What maps them is imported by the
first: a server starts without it.
"""

from dicomweb.store.index import STUDY_CHANGED
from dicomweb.store.reindex import STUDY_REINDEXED
from server.kernel.database import UnitOfWork
from server.kernel.jobs import LOW, ROUTINE, Args, Emitted, Handlers, Job, Subscriptions
from server.kernel.services import Services
from server.workflows.documents.classes import CLASSES

FIND, MAP = "find-documents", "map-document"
MOMENT_S = 0.1  # in which the documents of a study gather


def find_documents_job(study_instance_uid: str, priority: int = ROUTINE) -> Job:
    """Look for documents of a study that were not looked at."""
    key = f"{FIND}:{study_instance_uid}"
    return Job(FIND, {"study": study_instance_uid}, priority=priority, delay_s=MOMENT_S, dedupe_key=key)


def _study_changed(event: Emitted) -> Job | None:
    """Only a study that got documents of others has any."""
    return None if CLASSES.isdisjoint(event.payload["derived"]) else find_documents_job(event.subject)


def _study_reindexed(event: Emitted) -> Job:
    """What came before a release that looks at documents can wait for what is new."""
    return find_documents_job(event.subject, LOW)


SUBSCRIPTIONS: Subscriptions = {STUDY_CHANGED: (_study_changed,), STUDY_REINDEXED: (_study_reindexed,)}


def document_handlers(services: Services) -> Handlers:
    """What the jobs do."""

    async def find(args: Args) -> None:
        from server.workflows.documents.map import waiting_documents

        async def work(unit: UnitOfWork) -> None:
            for uid in await waiting_documents(unit, args["study"]):
                unit.defer(Job(MAP, {"instance": uid}, dedupe_key=f"{MAP}:{uid}"))

        await services.database.transact(work)

    async def map_one(args: Args) -> None:
        from server.workflows.documents.map import map_document

        await map_document(services, args["instance"])

    return {FIND: find, MAP: map_one}
