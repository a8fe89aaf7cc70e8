"""How often one address may begin a login, and how often it may try a password.

What is begun leaves a row, before anybody has said who they are; a password costs 64 MiB for a moment. Beyond
its share an address waits, and no other one does. Hospitals share addresses: not counted is who has logged
in, who comes by a launch of an EHR, and a password that is right.
"""

from dataclasses import dataclass
from math import ceil

from starlette.types import Scope

from server.kernel.faults import Fault, FaultKind
from server.kernel.rate_limit import Rate, RateLimiter
from server.kernel.request import origin_of


class TooOften(Fault):
    """There was too much of this from this address; it will pass."""

    kind = FaultKind.TOO_MANY_REQUESTS

    def __init__(self, wait_s: float) -> None:
        super().__init__("Too many logins were tried from where you are. Wait a minute and try again.")
        self.wait_s = ceil(wait_s)


@dataclass(frozen=True, slots=True)
class Pressure:
    """So many a minute from one address."""

    limiter: RateLimiter
    name: str
    per_minute: float  # 0: no limit

    async def take(self, scope: Scope) -> None:
        """Count one, before it is done: those that come at once count too.

        Raises:
            TooOften: there were too many.
        """
        if not self.per_minute:
            return
        wait_s = await self.limiter.take(self._rate, origin_of(scope))
        if wait_s > 0:
            raise TooOften(wait_s)

    async def give_back(self, scope: Scope) -> None:
        """Count one less: it was none of those that are to be limited."""
        if self.per_minute:
            await self.limiter.give_back(self._rate, origin_of(scope))

    @property
    def _rate(self) -> Rate:
        return Rate(self.name, self.per_minute / 60, ceil(self.per_minute))
