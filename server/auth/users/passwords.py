"""Passwords: what is accepted, and how it is kept (Argon2id, RFC 9106; OWASP ASVS 5 §6.2)."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from server.kernel.faults import Fault

MIN_PASSWORD, MAX_PASSWORD = 12, 256  # characters; the most keeps hashing short

_HASHER = PasswordHasher()  # RFC 9106's second choice: 64 MiB, 3 passes
_THREADS = ThreadPoolExecutor(2, "passwords")  # their own: guesses take nobody else's threads


class InvalidPassword(Fault):
    """This password is not accepted."""


def require_password(password: str) -> None:
    """Let pass a password that may be set; no characters are demanded or forbidden.

    Raises:
        InvalidPassword: it is too short, too long, or cannot be written down.
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InvalidPassword(f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters.")
    if any("\ud800" <= each <= "\udfff" for each in password):
        raise InvalidPassword("A password is text: this one has half of a character.")


async def hash_password(password: str) -> str:
    """The hash in PHC form, with its own salt."""
    text: str = await _in_thread(_HASHER.hash, password)
    return text


async def is_password(password: str, password_hash: str | None) -> bool:
    """Whether this is the password of the hash; without a hash it takes as long, and it is not."""
    is_right: bool = await _in_thread(_verify, password, password_hash)
    return is_right


async def _in_thread(function: Callable[..., Any], *given: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(_THREADS, partial(function, *given))


def is_outdated(password_hash: str) -> bool:
    """Whether the hash was made with weaker parameters than today's."""
    return _HASHER.check_needs_rehash(password_hash)


def _verify(password: str, password_hash: str | None) -> bool:
    if len(password) > MAX_PASSWORD:
        return False
    try:
        return _HASHER.verify(password_hash or _nobodys(), password) and password_hash is not None
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False


@cache
def _nobodys() -> str:
    """The hash of a password that nobody has: to look for who is not there takes as long."""
    return _HASHER.hash("nobody's password")
