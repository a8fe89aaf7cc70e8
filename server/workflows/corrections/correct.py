"""Set, read and withdraw what an administrator says of a study or series (DESIGN §5, Corrections).

One transaction under the study's lock, which Store, publication and deletion take too: the overlay, the keys
of searches, the words of names, the Patient that was made from this study, audit and outbox. Stored bytes and
the metadata of instances stay as sent.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import orjson

from dicomweb.attributes import DicomJson
from dicomweb.overlay.layers import lift
from dicomweb.overlay.write import (
    NO_CORRECTION,
    STUDY_CORRECTED,
    Correction,
    HeldSeries,
    HeldStudy,
    hold_series,
    hold_study,
    write_series,
    write_study,
)
from dicomweb.tables import Study
from fhir.interactions.authored import put_resource
from fhir.interactions.body import same_content
from fhir.interactions.read import read_resource
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import instant_text
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind, NotFound
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.site import Site
from server.workflows.corrections.requests import Asked
from server.workflows.projection import PROJECTION, patient_of_study

_STUDY = table_of(Study)


class ChangedMeanwhile(Fault):
    """The correction is not the one that the request was made for (RFC 9110 §13.1.1)."""

    kind = FaultKind.PRECONDITION_FAILED


@dataclass(frozen=True, slots=True)
class Target:
    """A study, or one of its series."""

    study: str
    series: str | None = None

    @property
    def uid(self) -> str:
        """The UID of what is corrected."""
        return self.series or self.study


@dataclass(frozen=True, slots=True)
class Act:
    """Who acts on what; `if_match`: only while its correction has this entity tag, None: whatever it is."""

    target: Target
    principal: Principal
    if_match: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """How a study or series stands: what is shown of it otherwise, and what was sent."""

    body: dict[str, Any]

    @property
    def entity_tag(self) -> str:
        """Tells this state from others."""
        return f'"{sha256(orjson.dumps(self.body)).hexdigest()[:32]}"'


async def read_state(services: Services, target: Target) -> State:
    """How it stands now.

    Raises:
        NotFound: there is no such study or series.
    """

    async def work(unit: UnitOfWork) -> State:
        return _state(target, *await _hold(unit, target))

    return await services.database.transact(work)


async def correct(services: Services, act: Act, asked: Asked) -> State:
    """Show these attributes, and of an earlier correction nothing; returns how it stands then.

    Raises:
        NotFound: there is no such study or series.
        ChangedMeanwhile: see `Act.if_match`.
    """
    return await services.database.transact(lambda unit: _write(unit, act, asked, services.site))


async def withdraw(services: Services, act: Act) -> State:
    """Show everything as sent again, but for a merge; returns how it stands then.

    Raises:
        NotFound: there is no such study or series, or it is not corrected.
        ChangedMeanwhile: see `Act.if_match`.
    """
    return await services.database.transact(lambda unit: _write(unit, act, None, services.site))


async def _hold(unit: UnitOfWork, target: Target) -> tuple[HeldStudy, HeldSeries | None]:
    await unit.lock([f"study:{target.study}"])
    study = await hold_study(unit, _STUDY.c.study_instance_uid == target.study)
    if study is None:
        raise NotFound("There is no such study.")
    if target.series is None:
        return study, None
    series = await hold_series(unit, study.row["id"], target.series)
    if series is None:
        raise NotFound("There is no such series in this study.")
    return study, series


async def _write(unit: UnitOfWork, act: Act, asked: Asked | None, site: Site) -> State:
    study, series = await _hold(unit, act.target)
    before = _state(act.target, study, series)
    if act.if_match is not None and act.if_match not in ("*", before.entity_tag):
        raise ChangedMeanwhile("The correction has changed since it was read; read it again.")
    if asked is None and not (series or study).correction.attributes:
        raise NotFound("It is not corrected.")
    correction = NO_CORRECTION
    if asked is not None:
        correction = Correction(asked.attributes, unit.now_us, act.principal.id, asked.reason)
    if series is not None:
        await write_series(unit, replace(series, correction=correction))
    else:
        await _write_study(unit, replace(study, correction=correction), site)
    unit.emit(STUDY_CORRECTED, act.target.study)
    unit.audit(_entry(act, "withdraw-correction" if asked is None else "correct", study.row["patient_id"]))
    return _state(act.target, *await _hold(unit, act.target))


async def _write_study(unit: UnitOfWork, held: HeldStudy, site: Site) -> None:
    """The study, and the Patient that says what the study said of its person."""
    before: DicomJson = orjson.loads(held.row["attributes"])
    shown = await write_study(unit, held, site)
    patient_id = held.row["patient_id"]
    if patient_id is None or held.merged:
        return
    known = await read_resource(unit.connection, "Patient", patient_id)
    if known is not None and same_content(known, patient_of_study(held.row, before)):
        await put_resource(unit, patient_of_study(held.row, shown), PROJECTION)


def _state(target: Target, study: HeldStudy, series: HeldSeries | None) -> State:
    held = series or study
    correction = held.correction
    sent = lift(orjson.loads(held.row["attributes"]), held.sent)
    named = {*correction.attributes, *(study.merged if series is None else ())}
    body: dict[str, Any] = {
        "study": target.study,
        **({"series": target.series} if target.series else {}),
        "attributes": correction.attributes,
        "reason": correction.reason,
        "by": correction.made_by,
        "at": None if correction.made_us is None else instant_text(correction.made_us),
        "sent": {key: sent.get(key) for key in sorted(named)},
    }
    if series is None:
        body["merged"] = study.merged
    return State(body)


def _entry(act: Act, interaction: str, patient_id: str | None) -> AuditEntry:
    uid = act.target.uid
    return AuditEntry(act.principal, Action.UPDATE, interaction, "ImagingStudy", uid, patient_id)
