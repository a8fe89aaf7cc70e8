"""Which version a Coding is validated in, where a value set names its code system (ecosystem guide).

The include and the version parameters choose; the Coding's own version is taken where they leave room for it
(a pattern such as `1.x`, or nothing said). Where it is another one, that is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from terminology.canonical import Canonical, accepts
from terminology.library import Edition
from terminology.messages import (
    VALIDATED,
    VALUE_VERSION_DIFFERS,
    VALUE_VERSION_DIFFERS_BY_RULE,
    VALUE_VERSION_DIFFERS_FROM_NEWEST,
)
from terminology.validation.coded import Coding
from terminology.validation.findings import Findings
from terminology.value_set import Include
from terminology.versions import VersionRules, choose, unknown_code_system


@dataclass(frozen=True, slots=True)
class Agreed:
    """The version that is meant, and the edition that has it; None: none has."""

    wanted: str | None
    edition: Edition | None


def agree_on_version(
    include: Include, coding: Coding, editions: Sequence[Edition], rules: VersionRules, findings: Findings
) -> Agreed:
    """In which version a coding of the include's system is validated; `editions`: all of the system."""
    system = include.system or ""
    wanted = rules.wanted(system, include.version)
    if coding.version is None:
        return Agreed(wanted, choose(editions, wanted))
    if _leaves_room(wanted, coding.version, editions):
        wanted = coding.version
    edition = choose(editions, wanted)
    if edition is None:
        if wanted != coding.version:
            _say_difference(include, coding, wanted, findings)
    elif not accepts(coding.version, edition.version):
        _say_other_version(include, coding, wanted, edition, findings)
        if choose(editions, coding.version) is None:
            missing = Canonical(system, coding.version)
            issue = unknown_code_system(editions, missing, VALIDATED, coding.at("system"))
            findings.add(issue)
            findings.unknown[str(missing)] = None
    return Agreed(wanted, edition)


def _leaves_room(wanted: str | None, version: str, editions: Sequence[Edition]) -> bool:
    """Whether a version may be taken: it is one that the pattern stands for, or all that is said."""
    return accepts(wanted, version) if wanted else choose(editions, version) is not None


def _say_other_version(
    include: Include, coding: Coding, wanted: str | None, edition: Edition, findings: Findings
) -> None:
    if wanted is not None:
        _say_difference(include, coding, wanted, findings)
        return
    findings.say(
        VALUE_VERSION_DIFFERS_FROM_NEWEST,
        coding.at("version"),
        system=include.system or "",
        version=edition.version or "",
        given=coding.version or "",
    )


def _say_difference(include: Include, coding: Coding, wanted: str | None, findings: Findings) -> None:
    by_rule = wanted != include.version
    findings.say(
        VALUE_VERSION_DIFFERS_BY_RULE if by_rule else VALUE_VERSION_DIFFERS,
        coding.at("version"),
        system=include.system or "",
        version=wanted or "",
        included=include.version or "",
        given=coding.version or "",
    )
