"""A container in Azurite, Azure's emulator, with the account that it is known for: `python … PORT CONTAINER`.

obstore makes no containers, so this signs one request by itself (Azure Storage, "Authorize with Shared Key").
"""

import base64
import hashlib
import hmac
import sys
from email.utils import formatdate

import httpx

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
VERSION = "2023-11-03"


def make_container(port: int, name: str) -> None:
    """Make an empty container."""
    date = formatdate(usegmt=True)
    headers = {"x-ms-date": date, "x-ms-version": VERSION}
    resource = f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signed = "\n".join(["PUT", *[""] * 11, *(f"{name}:{value}" for name, value in headers.items()), resource])
    digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
    url = f"http://127.0.0.1:{port}/{ACCOUNT}/{name}?restype=container"
    httpx.put(url, headers=headers, trust_env=False).raise_for_status()


if __name__ == "__main__":
    make_container(int(sys.argv[1]), sys.argv[2])
