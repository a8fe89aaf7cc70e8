"""Values of the worklist, and how a row of the workitem table becomes them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec
from sqlalchemy import RowMapping

from dicomweb.worklist.codes import UNSPECIFIED_REASON, Code
from dicomweb.worklist.state import Priority
from server.kernel.access import Principal
from server.kernel.uids import hash_of_uids

ENGINE = Principal("system:engine", "AI engine")
NOBODYS = ""  # the model of a workitem that names none of ours: it waits for an outside performer


class Outcome(Enum):
    """How an attempt of the engine stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    LOST = "lost"  # its lease ran out and somebody else went on
    CANCELED = "canceled"
    RELEASED = "released"  # given back by a worker that had to stop; counts for nothing


@dataclass(frozen=True, slots=True)
class SeriesReference:
    """Instances of one series and one SOP class, as input or output of a workitem."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a workitem is discontinued: a code of CID 9300 (or of the performer), and words for people."""

    code: Code | None
    text: str | None
    fault: str | None = None  # of the engine's: what the fault is called where it is counted


@dataclass(frozen=True, slots=True)
class NewWorkitem:
    """A demand of a routing rule: run this model version on these instances."""

    rule: str
    model_name: str
    model_version: str
    study_instance_uid: str
    patient_id: str | None  # FHIR Patient id of the study; None: unassigned or conflict
    input: tuple[SeriesReference, ...]
    priority: Priority = Priority.MEDIUM

    @property
    def input_hash(self) -> str:
        """The hash over the input's SOP Instance UIDs: another hash is another demand."""
        return hash_of_uids(uid for series in self.input for uid in series.sop_instance_uids)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a workitem, until the lease ends or somebody else claims it."""

    workitem_pk: int
    workitem_uid: str
    attempt: int
    worker: str
    rule: str
    model_name: str
    model_version: str
    study_instance_uid: str
    patient_id: str | None
    priority: Priority
    input: tuple[SeriesReference, ...]
    input_hash: str
    predecessor_uid: str | None
    scheduled_us: int
    traceparent: str | None  # of what asked for it

    @property
    def principal(self) -> Principal:
        """The worker, as audit names it."""
        return worker_principal(self.worker)


def worker_principal(worker: str) -> Principal:
    """A worker process, as audit names it."""
    return Principal(f"system:worker:{worker}", worker)


def claim_of(row: RowMapping, *, attempt: int, worker: str) -> Claim:
    """The claim of `worker` on a row of the workitem table."""
    return Claim(
        workitem_pk=row["pk"],
        workitem_uid=row["workitem_uid"],
        attempt=attempt,
        worker=worker,
        rule=row["rule"],
        model_name=row["model_name"],
        model_version=row["model_version"],
        study_instance_uid=row["study_instance_uid"],
        patient_id=row["patient_id"],
        priority=Priority(row["priority"]),
        input=decode_series(row["input"]),
        input_hash=row["input_hash"],
        predecessor_uid=row["predecessor_uid"],
        scheduled_us=row["scheduled_us"],
        traceparent=row["traceparent"],
    )


def reason_of(row: Mapping[str, Any] | RowMapping) -> Reason | None:
    """The discontinuation reason in a row of the workitem table; None: none was given."""
    if row["reason_code"] is None:
        return Reason(None, row["reason_text"]) if row["reason_text"] else None
    code = Code(row["reason_scheme"], row["reason_code"], row["reason_meaning"])
    return Reason(code, row["reason_text"])


def final_reason(*candidates: Reason | None) -> Reason:
    """The first reason there is, with a code: CANCELED must have one (PS3.4 Table CC.2.5-3)."""
    reason = next((candidate for candidate in candidates if candidate is not None), Reason(None, None))
    return reason if reason.code else Reason(UNSPECIFIED_REASON, reason.text)


def reason_columns(reason: Reason | None) -> dict[str, str | None]:
    """The columns of a discontinuation reason; all empty for None."""
    code = reason.code if reason else None
    return {
        "reason_scheme": code.scheme if code else None,
        "reason_code": code.value if code else None,
        "reason_meaning": code.meaning if code else None,
        "reason_text": reason.text if reason else None,
    }


def encode_series(references: Iterable[SeriesReference]) -> str:
    """The JSON text of the columns `input` and `output`."""
    return msgspec.json.encode(list(references)).decode()


def decode_series(text: str) -> tuple[SeriesReference, ...]:
    """The references in a column `input` or `output`."""
    return _SERIES.decode(text)


_SERIES: msgspec.json.Decoder[tuple[SeriesReference, ...]] = msgspec.json.Decoder(tuple[SeriesReference, ...])

Columns = dict[str, Any]
