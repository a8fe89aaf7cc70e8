"""One provision of a Consent as conditions, or why some are not enforced (FHIR R4 consent.html#provision)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from fhir.search.date import EARLIEST_US, LATEST_US, parse_date
from fhir.search.definitions import resource_types
from fhir.search.reference import targets_of_reference
from fhir.search.value import Surroundings, bounded
from server.kernel.consents.labels import CONFIDENTIALITY, NO_RANK, RANKS
from server.kernel.consents.predicate import ANY

Json = Any
Label = tuple[str, str, int]  # system, code and rank; of confidentiality the rank alone counts

ACTIONS = "http://terminology.hl7.org/CodeSystem/consentaction"
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
ACCESS, DISCLOSE = "access", "disclose"
ACTS = frozenset({ACCESS, DISCLOSE})  # what is asked for at the doors

# Who gets to know: information recipient, and what specializes it (v3-ParticipationType).
RECIPIENTS = frozenset({"IRCP", "NOT", "PRCP", "REFB", "REFT", "TRC"})
ACTORS = frozenset({
    "Device", "Organization", "Patient", "Practitioner", "PractitionerRole", "RelatedPerson",
})  # fmt: skip
ONE_LABEL = "Of a permit one label is enforced."  # also of one above it
UNREAD = ("purpose", "code", "dataPeriod", "data")  # elements that narrow a provision and are not enforced


class Unenforced(Exception):
    """A condition that this server does not enforce."""

    def __init__(self, element: str, text: str) -> None:
        super().__init__(text)
        self.element, self.text = element, text


@dataclass(frozen=True, slots=True)
class Conditions:
    """What has to be so for a provision to speak; None: it does not ask."""

    actions: frozenset[str] = ACTS
    actors: frozenset[str] | None = None
    types: frozenset[str] | None = None
    labels: frozenset[Label] | None = None
    starts_us: int = EARLIEST_US
    ends_us: int = LATEST_US

    @property
    def is_empty(self) -> bool:
        """Whether nothing can meet them."""
        return not self.actions or self.types == frozenset() or self.starts_us >= self.ends_us

    def within(self, outer: "Conditions", element: str) -> "Conditions":
        """Both: those of a provision, and of the one above it.

        Raises:
            Unenforced: actors or labels are asked for twice, and who meets one need not meet the other.
        """
        return Conditions(
            self.actions & outer.actions,
            _only(self.actors, outer.actors, f"{element}.actor"),
            _both(self.types, outer.types),
            _only(self.labels, outer.labels, f"{element}.securityLabel"),
            max(self.starts_us, outer.starts_us),
            min(self.ends_us, outer.ends_us),
        )

    @property
    def size(self) -> int:
        """How many `rows` they are."""
        return len(self.actors or "*") * len(self.types or "*") * len(self.labels or "*")

    def rows(self) -> Sequence[dict[str, Any]]:
        """The columns that rows of denials and exceptions share; the rule is met when one of them is."""
        labels = self.labels or {("", "", NO_RANK)}
        return [
            {
                "actor": actor,
                "resource_type": resource_type,
                "system": system,
                "code": code,
                "rank": rank,
                "starts_us": self.starts_us,
                "ends_us": self.ends_us,
            }
            for actor, resource_type, (system, code, rank) in product(
                sorted(self.actors or {ANY}), sorted(self.types or {ANY}), sorted(labels)
            )
        ]


EVERYTHING = Conditions()


def conditions_of(provision: Json, element: str, around: Surroundings) -> Conditions:
    """The conditions of a provision itself.

    Raises:
        Unenforced: one of them is not enforced.
    """
    for name in UNREAD:
        if name in provision:
            raise Unenforced(f"{element}.{name}", "This condition is not enforced.")
    starts_us, ends_us = EARLIEST_US, LATEST_US
    if "period" in provision:
        starts_us, ends_us = _period(provision["period"], f"{element}.period", around)
    return Conditions(
        _actions(provision.get("action", ()), f"{element}.action"),
        _actors(provision.get("actor", ()), f"{element}.actor", around),
        _types(provision.get("class", ()), f"{element}.class"),
        _labels(provision, f"{element}.securityLabel"),
        starts_us,
        ends_us,
    )


def _period(period: Mapping[str, str], element: str, around: Surroundings) -> tuple[int, int]:
    """From the begin of the first to the end of the last day, or whatever the dates are precise to.

    A date may be there by an extension alone, which says why it has no value: it is no open end.
    """
    if any(f"_{name}" in period and name not in period for name in ("start", "end")):
        raise Unenforced(element, "The period has a date without a value.")
    start, end = (
        parse_date(period[name], around.zone) if name in period else None for name in ("start", "end")
    )
    unread = any(name in period and found is None for name, found in (("start", start), ("end", end)))
    if unread or (start is None and end is None):
        raise Unenforced(element, "The period cannot be read.")
    return start.low_us if start else EARLIEST_US, end.high_us if end else LATEST_US


def _actions(actions: Sequence[Json], element: str) -> frozenset[str]:
    found = set()
    for at, concept in enumerate(actions):
        codes = {each.get("code") for each in concept.get("coding", ()) if each.get("system") == ACTIONS}
        if len(codes) != 1 or not codes <= ACTS:
            raise Unenforced(f"{element}[{at}]", f"Only {ACCESS} and {DISCLOSE} are enforced.")
        found |= codes
    return frozenset(found) if actions else ACTS


def _actors(actors: Sequence[Json], element: str, around: Surroundings) -> frozenset[str] | None:
    found = set()
    for at, actor in enumerate(actors):
        coded = actor.get("role", {}).get("coding", ())
        if not any(each.get("system") == PARTICIPATION and each.get("code") in RECIPIENTS for each in coded):
            raise Unenforced(f"{element}[{at}].role", "Only recipients of information are enforced.")
        found.add(_reference(actor.get("reference", {}), f"{element}[{at}].reference", ACTORS, around))
    return frozenset(found) if actors else None


def _reference(reference: Json, element: str, types: frozenset[str], around: Surroundings) -> str:
    for target in targets_of_reference(reference, around):
        if target.id and target.type in types:
            return f"{target.type}/{target.id}"
    raise Unenforced(element, "This is no reference to one of these types here: " + ", ".join(sorted(types)))


def patient_of(consent: Json, around: Surroundings) -> str:
    """The id of the Patient whose Consent it is.

    Raises:
        Unenforced: there is none, or it is not named by a reference.
    """
    named = _reference(consent.get("patient", {}), "Consent.patient", frozenset({"Patient"}), around)
    return named.partition("/")[2]


def _types(classes: Sequence[Json], element: str) -> frozenset[str] | None:
    for at, each in enumerate(classes):
        if each.get("system") != RESOURCE_TYPES or each.get("code") not in resource_types():
            raise Unenforced(f"{element}[{at}]", f"Only resource types are enforced ({RESOURCE_TYPES}).")
    return frozenset(each["code"] for each in classes) if classes else None


def _labels(provision: Json, element: str) -> frozenset[Label] | None:
    labels = provision.get("securityLabel", ())
    if len(labels) > 1 and provision.get("type") == "permit":
        raise Unenforced(element, ONE_LABEL)
    return frozenset(_label(each, f"{element}[{at}]") for at, each in enumerate(labels)) or None


def _label(coding: Json, element: str) -> Label:
    system, code = coding.get("system"), coding.get("code")
    if not system or not code:
        raise Unenforced(element, "A label has a system and a code.")
    if system != CONFIDENTIALITY:
        return bounded(system), bounded(code), NO_RANK
    if code not in RANKS:
        raise Unenforced(element, "This is no label of confidentiality.")
    return "", "", RANKS[code]


def _only(mine: Any, outer: Any, element: str) -> Any:
    if mine is not None and outer is not None and mine != outer:
        raise Unenforced(element, "A provision above this one asks for others, too.")
    return outer if mine is None else mine


def _both(mine: frozenset[str] | None, outer: frozenset[str] | None) -> frozenset[str] | None:
    if mine is None or outer is None:
        return outer if mine is None else mine
    return mine & outer
