"""A clock that the test moves."""

from collections.abc import Iterator
from functools import cache

import pytest
from argon2 import PasswordHasher
from joserfc.jwk import RSAKey

from server.auth import signing
from server.auth.users import passwords
from server.kernel.clock import SECOND_US, now_us


class MovableClock:
    """The wall clock, put ahead by `offset_s`."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def __call__(self) -> int:
        return now_us() + int(self.offset_s * SECOND_US)


@cache
def _one_key() -> dict[str, str]:
    return dict(RSAKey.generate_key(2048, private=True).as_dict(private=True))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def signing_keys_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """To find primes takes longer than most tests."""

    def new_key(kid: str) -> RSAKey:
        return RSAKey.import_key({**_one_key(), "kid": kid, "use": "sig", "alg": signing.ALGORITHM})

    monkeypatch.setattr(signing, "_new_key", new_key)


@pytest.fixture(autouse=True)
def passwords_are_quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """To make guessing slow is for real ones."""
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords._nobodys.cache_clear()
    yield
    passwords._nobodys.cache_clear()


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()
