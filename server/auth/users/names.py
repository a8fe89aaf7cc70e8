"""Names of users: one account for all ways to write its name."""

import re
import unicodedata

from server.kernel.faults import Fault

MAX_NAME = 100  # characters, folded
_NAME = re.compile(r"[\w][\w.@+\-]*")


class InvalidName(Fault):
    """This cannot be the name of a user."""


def fold_name(written: str) -> str:
    """The name as it is kept and compared: NFKC, without case and outer spaces (Unicode UAX #15)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", written.strip()).casefold())


def require_name(written: str) -> str:
    """The folded name.

    Raises:
        InvalidName: it is empty, too long, or has other characters than letters, digits and `. _ @ + -`.
    """
    name = fold_name(written)
    if not is_name(name):
        raise InvalidName(
            f"A user's name has 1 to {MAX_NAME} letters, digits and '.', '_', '@', '+', '-'; it begins with"
            " a letter or a digit."
        )
    return name


def is_name(folded: str) -> bool:
    """Whether a user could be called so."""
    return len(folded) <= MAX_NAME and _NAME.fullmatch(folded) is not None
