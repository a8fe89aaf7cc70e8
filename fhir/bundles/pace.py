"""A long Bundle is worked on in short pieces, between which other requests have their turns of the loop."""

from time import perf_counter

from server.kernel.turns import Turns

TURN_S = 0.005  # of one piece; a short request needs several turns, and waits for a piece in each

TURNS = Turns()  # of all Bundles of this process


class Pace:
    """The pieces of one Bundle."""

    def __init__(self) -> None:
        self._began = perf_counter()

    async def keep(self) -> None:
        """Let others go on when the piece has lasted long enough; called between two entries."""
        if perf_counter() - self._began > TURN_S:
            await TURNS.take()
            self._began = perf_counter()
