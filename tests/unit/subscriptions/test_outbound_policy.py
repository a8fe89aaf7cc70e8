"""Where this server may connect to: every way in which an address can be written or answered."""

import pytest

from server.kernel.outbound_policy import AllowedHost, DestinationRefused, OutboundPolicy, parse_networks


def policy(*hosts: str, networks: tuple[str, ...] = ()) -> OutboundPolicy:
    return OutboundPolicy(tuple(AllowedHost.parse(each) for each in hosts), parse_networks(networks))


@pytest.mark.parametrize(
    ("entry", "url", "allowed"),
    [
        ("ehr.test", "https://ehr.test/hook", True),
        ("ehr.test", "https://ehr.test:8443/hook", True),
        ("ehr.test", "https://EHR.test/hook", True),
        ("ehr.test", "http://ehr.test/hook", False),
        ("http://ehr.test", "http://ehr.test/hook", True),
        ("http://ehr.test", "https://ehr.test/hook", False),
        ("ehr.test:8443", "https://ehr.test:8443/", True),
        ("ehr.test:8443", "https://ehr.test/", False),
        ("ehr.test", "https://other.test/", False),
        ("ehr.test", "https://ehr.test.evil.test/", False),
        ("ehr.test", "https://a.ehr.test/", False),
        ("ehr.test", "https://user:secret@ehr.test/", False),
        ("ehr.test", "https://ehr.test@evil.test/", False),
        ("ehr.test", "https://evil.test#@ehr.test/", False),
        ("ehr.test", "https://evil.test\\@ehr.test/", False),
        ("ehr.test", "https://ehr.test/a b", False),
        ("ehr.test", "https://ehr.test/\r\nX: y", False),
        ("ehr.test", "https://ehr.test:99999/", False),
        ("ehr.test", "https://ehr.test:0/", False),
        ("ehr.test", "ftp://ehr.test/", False),
        ("ehr.test", "file:///etc/passwd", False),
        ("ehr.test", "//ehr.test/", False),
        ("ehr.test", "https://ehr.test/" + "a" * 2000, False),
        ("127.0.0.1", "http://127.0.0.1:9/", True),
        ("localhost", "http://localhost:9/", True),
        ("[::1]", "http://[::1]:9/", True),
        ("10.0.0.1", "http://10.0.0.1/", False),
        ("127.0.0.1", "http://127.1/", False),
        ("127.0.0.1", "http://2130706433/", False),
    ],
)
def test_url_is_allowed_only_as_listed(entry: str, url: str, allowed: bool) -> None:
    if allowed:
        assert policy(entry).require_allowed(url)
    else:
        with pytest.raises(DestinationRefused):
            policy(entry).require_allowed(url)


def test_nothing_is_allowed_by_default() -> None:
    with pytest.raises(DestinationRefused):
        OutboundPolicy().require_allowed("https://ehr.test/")


@pytest.mark.parametrize(
    ("host", "address", "permitted"),
    [
        ("ehr.test", "93.184.216.34", True),
        ("ehr.test", "2606:2800:220:1:248:1893:25c8:1946", True),
        ("ehr.test", "127.0.0.1", False),
        ("ehr.test", "::1", False),
        ("ehr.test", "10.1.2.3", False),
        ("ehr.test", "172.16.0.1", False),
        ("ehr.test", "192.168.1.1", False),
        ("ehr.test", "100.64.0.1", False),
        ("ehr.test", "169.254.169.254", False),
        ("ehr.test", "fe80::1%eth0", False),
        ("ehr.test", "fd00::1", False),
        ("ehr.test", "0.0.0.0", False),
        ("ehr.test", "224.0.0.1", False),
        ("ehr.test", "255.255.255.255", False),
        ("ehr.test", "::ffff:127.0.0.1", False),
        ("ehr.test", "::ffff:93.184.216.34", True),
        ("ehr.test", "64:ff9b::7f00:1", False),
        ("ehr.test", "64:ff9b::5db8:d822", True),
        ("ehr.test", "2002:7f00:1::", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("localhost", "127.0.0.1", True),
        ("localhost", "::1", True),
        ("localhost", "10.1.2.3", False),
    ],
)
def test_address_is_public_or_listed(host: str, address: str, permitted: bool) -> None:
    assert policy(host).permits(host, address) is permitted


@pytest.mark.parametrize(
    ("address", "permitted"), [("10.1.2.3", True), ("10.2.0.1", False), ("::ffff:10.1.2.3", True)]
)
def test_listed_network_opens_its_private_addresses(address: str, permitted: bool) -> None:
    assert policy("ehr.test", networks=("10.1.0.0/16",)).permits("ehr.test", address) is permitted


@pytest.mark.parametrize(
    "entry", ["", "https://", "EHR.test", "ehr.test/", "ehr.test:0", "ehr.test:70000", "a b", "*"]
)
def test_entry_that_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="must be host"):
        AllowedHost.parse(entry)
