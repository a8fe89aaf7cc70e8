"""Studies are split by a stable hash; nothing flips that needs not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicomweb.worklist.workitem import Outcome
from server.workflows.registry.decide import InvalidShare, parse_share, percent_text, set_traffic
from server.workflows.registry.stages import Stage
from server.workflows.registry.traffic import SLOTS, Serving, slot_of, version_for
from tests.conftest import sqlite_first

from .conftest import Registry
from .test_watch import Tried, experienced

STUDIES = [f"1.2.826.0.1.{number}" for number in range(4000)]


def of_canary(share: int) -> set[str]:
    serving = Serving("1", "2", share)
    return {study for study in STUDIES if serving.version_for("tiny", study, None) == "2"}


def test_slots_are_those_that_are_written_down() -> None:
    """A changed hash would move studies that are under way to another version."""
    assert [slot_of("tiny", study) for study in ("1.2.3", "1.2.4")] == [3767, 6909]
    assert slot_of("other", "1.2.3") != slot_of("tiny", "1.2.3")


def test_share_is_met_and_keeps_those_it_had() -> None:
    assert of_canary(0) == set()
    ten, half, all_ = of_canary(1000), of_canary(5000), of_canary(SLOTS)
    assert ten < half < all_ == set(STUDIES)
    assert len(ten) / len(STUDIES) == pytest.approx(0.10, abs=0.02)
    assert len(half) / len(STUDIES) == pytest.approx(0.50, abs=0.03)


@given(st.text("0123456789.", min_size=1, max_size=64), st.integers(0, SLOTS))
def test_version_with_results_keeps_the_study_while_it_serves(study: str, share: int) -> None:
    serving = Serving("1", "2", share)
    assert serving.version_for("tiny", study, "1") == "1"
    assert serving.version_for("tiny", study, "0") == serving.version_for("tiny", study, None)
    assert serving.version_for("tiny", study, "2") == ("2" if share else "1")


def test_model_without_production_serves_nobody() -> None:
    assert Serving(None, "2", SLOTS).version_for("tiny", "1.2.3", None) is None
    assert Serving("1", None, SLOTS).version_for("tiny", "1.2.3", "2") == "1"


@sqlite_first
async def test_study_stays_with_its_version_whoever_asks(registry: Registry) -> None:
    await registry.add("1.0.0")
    await registry.add("2.0.0")
    await registry.promote("1.0.0", Stage.PRODUCTION)
    await registry.promote("2.0.0", Stage.CANARY)
    await registry.do(lambda unit, asked: set_traffic(unit, asked, 1))
    uids = await experienced(registry, "2.0.0", [Tried((Outcome.COMPLETED,), columns={"rule": "own"})])
    async with registry.database.read() as connection:
        assert await version_for(connection, "tiny", f"{uids[0]}.1") == "2.0.0"
        assert await version_for(connection, "tiny", "1.2.3") == "1.0.0"


@pytest.mark.parametrize(("percent", "share"), [("0", 0), ("100", 10_000), ("12.5", 1250), ("0.01", 1)])
def test_share_is_read(percent: str, share: int) -> None:
    assert parse_share(percent) == share
    assert percent_text(share) == f"{float(percent):g} %"


@pytest.mark.parametrize("percent", ["100.01", "-1", "1e1", "0.001", "", "ten", "٣"])
def test_share_that_is_none(percent: str) -> None:
    with pytest.raises(InvalidShare):
        parse_share(percent)
