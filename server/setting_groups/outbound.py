"""Which hosts this server may connect to by itself."""

from collections.abc import Sequence

from pydantic import BaseModel, Field, field_validator

from server.kernel.outbound_policy import AllowedHost, OutboundPolicy, parse_networks


class OutboundSettings(BaseModel):
    """Hosts and networks, by what they are connected to for."""

    subscription_hosts: tuple[str, ...] = Field(
        (), description="hosts that notifications of Subscriptions may go to; default: none"
    )
    subscription_networks: tuple[str, ...] = Field(
        (), description="networks of private addresses that these hosts may have; default: none"
    )
    subscription_attempts: int = Field(
        25, ge=1, le=10_000, description="tries of a notification until its Subscription is given up"
    )
    jwks_hosts: tuple[str, ...] = Field(
        (), description="hosts that keys of clients may be fetched from (jwks_uri); default: none"
    )
    jwks_networks: tuple[str, ...] = Field(
        (), description="networks of private addresses that these hosts may have; default: none"
    )

    @field_validator("subscription_hosts", "jwks_hosts")
    @classmethod
    def _are_hosts(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            AllowedHost.parse(value)
        return values

    @field_validator("subscription_networks", "jwks_networks")
    @classmethod
    def _are_networks(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        parse_networks(values)
        return values

    @property
    def subscription_outbound(self) -> OutboundPolicy:
        """Where notifications may go."""
        return outbound_policy(self.subscription_hosts, self.subscription_networks)

    @property
    def jwks_outbound(self) -> OutboundPolicy:
        """Where the keys of clients may be fetched."""
        return outbound_policy(self.jwks_hosts, self.jwks_networks)


def outbound_policy(hosts: Sequence[str], networks: Sequence[str]) -> OutboundPolicy:
    """The policy that lists of hosts and networks state."""
    return OutboundPolicy(tuple(AllowedHost.parse(each) for each in hosts), parse_networks(networks))
