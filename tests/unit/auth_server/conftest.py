"""A clock that the test moves."""

import pytest

from server.kernel.clock import SECOND_US, now_us


class MovableClock:
    """The wall clock, put ahead by `offset_s`."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def __call__(self) -> int:
        return now_us() + int(self.offset_s * SECOND_US)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()
