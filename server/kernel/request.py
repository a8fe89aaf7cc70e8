"""Facts of the request being served: identifier and address, for logs and audit; whether its body is sent."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any

IPV6_BITS = 64  # of an address that tell networks apart: the rest is one host's to choose (RFC 4291 §2.5.4)
HEAD_KEY = "isthmus.head"  # in the ASGI scope of a HEAD that is served as GET


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """A request, as logs and audit name it."""

    id: str
    address: str | None = None  # the IP address it came from; None: its transport has none


_served: ContextVar[ServedRequest | None] = ContextVar("served", default=None)


def current_request() -> ServedRequest | None:
    """The request being served; None outside a request."""
    return _served.get()


def set_request(served: ServedRequest | None) -> None:
    """Name the request that the current task serves."""
    _served.set(served)


def current_request_id() -> str | None:
    """The identifier of the request being served; None outside a request."""
    served = _served.get()
    return None if served is None else served.id


def current_address() -> str | None:
    """Where the request being served came from; None: from nowhere that is known."""
    served = _served.get()
    return None if served is None else served.address


def is_head(scope: Mapping[str, Any]) -> bool:
    """Whether the answer's body will not be sent (RFC 9110 §9.3.2)."""
    return HEAD_KEY in scope


def origin_of(scope: Mapping[str, Any]) -> str:
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
