"""The audit entries of stored and refused instances: one per study, patient and outcome. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator

from dicomweb.response_codes import StoreFailure
from dicomweb.store.instances import InstanceResult
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry, Outcome


def audit_entries(
    principal: Principal, results: Iterable[InstanceResult], interaction: str = "stow"
) -> Iterator[AuditEntry]:
    """Entries for the acts behind `results`, with the number of instances as occurrences."""
    groups = Counter(
        (result.study_instance_uid or None, result.patient_id, _outcome(result), _action(result))
        for result in results
    )
    for (study, patient_id, outcome, action), count in groups.items():
        yield AuditEntry(
            principal,
            action,
            interaction,
            "ImagingStudy",
            study,
            patient_id=patient_id,
            outcome=outcome,
            occurrences=count,
        )


def _action(result: InstanceResult) -> Action:
    return Action.UPDATE if result.replaced else Action.CREATE


def _outcome(result: InstanceResult) -> Outcome:
    if result.refusal is None:
        return Outcome.SUCCESS
    if result.refusal.reason is StoreFailure.NOT_AUTHORIZED:
        return Outcome.SERIOUS_FAILURE
    return Outcome.MINOR_FAILURE
