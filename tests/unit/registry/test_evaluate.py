"""A version on a holdout set: the real way, and what is written down."""

import json
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from ai_engine.evaluation.figures import figures_of, tables_of
from ai_engine.evaluation.holdout import Case, HoldoutInvalid, PhantomCase, read_holdout
from ai_engine.evaluation.outcome import Outcome, TrueLesion, Truth, _overlaps, failed
from ai_engine.evaluation.proportion import Estimate, wilson
from ai_engine.findings import Code, Findings, ModelIdentity, Segment
from ai_engine.gate import Criterion
from ai_engine.phantom.series import small_series
from ai_engine.runners.process import RunnerPolicy
from ai_engine.tables import ModelEvaluation
from server.kernel.rows import table_of
from server.workflows.loaded_models import LoadedModels
from server.workflows.registry.decide import GateRefused, set_gate
from server.workflows.registry.evaluate import Asked, FigureNotFinite, evaluate, require_finite
from server.workflows.registry.holdouts import HoldoutChanged, InvalidHoldoutName, add_holdout, list_holdouts
from server.workflows.registry.overview import list_evaluations, show_model
from server.workflows.registry.stages import Stage
from server.workflows.registry.unpacked import UnpackedBundles
from tests.conftest import sqlite_first
from tests.services.bundles import MEAN

from .conftest import WHO, Registry

SPEC = {"slices": 4, "rows": 32, "columns": 32, "height_mm": 40.0}


def write_set(folder: Path, seeds: range, **truth: Any) -> Path:
    folder.mkdir()
    cases = [
        {
            "id": f"seed-{seed}",
            "phantom": {"generator": "chest", "spec": {**SPEC, "seed": seed}},
            "truth": truth,
        }
        for seed in seeds
    ]
    (folder / "holdout.json").write_text(
        json.dumps({"holdout_version": 1, "title": "Chests", "cases": cases})
    )
    return folder


def killed_after_one(done: int, _all: int) -> None:
    if done == 1:
        raise KeyboardInterrupt


@sqlite_first
async def test_evaluation_opens_the_gate_and_only_when_it_is_whole(
    registry: Registry, tmp_path: Path
) -> None:
    await registry.add("1.0.0", script=MEAN)
    folder = write_set(tmp_path / "chests", range(2), values={"mean_density": -400.0})
    await add_holdout(registry.database, "chests", folder, WHO)
    criterion = Criterion(metric="error.mean_density", holdout="chests", threshold=1000)
    await registry.do(lambda unit, asked: set_gate(unit, asked, [criterion]), "a test")
    models = LoadedModels(
        registry.database, RunnerPolicy(allow_unsandboxed=True), UnpackedBundles(registry.database)
    )
    try:
        before = (await show_model(registry.database, "tiny"))["history"]
        with pytest.raises(KeyboardInterrupt):
            await evaluate(registry.database, models, Asked("tiny", "1.0.0", "chests", WHO), killed_after_one)
        assert (await list_evaluations(registry.database, "tiny"))["evaluations"] == []
        assert (await show_model(registry.database, "tiny"))["history"] == before  # it begins anew
        part = await evaluate(registry.database, models, Asked("tiny", "1.0.0", "chests", WHO, 1))
        assert (part.cases, part.whole) == (1, False)
        with pytest.raises(GateRefused, match="not evaluated on the whole"):
            await registry.promote("1.0.0", Stage.PRODUCTION)
        whole = await evaluate(registry.database, models, Asked("tiny", "1.0.0", "chests", WHO))
        await registry.promote("1.0.0", Stage.PRODUCTION, None)
        (folder / "holdout.json").write_text((folder / "holdout.json").read_text() + " ")
        with pytest.raises(HoldoutChanged):
            await evaluate(registry.database, models, Asked("tiny", "1.0.0", "chests", WHO))
        await registry.add("1.0.0", name="other")
        for _ in range(2):  # the same files once more are no news
            await add_holdout(registry.database, "chests", folder, WHO)
    finally:
        await models.close()
    assert whole.figures["completed"] == wilson(2, 2)
    first, second = [(await show_model(registry.database, name))["history"] for name in ("tiny", "other")]
    assert [each["act"] for each in first].count("holdout") == 1
    assert first[0]["from"].startswith("chests sha256:")
    assert first[0]["from"] != first[0]["to"]
    assert "holdout" not in {each["act"] for each in second}
    query = select(table_of(ModelEvaluation)).order_by(table_of(ModelEvaluation).c.pk.desc())
    async with registry.database.read() as connection:
        row = (await connection.execute(query)).mappings().first()
    assert row is not None
    errors = [each["errors"]["mean_density"] for each in json.loads(row["outcomes"]).values()]
    assert whole.figures["error.mean_density"].point == pytest.approx(np.mean(np.abs(errors)))
    assert row["by"] == "user:ada"


@sqlite_first
async def test_case_that_cannot_be_read_fails_and_the_others_go_on(
    registry: Registry, tmp_path: Path
) -> None:
    await registry.add("1.0.0", script=MEAN)
    folder = write_set(tmp_path / "chests", range(1), values={"mean_density": -400.0})
    (folder / "text").mkdir()
    (folder / "text" / "notes.txt").write_text("no DICOM file")
    (folder / "sloppy").mkdir()
    for number, image in enumerate(small_series()):
        image.add_new("Rows", "OB", b"64")
        image.save_as(folder / "sloppy" / f"{number}.dcm")
    told = json.loads((folder / "holdout.json").read_text())
    told["cases"] += [{"id": name, "dicom": name, "truth": {}} for name in ("text", "sloppy")]
    (folder / "holdout.json").write_text(json.dumps(told))
    await add_holdout(registry.database, "chests", folder, WHO)
    models = LoadedModels(
        registry.database, RunnerPolicy(allow_unsandboxed=True), UnpackedBundles(registry.database)
    )
    try:
        whole = await evaluate(registry.database, models, Asked("tiny", "1.0.0", "chests", WHO))
    finally:
        await models.close()
    assert whole.figures["completed"] == wilson(1, 3)


@sqlite_first
async def test_set_that_changes_while_it_is_used(registry: Registry, tmp_path: Path) -> None:
    await registry.add("1.0.0", script=MEAN)
    folder = write_set(tmp_path / "chests", range(1), values={"mean_density": -400.0})
    await add_holdout(registry.database, "chests", folder, WHO)
    models = LoadedModels(
        registry.database, RunnerPolicy(allow_unsandboxed=True), UnpackedBundles(registry.database)
    )

    def change(_done: int, _of: int) -> None:
        (folder / "__pycache__").mkdir(exist_ok=True)  # a case may lie anywhere
        (folder / "__pycache__" / "labels.nii.gz").write_bytes(b"other")

    try:
        with pytest.raises(HoldoutChanged):
            await evaluate(registry.database, models, Asked("tiny", "1.0.0", "chests", WHO), change)
    finally:
        await models.close()
    async with registry.database.read() as connection:
        assert (await connection.execute(select(table_of(ModelEvaluation)))).first() is None


def test_figure_that_is_no_number_is_not_written() -> None:
    require_finite({"error.v": Estimate(1.0, 0.0, 2.0, 3)})
    for bad in (nan, inf):
        with pytest.raises(FigureNotFinite):
            require_finite({"error.v": Estimate(1.0, 0.0, bad, 3)})


@sqlite_first
async def test_set_is_known_by_its_content(registry: Registry, tmp_path: Path) -> None:
    folder = write_set(tmp_path / "chests", range(3))
    digest, cases = await add_holdout(registry.database, "chests", folder, WHO)
    (told,) = await list_holdouts(registry.database)
    assert (told["digest"], told["cases"], cases) == (digest, 3, 3)
    with pytest.raises(InvalidHoldoutName):
        await add_holdout(registry.database, "Chests", folder, WHO)


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ({"id": "a", "truth": {}}, "either dicom or phantom"),
        ({"id": "a", "dicom": "../out", "truth": {}}, "leads out"),
        ({"id": "a", "dicom": "a", "truth": {}}, "missing"),
        ({"id": "a", "phantom": {"generator": "no", "spec": {}}, "truth": {}}, "generators are"),
        ({"id": "a", "truth": {"positiv": True}}, "positiv"),
        ({"id": "../a", "truth": {}}, "id"),
    ],
)
def test_set_that_is_none(tmp_path: Path, case: dict[str, Any], says: str) -> None:
    (tmp_path / "holdout.json").write_text(json.dumps({"holdout_version": 1, "title": "x", "cases": [case]}))
    with pytest.raises(HoldoutInvalid, match=says):
        read_holdout(tmp_path)


def test_generator_that_changed_is_noticed() -> None:
    from ai_engine.evaluation.holdout import load_case

    phantom = PhantomCase("chest", {**SPEC, "seed": 1}, voxels_sha256="0" * 64)
    with pytest.raises(HoldoutInvalid, match="other voxels"):
        load_case(Path(), Case("a", Truth(), phantom=phantom))


def test_failed_case_counts_as_wrong() -> None:
    lesions = (TrueLesion((0, 0, 0), 5), TrueLesion((9, 9, 9), 5, counts=False))
    asked = Truth(positive=True, lesions=lesions, values={"v": 1.0}, segments={"lung": 1})
    positive = failed(asked, "model-raised")
    negative = failed(Truth(positive=False), "model-raised")
    found = figures_of([positive, negative])
    assert found["sensitivity"] == wilson(0, 1)
    assert found["specificity"] == wilson(0, 1)
    assert (found["lesion_sensitivity"].point, found["lesion_sensitivity"].of) == (0, 1)
    assert found["measured.v"] == wilson(0, 1)
    assert found["completed"] == wilson(0, 2)
    assert (found["dice.lung"].point, positive.volume_errors) == (0, {"lung": -1.0})
    assert "false_positives_per_scan" not in found
    assert figures_of([positive, negative] * 2)["auc"].point == 0


def test_what_is_drawn_where_nothing_is_counts_as_wrong() -> None:
    labels = np.zeros((1, 2, 2), np.uint8)
    drawn = labels.copy()
    drawn[0, 0, 0] = 3
    nothing = Code("0", "99TEST", "nothing")
    segment = Segment(3, "lesion", nothing, nothing, None, "lesion", (0, 0, 0))
    identity = ModelIdentity("tiny", "Tiny", "1.0.0", "Tests", nothing, "Tests.")
    found = Findings(identity, (segment,), drawn, (), (), "")
    assert _overlaps(found, Truth(segments={"lesion": 1}), labels) == {"lesion": (0.0, None)}


def test_figures_by_hand() -> None:
    outcomes = [
        Outcome(
            positive=True, score=0.9, called=True, found_at=(0.9, None), false_alarms=(0.6,), reported_at=0.5
        ),
        Outcome(positive=True, score=0.4, called=False, found_at=(0.4,), reported_at=0.5),
        Outcome(positive=False, score=0.2, called=False, found_at=(), false_alarms=(0.2,), reported_at=0.5),
        Outcome(positive=False, score=0.1, called=False, found_at=(), reported_at=0.5, dice={"lung": 0.5}),
    ]
    found = figures_of(outcomes)
    assert found["sensitivity"] == wilson(1, 2)
    assert found["specificity"] == wilson(2, 2)
    assert found["auc"].point == 1
    assert (found["lesion_sensitivity"].point, found["lesion_sensitivity"].of) == (1 / 3, 3)
    assert found["false_positives_per_scan"].point == 0.25
    assert found["lesion_sensitivity_at.0.25"].point == pytest.approx(2 / 3)
    assert found["brier"].point == pytest.approx((0.01 + 0.36 + 0.04 + 0.01) / 4)
    assert found["dice.lung"].point == 0.5
    tables = tables_of(outcomes)
    assert tables["scans"] == {"positive": 2, "negative": 2}
    assert tables["lesions"] == 3
