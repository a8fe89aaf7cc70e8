import json
import warnings
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.sr.codedict import codes
from pydicom.uid import UID

import dicomweb.worklist.codes as worklist_codes
from dicomweb.worklist.attempts import cancel, complete
from dicomweb.worklist.claims import claim
from dicomweb.worklist.codes import OBJECT_SET_INCOMPLETE, Code
from dicomweb.worklist.search import select_workitem
from dicomweb.worklist.ups_json import View, ups_json
from dicomweb.worklist.workitem import Reason
from server.kernel.access import EVERYONE
from server.kernel.database import Database
from tests.unit.worklist.kit import CT_IMAGE_STORAGE, armed, armed_uid, ct, store_study

BASE = "http://testserver"


async def step(database: Database, workitem_uid: str, *, instances: bool = True) -> Dataset:
    async with database.read() as connection:
        found = await connection.execute(select_workitem(workitem_uid, EVERYONE))
        row = found.mappings().one()
    study: dict[str, Any] = json.loads(row["study_attributes"] or "{}")
    as_json = json.loads(json.dumps(ups_json(row, View(study, BASE, instances))))
    assert list(as_json) == sorted(as_json)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data_set = Dataset.from_json(as_json)
    for element in data_set.iterall():
        assert dictionary_VR(element.tag) == element.VR, element.keyword
    return data_set


async def test_scheduled_step(database: Database) -> None:
    await store_study(database)
    ups = await step(database, await armed_uid(database))
    assert UID(ups.SOPClassUID).keyword == "UnifiedProcedureStepPush"
    assert (ups.ProcedureStepState, ups.ScheduledProcedureStepPriority) == ("SCHEDULED", "MEDIUM")
    assert (ups.ProcedureStepLabel, ups.WorklistLabel) == ("ct-quantification 1.0.0", "Isthmus AI")
    assert (str(ups.PatientName), ups.PatientID, ups.IssuerOfPatientID) == (
        "Doe^Jane",
        "MRN-1.2.3",
        "HOSPITAL",
    )
    assert ups.ScheduledProcedureStepModificationDateTime.endswith("+0000")
    assert ups.InputReadinessState == "READY"
    assert len(ups.UnifiedProcedureStepPerformedProcedureSequence) == 0
    assert "ReplacedProcedureStepSequence" not in ups
    assert "StudyDescription" not in ups


async def test_input_names_study_series_instances_and_where_to_get_them(database: Database) -> None:
    ups = await step(database, await armed_uid(database))
    (only,) = ups.InputInformationSequence
    assert (only.TypeOfInstances, only.StudyInstanceUID, only.SeriesInstanceUID) == (
        "DICOM",
        "1.2.3",
        "1.2.3.1",
    )
    references = [(r.ReferencedSOPClassUID, r.ReferencedSOPInstanceUID) for r in only.ReferencedSOPSequence]
    assert references == [(CT_IMAGE_STORAGE, uid) for uid in ct().sop_instance_uids]
    assert only.WADORSRetrievalSequence[0].RetrieveURL == f"{BASE}/dicom-web/studies/1.2.3/series/1.2.3.1"
    assert ups.ReferencedRequestSequence[0].StudyInstanceUID == "1.2.3"


async def test_search_names_no_instances(database: Database) -> None:
    ups = await step(database, await armed_uid(database), instances=False)
    assert ups.InputInformationSequence[0].StudyInstanceUID == "1.2.3"
    assert "ReferencedSOPSequence" not in ups.InputInformationSequence[0]


async def test_step_of_a_study_that_is_not_here_has_empty_patient(database: Database) -> None:
    ups = await step(database, await armed_uid(database))
    assert ups["PatientName"].is_empty
    assert ups["PatientID"].is_empty


async def test_transaction_uid_never_leaves(database: Database) -> None:
    await armed(database)
    taken = await claim(database, "w1", 30)
    assert taken is not None
    ups = await step(database, taken.workitem_uid)
    assert ups.ProcedureStepState == "IN PROGRESS"
    assert "TransactionUID" not in ups
    assert ups.UnifiedProcedureStepPerformedProcedureSequence[0].PerformedProcedureStepStartDateTime


async def test_completed_step_names_its_output(database: Database) -> None:
    await armed(database)
    taken = await claim(database, "w1", 30)
    assert taken is not None
    await database.transact(lambda unit: complete(unit, taken, (ct(slices=1, first=9),)))
    ups = await step(database, taken.workitem_uid)
    (performed,) = ups.UnifiedProcedureStepPerformedProcedureSequence
    output = performed.OutputInformationSequence[0]
    assert output.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.1.9"
    assert performed.PerformedProcedureStepEndDateTime
    assert ups.ProcedureStepProgressInformationSequence[0].ProcedureStepProgress == 100
    successor = await step(database, await armed_uid(database, slices=5))
    replaced = successor.ReplacedProcedureStepSequence[0]
    assert (replaced.ReferencedSOPClassUID, replaced.ReferencedSOPInstanceUID) == (
        successor.SOPClassUID,
        taken.workitem_uid,
    )


async def test_canceled_step_says_why(database: Database) -> None:
    await armed(database)
    taken = await claim(database, "w1", 30)
    assert taken is not None
    reason = Reason(OBJECT_SET_INCOMPLETE, "The series has one slice.")
    await database.transact(lambda unit: cancel(unit, taken, reason))
    (progress,) = (await step(database, taken.workitem_uid)).ProcedureStepProgressInformationSequence
    (code,) = progress.ProcedureStepDiscontinuationReasonCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("110523", "DCM")
    assert code.CodeMeaning == "Object Set incomplete"
    assert progress.ReasonForCancellation == "The series has one slice."
    assert progress.ProcedureStepCancellationDateTime


@pytest.mark.parametrize(
    "code",
    [value for name, value in vars(worklist_codes).items() if isinstance(value, Code) and name.isupper()],
    ids=lambda code: code.meaning,
)
def test_codes_are_the_dictionarys(code: Code) -> None:
    contexts = [*codes.cid9300.concepts.values(), *codes.cid9231.concepts.values()]
    assert tuple(code) in {(c.scheme_designator, c.value, c.meaning) for c in contexts}
