"""What the settings say of Subscriptions."""

from dataclasses import dataclass, field

from server.kernel.envelope import Keyring
from server.kernel.outbound_policy import OutboundPolicy

LONGEST_RETRY_S = 900.0


@dataclass(frozen=True, slots=True)
class SubscriptionPolicy:
    """Whom notifications may go to, and how often one is tried; by default to nobody."""

    outbound: OutboundPolicy = field(default_factory=OutboundPolicy)
    attempts: int = (
        25  # of one notification, before the Subscription is given up: some three hours and a half
    )
    first_retry_s: float = 1.0  # doubled with each further one, up to `LONGEST_RETRY_S`
    keys: Keyring | None = field(default=None, repr=False)  # seal channel.header; None: nothing can be sealed
    without_token: bool = False  # whether callers without a token may do everything (`auth` is off)
