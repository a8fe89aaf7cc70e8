"""How often one address may begin a login: each leaves a row, before anybody has said who they are.

Beyond it an address waits, and no other one does. Not counted is who has logged in, and who comes by a launch
of an EHR: hospitals share addresses.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from math import ceil

from starlette.types import Scope

from server.kernel.faults import Fault, FaultKind
from server.kernel.rate_limit import Rate, RateLimiter

IPV6_BITS = 64  # of an address that tell networks apart: the rest is one host's to choose (RFC 4291 §2.5.4)


class TooOften(Fault):
    """Too many logins were begun from this address; it will pass."""

    kind = FaultKind.TOO_MANY_REQUESTS

    def __init__(self, wait_s: float) -> None:
        super().__init__("Too many logins were begun from where you are. Wait a minute and try again.")
        self.wait_s = ceil(wait_s)


@dataclass(frozen=True, slots=True)
class Pressure:
    """So many a minute from one address."""

    limiter: RateLimiter
    per_minute: float  # 0: no limit

    async def take(self, scope: Scope) -> None:
        """Count one.

        Raises:
            TooOften: there were too many.
        """
        if not self.per_minute:
            return
        rate = Rate("authorize", self.per_minute / 60, ceil(self.per_minute))
        wait_s = await self.limiter.take(rate, origin_of(scope))
        if wait_s > 0:
            raise TooOften(wait_s)


def origin_of(scope: Scope) -> str:
    """From where a request comes: an IPv4 address, or a network of IPv6; "" where the transport has none."""
    text = scope["client"][0] if scope.get("client") else ""
    try:
        address = ip_address(text)
    except ValueError:
        return str(text)
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((address, IPV6_BITS), strict=False))
