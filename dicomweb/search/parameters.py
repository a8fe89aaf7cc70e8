"""Query parameters that every search has, and those that it says it does not apply (PS3.18 8.3.4). Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import accumulate

from dicomweb.search.conditions import InvalidQuery

MAX_OFFSET = 2**31 - 1
MAX_NAME_CHARACTERS = 64  # of a parameter's name that a Warning repeats

# The Warning of an optional parameter that is true (PS3.18 8.3.4.5, 8.3.4.6).
NOT_APPLIED: Mapping[str, str] = {
    "emptyvaluematching": "The emptyvaluematching parameter is not supported. "
    "Empty Value Matching has not been performed.",
    "multiplevaluematching": "The multiplevaluematching parameter is not supported. "
    "Multiple Value Matching has not been performed.",
}
_TRUTH = {"true": True, "false": False}


def fitting_limit(limit: int, sizes: Iterable[int], most: int) -> int:
    """`limit`, or how many of the results of these sizes have `most` bytes together, but at least one."""
    sums = list(accumulate(sizes))
    fitting = max(1, bisect_right(sums, most))
    return fitting if fitting < min(len(sums), limit) else limit


def read_count(name: str, value: str) -> int:
    """The value of `limit` or `offset`.

    Raises:
        InvalidQuery: it is not one non-negative integer, or too large.
    """
    if not (value.isascii() and value.isdigit() and len(value) <= 10 and int(value) <= MAX_OFFSET):
        raise InvalidQuery(f"{name}: not one non-negative integer of the allowed size.")
    return int(value)


def read_truth(name: str, value: str) -> bool:
    """The value of a parameter that is true or false.

    Raises:
        InvalidQuery: it is neither.
    """
    if value not in _TRUTH:
        raise InvalidQuery(f"{name}: neither true nor false.")
    return _TRUTH[value]


def printable(name: str) -> str:
    """A parameter's name made safe for a header field."""
    return "".join(c for c in name[:MAX_NAME_CHARACTERS] if c.isascii() and (c.isalnum() or c in "._-"))


def ignored(name: str) -> str:
    """The Warning of a parameter that is matched on by nothing (PS3.18 8.3.4.1)."""
    return f"The query parameter {printable(name)} is not supported and was ignored."
