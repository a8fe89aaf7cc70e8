"""How long work says how far it is."""

from collections.abc import Callable

Report = Callable[[str, int, int | None], None]  # (what, how many are done, of how many; None: not known)


def say_nothing(_what: str, _done: int, _total: int | None) -> None:
    """For callers that do not want to know."""
