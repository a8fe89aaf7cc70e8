"""Files of a certificate and its private key, and who may read the key."""

import ssl
import stat
from dataclasses import dataclass
from pathlib import Path

from server.kernel.faults import Fault, FaultKind


class TlsNotUsable(Fault):
    """A certificate or a key cannot be used; the message tells no more than the files' names."""

    kind = FaultKind.INVALID


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the certificate with the chain up to its authority, and its private key."""

    certificate: Path
    key: Path


def require_secret(key: Path) -> None:
    """Nobody but its owner may read the key; of root's (a mounted secret) the group may, too.

    Raises:
        TlsNotUsable: others may, or it is not there.
    """
    try:
        status = key.stat()
    except OSError as problem:
        raise TlsNotUsable(f"{key} cannot be read ({reason_of(problem)})") from None
    permitted = 0o740 if status.st_uid == 0 else 0o700
    if stat.S_IMODE(status.st_mode) & ~permitted:
        raise TlsNotUsable(f"{key} may be read by others: chmod 0600 it")


def reason_of(problem: Exception) -> str:
    """Why a file cannot be used, in a word or two."""
    if isinstance(problem, ssl.SSLError):
        return problem.reason or "not PEM"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return type(problem).__name__
