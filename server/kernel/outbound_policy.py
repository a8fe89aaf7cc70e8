"""Where this server may connect to by itself: an allow-list, as the settings state it. Pure.

Whoever may write a resource with a URL in it could otherwise have the server ask its neighbours: a cloud's
metadata, a device without a password (server-side request forgery). So a host must be listed, and its address
must be a public one, or lie in a listed network, or be what the list itself names.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from server.kernel.faults import Fault, FaultKind

MAX_URL_CHARACTERS = 2_000

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ENTRY = re.compile(r"(?:(https?)://)?(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::([0-9]{1,5}))?")
_URL = re.compile(r"[!-~]+")  # visible ASCII
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in its last 32 bits
_PORT_OF = {"https": 443, "http": 80}
LOCALHOST = "localhost"


class DestinationRefused(Fault):
    """The settings do not let this server connect there; the message never tells where that is."""

    kind = FaultKind.UNPROCESSABLE


@dataclass(frozen=True, slots=True)
class AllowedHost:
    """One entry of the list: `[http[s]://]host[:port]`.

    Without a scheme it is https, and http too when the host is this machine; without a port it is any.
    """

    host: str  # lower case; an IPv6 address without brackets
    scheme: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> "AllowedHost":
        """The entry that the text writes.

        Raises:
            ValueError: it is none.
        """
        found = _ENTRY.fullmatch(text)
        if found is None or (found[3] is not None and not 0 < int(found[3]) < 65536):
            raise ValueError("must be host, host:port or scheme://host[:port], in lower case")
        return cls(found[2].strip("[]"), found[1], int(found[3]) if found[3] else None)

    def admits(self, scheme: str, host: str, port: int) -> bool:
        """Whether a URL of these parts is meant."""
        if self.host != host or self.port not in (None, port):
            return False
        if self.scheme is not None:
            return self.scheme == scheme
        return scheme == "https" or is_this_machine(host)


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    """Hosts that may be connected to, and networks of addresses that are not public and yet are theirs."""

    hosts: tuple[AllowedHost, ...] = ()
    networks: tuple[Network, ...] = ()

    def require_allowed(self, url: str) -> SplitResult:
        """The parts of a URL that may be connected to.

        Raises:
            DestinationRefused: it is no http(s) URL, carries credentials or a fragment, or is not listed.
        """
        parts = _split(url)
        assert parts.hostname is not None
        port = parts.port or _PORT_OF[parts.scheme]
        if not any(each.admits(parts.scheme, parts.hostname, port) for each in self.hosts):
            raise DestinationRefused("The host is not among those that this server may connect to.")
        return parts

    def allows_host(self, host: str) -> bool:
        """Whether the host is listed, whatever the scheme and port."""
        return any(each.host == host for each in self.hosts)

    def permits(self, host: str, address: str) -> bool:
        """Whether this address of a listed host may be connected to."""
        found = ipaddress.ip_address(address.partition("%")[0])
        if _literal(host) == found or (host == LOCALHOST and found.is_loopback):
            return True
        meant = _embedded(found)
        return _is_public(meant) or any(_lies_in(each, self.networks) for each in (found, meant))


def is_this_machine(host: str) -> bool:
    """Whether the host is written as a loopback one."""
    literal = _literal(host)
    return host == LOCALHOST or (literal is not None and literal.is_loopback)


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The networks that these texts write, such as `10.0.0.0/8`.

    Raises:
        ValueError: one is none.
    """
    return tuple(ipaddress.ip_network(text) for text in texts)


def _split(url: str) -> SplitResult:
    refused = DestinationRefused("It is no http or https URL of plain form: no credentials, no fragment.")
    if len(url) > MAX_URL_CHARACTERS or not _URL.fullmatch(url) or "#" in url or "\\" in url:
        raise refused
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refused from None
    if parts.scheme not in _PORT_OF or not parts.hostname or "@" in parts.netloc or port == 0:
        raise refused
    return parts


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _lies_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
