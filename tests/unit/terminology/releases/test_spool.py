"""Rows wait on disk, and are told by the order of their owners."""

from pathlib import Path

import pytest

from server.kernel.faults import StorageFull
from terminology.releases import spool
from terminology.releases.spool import Spool


def test_rows_are_told_by_owner_in_the_order_of_their_places() -> None:
    with Spool() as waiting:
        waiting.add(2, ["a"])
        waiting.add(1, ["b"], ["c"])
        waiting.add(2, ["d"])
        assert len(waiting) == 4
        assert list(waiting.ordered()) == [(1, [["b"], ["c"]]), (2, [["a"], ["d"]])]
        assert [owner for owner, _ in waiting.ordered(lambda owner: 9 - owner)] == [2, 1]


@pytest.mark.parametrize("size", [10, 100_000])  # that waits for `ordered`, and that is too much to wait
def test_a_disk_without_room_is_named(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    def fill() -> None:
        with Spool() as waiting:
            waiting.add(1, ["x" * size])
            list(waiting.ordered())

    monkeypatch.setattr(spool, "TemporaryFile", lambda **_: Path("/dev/full").open("r+b"))  # noqa: SIM115  as there
    with pytest.raises(StorageFull, match="temporary files"):
        fill()
