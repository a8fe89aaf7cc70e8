"""Does an answer agree with the one that a test case of the terminology ecosystem expects?

An expected answer is JSON with patterns, as the guide's page "Test cases" lists them: `$uuid$` and its like
for values that differ from run to run, `$choice:a|b$`, `$fragments:a|b$` and `$external:n:text$` for texts,
and in objects `$optional$`, `$optional-properties$`, `$count-arrays$`. The order of arrays never matters.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Json = Any

_TOKEN = r"\S+"
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/_-]")
_FORMS: Mapping[str, str] = {
    "id": r"[A-Za-z0-9\-.]{1,64}",
    "semver": r"\d+\.\d+(\.\d+)?(-\S+)?",
    "url": r"\S+",
    "token": _TOKEN,
    "string": r".*\S.*",
    "date": r"\d{4}(-\d{2}(-\d{2}(T.*)?)?)?",
    "version": r"\S+",
    "uuid": r"(urn:uuid:)?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "instant": r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+\-]\d{2}:\d{2})",
}
_FORM_WITHIN = re.compile(rf"\$({'|'.join(_FORMS)})\$")


def differences(expected: Json, actual: Json, path: str = "") -> Iterator[str]:
    """What is different, each with its path; none: they agree."""
    if isinstance(expected, dict):
        yield from _objects(expected, actual, path)
    elif isinstance(expected, list):
        yield from _arrays(expected, actual, path)
    elif isinstance(expected, str):
        if not isinstance(actual, str) or not _text_agrees(expected, actual):
            yield f"{path}: expected {expected!r}, not {actual!r}"
    elif type(expected) is not type(actual) or expected != actual:
        yield f"{path}: expected {expected!r}, not {actual!r}"


def _objects(expected: Json, actual: Json, path: str) -> Iterator[str]:
    if not isinstance(actual, dict):
        yield f"{path}: expected an object, not {actual!r}"
        return
    optional = set(expected.get("$optional-properties$", ()))
    if "severity" in expected:  # `location` is `expression` again: some cases have it, others have not
        optional.add("location")
    counted = set(expected.get("$count-arrays$", ()))
    wanted = {name: value for name, value in expected.items() if not name.startswith("$")}
    for name, value in wanted.items():
        if name not in actual:
            if name not in optional and not _may_be_absent(value):
                yield f"{path}.{name}: is missing"
        elif name in counted:
            if len(value) != len(actual[name]):
                yield f"{path}.{name}: expected {len(value)} entries, not {len(actual[name])}"
        else:
            yield from differences(value, actual[name], f"{path}.{name}")
    for name in actual.keys() - wanted.keys() - optional:
        yield f"{path}.{name}: is not expected: {str(actual[name])[:300]}"


def _may_be_absent(value: Json) -> bool:
    """Whether a property may be missing: all that an array expects is optional."""
    return isinstance(value, list) and bool(value) and all(_is_optional(each) for each in value)


def _is_optional(entry: Json) -> bool:
    return isinstance(entry, dict) and "$optional$" in entry


def _arrays(expected: Json, actual: Json, path: str) -> Iterator[str]:
    if not isinstance(actual, list):
        yield f"{path}: expected an array, not {actual!r}"
        return
    left = list(range(len(actual)))
    for at, entry in enumerate(sorted(expected, key=_is_optional)):
        found = next((i for i in left if not any(differences(entry, actual[i]))), None)
        if found is not None:
            left.remove(found)
        elif not _is_optional(entry):
            yield f"{path}[{at}]: none is like {str(entry)[:400]}{_nearest(entry, actual, left)}"
    for i in left:
        yield f"{path}: not expected: {str(actual[i])[:600]}"


def _nearest(entry: Json, actual: Json, left: list[int]) -> str:
    """What keeps the nearest candidate from being the one."""
    found = [list(differences(entry, actual[i], "~")) for i in left]
    nearest = min(found, key=len, default=[])
    return f" (nearest differs in {nearest[:3]})" if nearest else ""


def _text_agrees(expected: str, actual: str) -> bool:
    if expected == "$$":
        return True
    if not (len(expected) > 2 and expected[0] == expected[-1] == "$"):
        return _same_base64(expected, actual) or _fits_pattern(expected, actual)
    name, _, argument = expected[1:-1].partition(":")
    if name == "choice":
        return actual in argument.split("|")
    if name == "fragments":
        return all(part in actual for part in argument.split("|"))
    if name == "external":
        return argument.partition(":")[2] in actual
    return re.fullmatch(_FORMS[name], actual, re.DOTALL) is not None


def _fits_pattern(expected: str, actual: str) -> bool:
    """Whether a text is the expected one, which may have forms within it: `http://example.org|$version$`."""
    parts = _FORM_WITHIN.split(expected)
    pattern = "".join(_FORMS[part] if at % 2 else re.escape(part) for at, part in enumerate(parts))
    return re.fullmatch(pattern, actual, re.DOTALL) is not None


def _same_base64(expected: str, actual: str) -> bool:
    """Whether letters and digits are the same: the guide's runner compares texts as base64 too, leniently."""
    return _NOT_BASE64.sub("", expected) == _NOT_BASE64.sub("", actual) != ""
