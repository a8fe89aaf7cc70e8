"""Tables of questions that leave the world as it is: asked one after the other in one set-up, each a subtest.

`pytest.mark.parametrize` builds the world anew for each row, which takes longer than most questions.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

import pytest

Test = Callable[..., Any]
LONGEST_NAME = 100


def asked_in_turn(
    names: str | Sequence[str], rows: Iterable[Any], ids: Callable[[Any], str] = repr
) -> Callable[[Test], Test]:
    """As `pytest.mark.parametrize(names, rows)`, for a test whose rows do not disturb each other.

    `ids` names a row that has no id of its own.
    """
    argnames = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    table = [_row(argnames, row, ids) for row in rows]

    def decorate(test: Test) -> Test:
        if inspect.iscoroutinefunction(test):

            @wraps(test)
            async def ask_all(*args: Any, subtests: pytest.Subtests, **given: Any) -> None:
                for name, values in table:
                    with subtests.test(name):
                        await test(*args, **given, **values)
        else:

            @wraps(test)
            def ask_all(*args: Any, subtests: pytest.Subtests, **given: Any) -> None:
                for name, values in table:
                    with subtests.test(name):
                        test(*args, **given, **values)

        ask_all.__signature__ = _signature(test, argnames)  # type: ignore[attr-defined]
        return ask_all

    return decorate


def _row(argnames: Sequence[str], row: Any, ids: Callable[[Any], str]) -> tuple[str, dict[str, Any]]:
    name = None
    if hasattr(row, "marks"):  # of pytest.param
        assert not row.marks, "a row with a mark is a test of its own"
        name, row = row.id, row.values if len(argnames) > 1 else row.values[0]
    values = tuple(row) if len(argnames) > 1 else (row,)
    return (name or ids(row))[:LONGEST_NAME], dict(zip(argnames, values, strict=True))


def _signature(test: Test, argnames: Sequence[str]) -> inspect.Signature:
    """What pytest is to give: all but the rows' arguments, and what reports subtests."""
    signature = inspect.signature(test)
    kept = [each for name, each in signature.parameters.items() if name not in argnames]
    subtests = inspect.Parameter("subtests", inspect.Parameter.KEYWORD_ONLY)
    return signature.replace(parameters=[*kept, subtests])
