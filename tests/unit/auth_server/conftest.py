"""A clock that the test moves."""

from functools import cache

import pytest
from joserfc.jwk import RSAKey

from server.auth import signing
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


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()
