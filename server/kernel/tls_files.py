"""Where a certificate and its key are."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the certificate with the chain up to its authority, and its private key."""

    certificate: Path
    key: Path
