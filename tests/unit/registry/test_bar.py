"""Versions known to be bad: nothing puts them to work, and nothing is compared with them."""

import json

import pytest
from sqlalchemy import insert

from ai_engine.gate import Criterion
from ai_engine.tables import HoldoutSet, ModelEvaluation
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.workflows.registry.bar import bar, lift_bar
from server.workflows.registry.decide import (
    GateRefused,
    NothingToRollBack,
    ReasonMissing,
    TransitionRefused,
    VersionBarred,
    retire,
    roll_back,
    set_gate,
)
from server.workflows.registry.overview import list_models, show_model
from server.workflows.registry.stages import Stage
from tests.conftest import sqlite_first

from .conftest import Registry

BAD = "it misses what is small"


async def succeed(registry: Registry, *versions: str) -> None:
    """Versions in production, one after the other."""
    for version in versions:
        await registry.add(version)
        await registry.promote(version, Stage.PRODUCTION)


async def do_bar(registry: Registry, version: str, reason: str | None = BAD) -> None:
    await registry.do(lambda unit, asked: bar(unit, asked, version), reason)


async def test_barred_version_is_neither_promoted_nor_gone_back_to(registry: Registry) -> None:
    await succeed(registry, "1.0.0", "2.0.0")
    with pytest.raises(ReasonMissing):
        await do_bar(registry, "1.0.0", None)
    await do_bar(registry, "1.0.0")
    with pytest.raises(TransitionRefused, match="barred already"):
        await do_bar(registry, "1.0.0")
    with pytest.raises(NothingToRollBack):
        await registry.do(roll_back)
    with pytest.raises(VersionBarred, match="unbar it first"):
        await registry.promote("1.0.0", Stage.CANDIDATE)
    told = await show_model(registry.database, "tiny")
    newest, versions = told["history"][0], {each["version"]: each for each in told["versions"]}
    assert (newest["act"], newest["to"], newest["reason"]) == ("bar", "barred", BAD)
    assert (versions["1.0.0"]["barred"] is None, versions["2.0.0"]["barred"] is None) == (False, True)
    assert [each["barred"] for each in (await list_models(registry.database))["models"]] == [True, False]
    with pytest.raises(ReasonMissing):
        await registry.do(lambda unit, asked: lift_bar(unit, asked, "1.0.0"))
    await registry.do(lambda unit, asked: lift_bar(unit, asked, "1.0.0"), "the scanner it was")
    assert await registry.do(roll_back) == "1.0.0"
    with pytest.raises(TransitionRefused, match="not barred"):
        await registry.do(lambda unit, asked: lift_bar(unit, asked, "1.0.0"), "once more")


@sqlite_first
async def test_barring_takes_out_of_every_stage_but_production(registry: Registry) -> None:
    await succeed(registry, "1.0.0")
    for stage in (Stage.CANDIDATE, Stage.SHADOW, Stage.CANARY):
        version = f"2.0.{len(await registry.stages())}"
        await registry.add(version)
        if stage is not Stage.CANDIDATE:
            await registry.promote(version, stage)
        await do_bar(registry, version)
        assert (await registry.stages())[version] == "retired"
    with pytest.raises(TransitionRefused, match="is in production; roll it back or retire it"):
        await do_bar(registry, "1.0.0")


async def evaluated(registry: Registry, sensitivity: dict[str, float]) -> None:
    """Evaluations of the versions on one set."""
    told = await show_model(registry.database, "tiny")
    about = {"model_name": "tiny", "holdout": "chests", "holdout_digest": "set", "cases": 9, "whole": True}
    about |= {"tables": "{}", "outcomes": "{}", "ended_us": 1, "by": "user:ada"}
    rows = []
    for each in told["versions"]:
        share = sensitivity[each["version"]]
        figure = {"point": share, "lower": share, "upper": share, "of": 400}
        named = {"version": each["version"], "digest": each["digest"]}
        rows.append({**about, **named, "metrics": json.dumps({"sensitivity": figure})})

    async def write(unit: UnitOfWork) -> None:
        known = {"name": "chests", "digest": "set", "folder": "", "cases": 9, "registered_us": 1}
        await unit.execute(insert(table_of(HoldoutSet)), [{**known, "registered_by": "x"}])
        await unit.execute(insert(table_of(ModelEvaluation)), rows)

    await registry.database.transact(write)


async def test_without_production_the_last_that_is_not_barred_is_compared_with(registry: Registry) -> None:
    await succeed(registry, "1.0.0", "2.0.0")
    await registry.add("3.0.0")
    await evaluated(registry, {"1.0.0": 0.9, "2.0.0": 0.99, "3.0.0": 0.91})
    criterion = Criterion(metric="sensitivity", holdout="chests", threshold=0.5)
    await registry.do(lambda unit, asked: set_gate(unit, asked, [criterion]), "a test")
    await registry.do(lambda unit, asked: retire(unit, asked, "2.0.0"), "recalled")
    with pytest.raises(GateRefused, match=r"0\.91 is more than 0\.02 worse than the 0\.99 of 2\.0\.0"):
        await registry.promote("3.0.0", Stage.PRODUCTION)
    await do_bar(registry, "2.0.0")
    await registry.promote("3.0.0", Stage.PRODUCTION)  # as good as 1.0.0


@sqlite_first
async def test_version_is_not_held_against_itself(registry: Registry) -> None:
    await succeed(registry, "1.0.0")
    await evaluated(registry, {"1.0.0": 0.9})
    criterion = Criterion(metric="sensitivity", holdout="chests", threshold=0.5)
    await registry.do(lambda unit, asked: set_gate(unit, asked, [criterion]), "a test")
    await registry.do(lambda unit, asked: retire(unit, asked, "1.0.0"), "recalled")
    await registry.promote("1.0.0", Stage.CANDIDATE)
    await registry.promote("1.0.0", Stage.PRODUCTION)
    assert (await show_model(registry.database, "tiny"))["versions"][0]["stage"] == Stage.PRODUCTION.value


@sqlite_first
async def test_gate_may_name_the_files_of_a_set(registry: Registry) -> None:
    await registry.add("1.0.0")
    await evaluated(registry, {"1.0.0": 0.9})
    digest = "ab" * 32
    criterion = Criterion(metric="sensitivity", holdout="chests", threshold=0.5, holdout_digest=digest)
    await registry.do(lambda unit, asked: set_gate(unit, asked, [criterion]), "a test")
    with pytest.raises(
        GateRefused, match=r"chests is registered as sha256:set, .*asks for sha256:abababababab"
    ):
        await registry.promote("1.0.0", Stage.PRODUCTION)
    unknown = Criterion(metric="sensitivity", holdout="chest", threshold=0.5)
    await registry.do(lambda unit, asked: set_gate(unit, asked, [unknown]), "a slip")
    with pytest.raises(GateRefused, match="there is no holdout set chest;"):
        await registry.promote("1.0.0", Stage.PRODUCTION)
