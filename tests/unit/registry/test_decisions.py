"""Versions, stages and pointers: on both databases."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from ai_engine.bundle import load_bundle
from ai_engine.gate import Criterion
from ai_engine.runners.process import RunnerPolicy
from ai_engine.tables import HoldoutSet, Model, ModelEvaluation, ModelFileChunk, ModelVersion, RoutingRule
from fhir.interactions.read import read_resource
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.tables import AuditRow, OutboxEvent
from server.workflows import models
from server.workflows.loaded_models import LoadedModels, ModelNotUsable
from server.workflows.models import keep_shipped, register_shipped
from server.workflows.registry.add import VersionTaken, add_bundle
from server.workflows.registry.decide import (
    FilesGone,
    GateRefused,
    NothingToRollBack,
    ReasonMissing,
    TransitionRefused,
    promote,
    retire,
    roll_back,
    set_gate,
    set_traffic,
    take_canary_back,
)
from server.workflows.registry.overview import list_models, show_model
from server.workflows.registry.stages import ALLOWED, Stage
from server.workflows.registry.traffic import serving
from server.workflows.registry.unpacked import BundleDamaged, UnpackedBundles
from server.workflows.registry.versions import (
    MODEL_CHANGED,
    ModelChanged,
    ModelUnknown,
    revision_of,
    version_row,
)
from tests.conftest import sqlite_first
from tests.services.bundles import make_bundle

from .conftest import WHO, Registry


async def rows_of(registry: Registry, table: Any) -> list[dict[str, Any]]:
    async with registry.database.read() as connection:
        return [dict(row) for row in (await connection.execute(select(table_of(table)))).mappings()]


async def device(registry: Registry, version: str) -> Any:
    async with registry.database.read() as connection:
        row = await version_row(connection, "tiny", version)
        return await read_resource(connection, "Device", row["device_id"])


async def test_added_version_is_a_candidate_with_its_files_and_device(registry: Registry) -> None:
    bundle = await registry.add("1.0.0")
    assert await registry.stages() == {"1.0.0": "candidate"}
    found = await device(registry, "1.0.0")
    assert (found["status"], found["version"][0]["value"]) == ("active", "1.0.0")
    assert found["note"][0]["text"] == "Research use only. Not for clinical use."
    told = await show_model(registry.database, "tiny")
    (version,) = told["versions"]
    assert version["digest"] == bundle.digest
    assert {file["path"] for file in version["files"]} >= {"isthmus.json", "scripts/tiny.py"}
    assert [(each["act"], each["by"], each["to"]) for each in told["history"]] == [
        ("add", "user:ada", "candidate")
    ]
    assert await rows_of(registry, RoutingRule) == []  # nothing is routed to a candidate


async def test_versions_never_change(registry: Registry, tmp_path: Path) -> None:
    await registry.add("1.0.0")
    await registry.add("1.0.0")  # the same once more changes nothing
    assert len((await show_model(registry.database, "tiny"))["history"]) == 1
    other = make_bundle(tmp_path / "other", script="def run(*_):\n    return {}\n")
    with pytest.raises(VersionTaken, match="registered with other files"):
        await add_bundle(registry.database, other, WHO)


async def test_files_reach_a_worker_whole(registry: Registry, tmp_path: Path) -> None:
    script = "# " + "x" * (3 << 20) + "\ndef run(*_):\n    return {}\n"  # more than one chunk
    bundle = await registry.add("1.0.0", script=script)
    (row,) = await rows_of(registry, ModelVersion)
    unpacked = UnpackedBundles(registry.database, tmp_path / "cache")
    path = await unpacked.path_of("tiny", "1.0.0", row["digest"], row["files"])
    assert load_bundle(path).digest == bundle.digest
    (path / "scripts/tiny.py").write_text("changed on disk")
    assert (
        load_bundle(await unpacked.path_of("tiny", "1.0.0", row["digest"], row["files"])).digest
        == bundle.digest
    )
    assert [each.name for each in path.parent.iterdir()] == [f"1.0.0-{bundle.digest[:12]}"]
    unpacked.close()


@sqlite_first
async def test_damaged_files_are_refused(registry: Registry) -> None:
    await registry.add("1.0.0")
    (row,) = await rows_of(registry, ModelVersion)
    chunk = table_of(ModelFileChunk)

    async def damage(unit: UnitOfWork) -> None:
        await unit.execute(update(chunk).values(body=b"damaged"))

    await registry.database.transact(damage)
    unpacked = UnpackedBundles(registry.database)
    with pytest.raises(BundleDamaged):
        await unpacked.path_of("tiny", "1.0.0", row["digest"], row["files"])
    escaping = json.dumps([{"path": "../out", "sha256": "0" * 64, "size": 0}])
    with pytest.raises(BundleDamaged):
        await unpacked.path_of("tiny", "1.0.0", row["digest"], escaping)
    unpacked.close()


async def test_first_promotion_routes_studies_and_the_next_retires_it(registry: Registry) -> None:
    await registry.add("1.0.0")
    await registry.promote("1.0.0", Stage.PRODUCTION)
    (rule,) = await rows_of(registry, RoutingRule)
    assert (rule["name"], rule["model_name"], rule["enabled"]) == ("tiny", "tiny", True)
    wants = {"modalities": ["CT"], "sop_classes": ["CTImageStorage"], "minimum_slices": 5, "quiet_time_s": 1}
    await registry.add("2.0.0", wants=wants)
    await registry.promote("2.0.0", Stage.PRODUCTION)
    assert await registry.stages() == {"1.0.0": "retired", "2.0.0": "production"}
    (rule,) = await rows_of(registry, RoutingRule)
    assert json.loads(rule["selection"])["minimum_slices"] == 5  # nobody had changed the rule: it follows
    assert [(await device(registry, each))["status"] for each in ("1.0.0", "2.0.0")] == ["inactive", "active"]
    acts = [
        each["interaction"]
        for each in await rows_of(registry, AuditRow)
        if each["resource_id"] and "tiny" in each["resource_id"]
    ]
    assert acts.count("model-promote") == 2
    assert acts.count("model-succeeded") == 1
    events = [each for each in await rows_of(registry, OutboxEvent) if each["kind"] == MODEL_CHANGED]
    assert json.loads(events[-1]["payload"]) == {
        "version": "2.0.0",
        "act": "promote",
        "from": "candidate",
        "to": "production",
    }


@sqlite_first
async def test_rollback_moves_the_pointer_back_once(registry: Registry) -> None:
    await registry.add("1.0.0")
    await registry.add("2.0.0")
    await registry.promote("1.0.0", Stage.PRODUCTION)
    with pytest.raises(NothingToRollBack):
        await registry.do(roll_back)
    await registry.promote("2.0.0", Stage.PRODUCTION)
    assert await registry.do(roll_back, "it looked odd") == "1.0.0"
    assert await registry.stages() == {"1.0.0": "production", "2.0.0": "candidate"}
    assert (await show_model(registry.database, "tiny"))["history"][0]["reason"] == "it looked odd"
    with pytest.raises(NothingToRollBack):
        await registry.do(roll_back)


@sqlite_first
async def test_version_that_is_retired_again_is_not_gone_back_to(registry: Registry) -> None:
    await registry.add("1.0.0")
    await registry.add("2.0.0")
    await registry.promote("1.0.0", Stage.PRODUCTION)
    await registry.promote("2.0.0", Stage.PRODUCTION)
    with pytest.raises(ReasonMissing):
        await registry.do(lambda unit, asked: retire(unit, asked, "1.0.0"))
    await registry.do(lambda unit, asked: retire(unit, asked, "1.0.0"), "it misses what is small")
    told = await show_model(registry.database, "tiny")
    assert (told["previousVersion"], told["history"][0]["reason"]) == (None, "it misses what is small")
    with pytest.raises(NothingToRollBack):
        await registry.do(roll_back)
    with pytest.raises(TransitionRefused, match="retired already"):
        await registry.do(lambda unit, asked: retire(unit, asked, "1.0.0"), "once more")
    assert await registry.stages() == {"1.0.0": "retired", "2.0.0": "production"}


async def test_canary_gets_traffic_and_goes_back(registry: Registry) -> None:
    await registry.add("1.0.0")
    await registry.add("2.0.0")
    await registry.add("3.0.0")
    with pytest.raises(TransitionRefused, match="no version in production"):
        await registry.promote("2.0.0", Stage.CANARY)
    await registry.promote("1.0.0", Stage.PRODUCTION)
    with pytest.raises(TransitionRefused, match="no canary"):
        await registry.do(lambda unit, asked: set_traffic(unit, asked, 10))
    await registry.promote("2.0.0", Stage.CANARY)
    with pytest.raises(TransitionRefused, match=r"2\.0\.0 is the canary"):
        await registry.promote("3.0.0", Stage.CANARY)
    await registry.do(lambda unit, asked: set_traffic(unit, asked, 1250))
    async with registry.database.read() as connection:
        now = await serving(connection, "tiny")
    assert (now.production, now.canary, now.canary_share) == ("1.0.0", "2.0.0", 1250)
    with pytest.raises(TransitionRefused, match="has a canary"):
        await registry.do(lambda unit, asked: retire(unit, asked, "1.0.0"), "why not")
    await registry.do(lambda unit, asked: take_canary_back(unit, asked, "2.0.0"))
    async with registry.database.read() as connection:
        now = await serving(connection, "tiny")
    assert (now.production, now.canary, now.canary_share) == ("1.0.0", None, 0)


@sqlite_first
async def test_retiring_production_needs_a_reason(registry: Registry) -> None:
    await registry.add("1.0.0")
    await registry.promote("1.0.0", Stage.PRODUCTION)
    with pytest.raises(ReasonMissing):
        await registry.do(lambda unit, asked: retire(unit, asked, "1.0.0"))
    await registry.do(lambda unit, asked: retire(unit, asked, "1.0.0"), "recalled")
    assert await registry.stages() == {"1.0.0": "retired"}
    await registry.promote("1.0.0", Stage.CANDIDATE)  # and may come back


@sqlite_first
async def test_without_a_gate_a_reason_is_asked_for(registry: Registry) -> None:
    await registry.add("1.0.0")
    with pytest.raises(ReasonMissing, match="has no gate"):
        await registry.promote("1.0.0", Stage.PRODUCTION, None)
    await registry.promote("1.0.0", Stage.SHADOW, None)  # nothing of it reaches clinicians


@sqlite_first
async def test_unknown_names(registry: Registry) -> None:
    with pytest.raises(ModelUnknown):
        await registry.promote("1.0.0", Stage.SHADOW)
    await registry.add("1.0.0")
    with pytest.raises(ModelUnknown):
        await registry.promote("9.0.0", Stage.SHADOW)


def evaluation(**changes: Any) -> dict[str, Any]:
    figure = {"point": 0.95, "lower": 0.92, "upper": 0.98, "of": 400}
    row = {
        "model_name": "tiny",
        "version": "1.0.0",
        "holdout": "chests",
        "holdout_digest": "set",
        "cases": 400,
        "whole": True,
        "metrics": json.dumps({"sensitivity": figure}),
        "tables": "{}",
        "outcomes": "{}",
        "ended_us": 1,
        "by": "user:ada",
    }
    return row | changes


async def test_gate_holds_until_the_evaluation_is_there(registry: Registry) -> None:
    bundle = await registry.add("1.0.0")
    criterion = Criterion(metric="sensitivity", holdout="chests", threshold=0.9)
    await registry.do(lambda unit, asked: set_gate(unit, asked, [criterion]), "a test")

    async def evaluated(**changes: Any) -> None:
        async def write(unit: UnitOfWork) -> None:
            await unit.execute(delete(table_of(ModelEvaluation)))
            await unit.execute(delete(table_of(HoldoutSet)))
            known = {"name": "chests", "digest": "set", "folder": "", "cases": 400}
            await unit.execute(
                insert(table_of(HoldoutSet)), [{**known, "registered_us": 1, "registered_by": "x"}]
            )
            await unit.execute(
                insert(table_of(ModelEvaluation)), [evaluation(**{"digest": bundle.digest, **changes})]
            )

        await registry.database.transact(write)

    async def refused() -> str:
        with pytest.raises(GateRefused) as caught:
            await registry.promote("1.0.0", Stage.PRODUCTION, "a reason opens no gate")
        return str(caught.value)

    assert "not evaluated on the whole of chests" in await refused()
    await evaluated(whole=False)
    assert "not evaluated" in await refused()
    await evaluated(digest="of other files")
    assert "not evaluated" in await refused()
    await evaluated(holdout_digest="of another set")
    assert "not evaluated" in await refused()
    low = {"sensitivity": {"point": 0.95, "lower": 0.89, "upper": 0.98, "of": 400}}
    await evaluated(metrics=json.dumps(low))
    assert "the lower bound 0.89 is below 0.9" in await refused()
    await evaluated()
    await registry.promote("1.0.0", Stage.PRODUCTION, None)


@sqlite_first
async def test_manifest_brings_no_lower_gate_along(registry: Registry) -> None:
    gate = [{"metric": "sensitivity", "holdout": "chests", "threshold": 0.9}]
    await registry.add("1.0.0")
    await registry.promote("1.0.0", Stage.PRODUCTION)
    await registry.add("2.0.0", gate=gate)
    with pytest.raises(GateRefused):
        await registry.promote("2.0.0", Stage.CANARY)
    model = table_of(ModelVersion)

    async def force(unit: UnitOfWork) -> None:
        await unit.execute(update(model).where(model.c.version == "1.0.0").values(stage="retired"))
        await unit.execute(update(model).where(model.c.version == "2.0.0").values(stage="production"))

    await registry.database.transact(force)
    await registry.add("3.0.0")  # says nothing of a gate
    with pytest.raises(GateRefused):
        await registry.promote("3.0.0", Stage.CANARY)


async def test_of_two_decisions_at_once_one_wins(registry: Registry) -> None:
    await registry.add("1.0.0")
    await registry.add("2.0.0")
    async with registry.database.read() as connection:
        revision = await revision_of(connection, "tiny")

    async def one(version: str) -> str:
        try:
            await registry.do(
                lambda unit, asked: promote(unit, asked, version, Stage.PRODUCTION), "both", revision
            )
        except ModelChanged:
            return "refused"
        return version

    done = await asyncio.gather(one("1.0.0"), one("2.0.0"))
    assert sorted(done)[-1] == "refused"
    (winner,) = set(done) - {"refused"}
    assert {version for version, stage in (await registry.stages()).items() if stage == "production"} == {
        winner
    }


def test_every_stage_leads_on() -> None:
    assert ALLOWED.keys() == set(Stage)
    assert all(stage not in others for stage, others in ALLOWED.items())


@sqlite_first
async def test_upgrade_of_the_package_swaps_only_what_nobody_governs(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ship(version: str) -> None:
        bundle = load_bundle(make_bundle(tmp_path / version, "tiny", version))
        monkeypatch.setattr(models, "shipped_bundles", lambda: (bundle,))

    registry = Registry(services, tmp_path)
    for version in ("1.0.0", "1.1.0"):
        ship(version)
        await register_shipped(services.database)
    assert await registry.stages() == {"1.0.0": "retired", "1.1.0": "production"}
    assert await registry.do(roll_back) == "1.0.0"  # an operator decides
    ship("1.2.0")
    await register_shipped(services.database)
    assert await registry.stages() == {"1.0.0": "production", "1.1.0": "candidate", "1.2.0": "candidate"}
    listed = await list_models(services.database)
    assert {row["stage"] for row in listed["models"]} == {"production", "candidate"}


@sqlite_first
async def test_rule_of_an_earlier_release_follows_the_shipped_upgrade(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, rule = Registry(services, tmp_path), table_of(RoutingRule)
    wants = {"modalities": ["CT"], "sop_classes": ["CTImageStorage"]}
    selections = []
    for version, more in (
        ("1.0.0", {"quiet_time_s": 1}),
        ("1.1.0", {"minimum_slices": 7, "quiet_time_s": 9}),
    ):
        bundle = load_bundle(make_bundle(tmp_path / version, "tiny", version, wants={**wants, **more}))
        monkeypatch.setattr(models, "shipped_bundles", lambda bundle=bundle: (bundle,))
        await register_shipped(services.database)
        (row,) = await rows_of(registry, RoutingRule)
        selections.append((json.loads(row["selection"]).get("minimum_slices"), row["quiet_time_s"]))
        as_it_was = json.dumps({**wants, "quiet_time_s": 1})  # its release knew no more
        statement = update(rule).values(selection=as_it_was)
        await services.database.transact(lambda unit, statement=statement: unit.execute(statement))  # type: ignore[misc]
    assert selections == [(2, 1), (7, 9)]


@sqlite_first
async def test_another_gate_needs_a_reason(registry: Registry) -> None:
    await registry.add("1.0.0")
    for criteria in ([], None, [Criterion(metric="sensitivity", holdout="chests", threshold=0.9)]):
        with pytest.raises(ReasonMissing, match="Another gate"):
            await registry.do(lambda unit, asked, criteria=criteria: set_gate(unit, asked, criteria))
    await registry.do(lambda unit, asked: set_gate(unit, asked, []), "evaluated on paper")


@sqlite_first
async def test_shipped_version_survives_the_upgrade_of_its_package(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, folder = Registry(services, tmp_path), tmp_path / "package"
    shipped = {}
    for version in ("1.0.0", "1.1.0"):  # in one folder: an upgrade puts the new files over the old ones
        shipped[version] = load_bundle(make_bundle(folder, "tiny", version))
        monkeypatch.setattr(models, "shipped_bundles", lambda version=version: (shipped[version],))
        await keep_shipped(services.database)
        await register_shipped(services.database)
    unpacked = UnpackedBundles(services.database, tmp_path / "cache")
    loaded = LoadedModels(services.database, RunnerPolicy(), unpacked)
    assert (await loaded._load("tiny", "1.0.0")).digest == shipped["1.0.0"].digest
    assert await registry.do(roll_back) == "1.0.0"
    await registry.promote("1.1.0", Stage.PRODUCTION)
    chunk = table_of(ModelFileChunk)
    await services.database.transact(lambda unit: unit.execute(delete(chunk)))
    with pytest.raises(NothingToRollBack):
        await registry.do(roll_back)
    await registry.promote("1.0.0", Stage.CANDIDATE)
    with pytest.raises(FilesGone):
        await registry.promote("1.0.0", Stage.CANARY)
    unpacked.close()
    unpacked.folder = tmp_path / "empty"
    with pytest.raises(ModelNotUsable):
        await loaded._load("tiny", "1.0.0")
    await loaded.close()


@sqlite_first
async def test_version_of_an_earlier_release_is_completed(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(make_bundle(tmp_path / "shipped"))
    monkeypatch.setattr(models, "shipped_bundles", lambda: (bundle,))
    registry = Registry(services, tmp_path)
    row = {
        "name": "tiny",
        "version": "1.0.0",
        "digest": bundle.digest,
        "path": str(bundle.path),
        "files": "[]",
        "manifest": (bundle.path / "isthmus.json").read_text(),
        "stage": "production",
        "registered_us": 1,
    }

    async def as_it_was(unit: UnitOfWork) -> None:
        await unit.execute(insert(table_of(ModelVersion)), [row])
        await unit.execute(insert(table_of(Model)), [{"name": "tiny", "revision": 0, "canary_share": 0}])

    await services.database.transact(as_it_was)
    await register_shipped(services.database)
    assert (await device(registry, "1.0.0"))["status"] == "active"
    (told,) = (await show_model(services.database, "tiny"))["versions"]
    assert len(told["files"]) == 5
