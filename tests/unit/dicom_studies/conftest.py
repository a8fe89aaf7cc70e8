"""The archive's fixtures, for tests below HTTP."""

from tests.conformance.ps3_18.conftest import database

__all__ = ["database"]
