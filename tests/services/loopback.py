"""HTTP to the servers that the tests start on this machine.

No proxy of the environment is asked, and no certificate authorities are read: that takes a client 40 ms of
CPU, and who asks every 50 ms whether a server is up makes one each time.
"""

from typing import Any

import httpx

PLAIN: dict[str, Any] = {"trust_env": False, "verify": False}


def client(base: str = "", **given: Any) -> httpx.Client:
    """A client that keeps its connections; `given` as for httpx."""
    return httpx.Client(base_url=base, **PLAIN, **given)


def get(url: str, **given: Any) -> httpx.Response:
    """One request on a connection of its own."""
    return httpx.get(url, **PLAIN, **given)
