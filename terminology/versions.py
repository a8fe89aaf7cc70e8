"""Which version of a code system or value set is meant (HL7 terminology ecosystem guide; FHIR R5 names).

`force-system-version` goes before what an include or a Coding states, `system-version` speaks where nothing
is stated, and `check-system-version` must be met by what was chosen; where neither speaks it chooses too.
`default-valueset-version` is the same for value sets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from terminology.canonical import Canonical, accepts, order_of, parse_canonical
from terminology.context import Inputs
from terminology.inputs import texts_of
from terminology.issues import InvalidInput, Issue, VersionConflict
from terminology.library import Edition, Kind, Library
from terminology.messages import UNKNOWN_SYSTEM, UNKNOWN_SYSTEM_OF_VERSION, UNKNOWN_VERSION
from terminology.messages import VERSION_NOT_ALLOWED as NOT_ALLOWED

SYSTEM_VERSION = "system-version"
CHECK_SYSTEM_VERSION = "check-system-version"
FORCE_SYSTEM_VERSION = "force-system-version"
DEFAULT_VALUE_SET_VERSION = "default-valueset-version"

USABLE = frozenset({None, "complete", "fragment"})  # CodeSystem.content from which codes are told


@dataclass(frozen=True, slots=True)
class VersionRules:
    """What a request says of versions, by URL."""

    forced: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, str] = field(default_factory=dict)

    def wanted(self, url: str, version: str | None) -> str | None:
        """The version, or the pattern, that is meant where `version` is stated; None: whichever there is."""
        return self.forced.get(url) or version or self.defaults.get(url) or self.checks.get(url)

    def objection(self, edition: Edition, expression: str | None = None) -> Issue | None:
        """What `check-system-version` has against a version; None: nothing."""
        required = self.checks.get(edition.url)
        if accepts(required, edition.version):
            return None
        return NOT_ALLOWED.issue(
            expression, version=edition.version or "", system=edition.url, required=required or ""
        )


NO_RULES = VersionRules()


def read_version_rules(inputs: Inputs) -> VersionRules:
    """The rules that the parameters of a request state.

    Raises:
        InvalidInput: one of them names no version.
        VersionConflict: two of a kind name different versions of the same system.
    """
    if inputs.keys().isdisjoint(_PARAMETERS):
        return NO_RULES
    return VersionRules(
        _rules(inputs, FORCE_SYSTEM_VERSION),
        _rules(inputs, SYSTEM_VERSION, DEFAULT_VALUE_SET_VERSION),
        _rules(inputs, CHECK_SYSTEM_VERSION),
    )


_PARAMETERS = frozenset(
    {SYSTEM_VERSION, CHECK_SYSTEM_VERSION, FORCE_SYSTEM_VERSION, DEFAULT_VALUE_SET_VERSION}
)


def _rules(inputs: Inputs, *names: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for name in names:
        for value in texts_of(inputs, name):
            url, version = parse_canonical(value)
            if not version:
                raise InvalidInput(f"The parameter '{name}' is a canonical URL with a version.")
            if found.setdefault(url, version) != version:
                raise VersionConflict(
                    f"The parameter '{name}' names two versions of '{url}': '{found[url]}' and '{version}'."
                )
    return found


async def code_systems(library: Library, url: str) -> Sequence[Edition]:
    """The versions of a code system whose codes can be told, the newest first; supplements are none."""
    return [
        each
        for each in await library.editions(Kind.CODE_SYSTEM, url)
        if each.content in USABLE and each.supplements is None
    ]


def choose(editions: Sequence[Edition], wanted: str | None) -> Edition | None:
    """The first of the versions that are meant; None: none is there."""
    return next((each for each in editions if accepts(wanted, each.version)), None)


async def find_code_system(
    library: Library, rules: VersionRules, system: str, version: str | None
) -> Edition | None:
    """The code system that is meant where a version is stated, or none is; None: it is not known here."""
    return choose(await code_systems(library, system), rules.wanted(system, version))


async def find_value_set(library: Library, rules: VersionRules, wanted: Canonical) -> Edition | None:
    """The value set that a canonical means; None: it is not known here."""
    version = rules.wanted(wanted.url, wanted.version)
    return await library.find(Kind.VALUE_SET, Canonical(wanted.url, version))


def unknown_code_system(
    editions: Sequence[Edition],
    wanted: Canonical,
    consequence: str,
    expression: str | None = None,
) -> Issue:
    """That a code system is not known, or not in this version; `editions`: those that are."""
    if wanted.version is None:
        return UNKNOWN_SYSTEM.issue(expression, system=wanted.url, consequence=consequence)
    versions = [each.version for each in editions if each.version is not None]
    if not versions:
        return UNKNOWN_SYSTEM_OF_VERSION.issue(
            expression, system=wanted.url, version=wanted.version, consequence=consequence
        )
    return UNKNOWN_VERSION.issue(
        expression,
        system=wanted.url,
        version=wanted.version,
        consequence=consequence,
        versions=list_versions(versions),
    )


def list_versions(versions: Sequence[str]) -> str:
    """Versions in a sentence, the oldest first: `1.0.0 or 1.2.0`; `1, 2 and 3`."""
    *others, last = sorted(set(versions), key=order_of)
    if not others:
        return last
    return f"{others[0]} or {last}" if len(others) == 1 else f"{', '.join(others)} and {last}"
