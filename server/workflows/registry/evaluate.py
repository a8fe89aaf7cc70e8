"""A version on a holdout set, on the way that studies go: images, volume, runner in its sandbox, findings.

What came of each case is written down without anything of the images. A part of a set is written down too,
and opens no gate.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import msgspec
from sqlalchemy import RowMapping, insert

from ai_engine.evaluation.figures import figures_of, tables_of
from ai_engine.evaluation.holdout import Case, HoldoutInvalid, LoadedCase, load_case, read_holdout
from ai_engine.evaluation.outcome import Outcome, failed, outcome_of
from ai_engine.evaluation.proportion import Estimate
from ai_engine.interpret import interpret
from ai_engine.preprocess.volume import build_volume
from ai_engine.runners.port import RunnerFault, RunnerInput, SandboxUnavailable
from ai_engine.tables import ModelEvaluation
from server.kernel.access import Principal
from server.kernel.audit import Action
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of
from server.workflows.decoding import archive_decoding
from server.workflows.loaded_models import LoadedModel, LoadedModels
from server.workflows.registry.holdouts import find_holdout, require_unchanged
from server.workflows.registry.versions import Act, note, version_row

_EVALUATION = table_of(ModelEvaluation)

Told = Callable[[int, int], None]  # cases that are done, of how many


class FigureNotFinite(Fault):
    """An evaluation came to a figure that is no number."""

    kind = FaultKind.UNPROCESSABLE


@dataclass(frozen=True, slots=True)
class Evaluated:
    """What an evaluation showed."""

    cases: int
    whole: bool
    figures: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which version is to be evaluated on which set; `cases` None: on all of it."""

    model_name: str
    version: str
    holdout: str
    principal: Principal
    cases: int | None = None


async def evaluate(
    database: Database, models: LoadedModels, asked: Asked, told: Told = lambda _done, _all: None
) -> Evaluated:
    """Run a version on the cases of a set, and write down what came of it.

    Raises:
        ModelUnknown, HoldoutUnknown: there is no such version or set.
        HoldoutChanged: the set's files are not those that were registered.
        HoldoutInvalid: a case is not what it says.
        FigureNotFinite: a figure is no number.
        SandboxUnavailable: nothing can be run here.
    """
    async with database.read() as connection:
        row = await version_row(connection, asked.model_name, asked.version)
    known = await find_holdout(database, asked.holdout)
    folder = Path(known["folder"])
    await require_unchanged(known, folder)
    every = (await asyncio.to_thread(read_holdout, folder)).cases
    chosen = every if asked.cases is None else every[: asked.cases]
    model = await models.get(asked.model_name, asked.version)
    outcomes: dict[str, Outcome] = {}
    for done, case in enumerate(chosen):
        told(done, len(chosen))
        outcomes[case.id] = await _run_case(model, folder, case)
    told(len(chosen), len(chosen))
    await require_unchanged(known, folder)  # nor were they while cases were read
    evaluated = Evaluated(
        len(chosen),
        len(chosen) == len(every),
        await asyncio.to_thread(figures_of, list(outcomes.values())),
    )
    require_finite(evaluated.figures)
    await database.transact(lambda unit: _write(unit, asked, (row, known), outcomes, evaluated))
    return evaluated


def require_finite(figures: Mapping[str, Estimate]) -> None:
    """Let no figure be written down that is no number: nothing can be held against it.

    Raises:
        FigureNotFinite: one is not.
    """
    for name, figure in figures.items():
        if not all(map(isfinite, (figure.point, figure.lower, figure.upper))):
            raise FigureNotFinite(f"{name} is no finite number; nothing is written down.")


async def _run_case(model: LoadedModel, folder: Path, case: Case) -> Outcome:
    begun, truth = time.perf_counter(), case.truth
    try:
        loaded = await asyncio.to_thread(load_case, folder, case)
        truth = loaded.truth
        outcome = await _outcome(model, case, loaded)
    except (SandboxUnavailable, HoldoutInvalid):
        raise
    except Fault as fault:
        code = fault.code if isinstance(fault, RunnerFault) else type(fault).__name__
        outcome = failed(truth, code)
    return msgspec.structs.replace(outcome, seconds=round(time.perf_counter() - begun, 3))


async def _outcome(model: LoadedModel, case: Case, loaded: LoadedCase) -> Outcome:
    manifest = model.bundle.manifest
    volume = await asyncio.to_thread(build_volume, loaded.datasets, manifest.wants, archive_decoding())
    if loaded.labels is not None and loaded.labels.shape != volume.voxels.shape:
        raise HoldoutInvalid(f"{case.id}: the labels have another shape than the volume")
    work = RunnerInput(volume.voxels, volume.geometry, manifest.parameters, images=volume.images)
    output = await model.runner.run(work)
    findings = await asyncio.to_thread(
        interpret, manifest, output, volume.geometry, volume.remarks, volume.slice_names
    )
    made = output, findings, volume.geometry
    return await asyncio.to_thread(outcome_of, manifest, made, loaded.truth, loaded.labels)


async def _write(
    unit: UnitOfWork,
    asked: Asked,
    about: tuple[RowMapping, RowMapping],
    outcomes: dict[str, Outcome],
    evaluated: Evaluated,
) -> None:
    row, known = about
    await unit.lock([f"model:{asked.model_name}"])
    written = {
        "model_name": asked.model_name,
        "version": asked.version,
        "digest": row["digest"],
        "holdout": asked.holdout,
        "holdout_digest": known["digest"],
        "cases": evaluated.cases,
        "whole": evaluated.whole,
        "metrics": _json(evaluated.figures),
        "tables": _json(tables_of(list(outcomes.values()))),
        "outcomes": _json(outcomes),
        "ended_us": unit.now_us,
        "by": asked.principal.id,
    }
    await unit.execute(insert(_EVALUATION), [written])
    act = Act("evaluate", asked.principal, action=Action.EXECUTE)
    said = f"{evaluated.cases} cases of {asked.holdout} (sha256:{known['digest'][:12]})"
    await note(unit, asked.model_name, asked.version, act, (None, said))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def lines_of(evaluated: Evaluated) -> Sequence[str]:
    """The figures for people."""
    return [
        f"{name} {figure.point:.4g} (95 % {figure.lower:.4g} to {figure.upper:.4g}, of {figure.of})"
        for name, figure in evaluated.figures.items()
    ]
