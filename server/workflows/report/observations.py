"""Measurement groups and what is in them as Observations (PS3.16 TID 1411, 1501, 300; FHIR R4).

A group is an Observation with its members; a NUM, CODE or TEXT item in it is a member. What modifies a
measurement and has no place of its own in R4 (derivation, normality, …) is a component under its own concept.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from fhir.model import systems
from fhir.model.builders.datatypes import (
    coding,
    concept,
    identifier,
    quantity,
    reference,
    uid_identifier,
)
from fhir.model.builders.results import IMAGING_CATEGORY, ObservationFacts, observation
from server.kernel.uids import derived_id
from server.workflows.report import concepts
from server.workflows.report.coding import Schemes
from server.workflows.report.content import Concept, ContentItem, Number
from server.workflows.report.devices import Devices
from server.workflows.report.locations import locate, only_locates, thing_of
from server.workflows.report.regions import basis_of, notes_of

Json = Any
Resource = dict[str, Json]

GROUP = Concept(*concepts.MEASUREMENT_GROUP, "Measurement Group")
NOT_PERFORMED = coding(systems.DATA_ABSENT_REASON, "not-performed", "Not Performed")
TRACKING = (concepts.TRACKING_UID, concepts.TRACKING_IDENTIFIER)  # "nodule-1" may be another one next time
VALUE_TYPES = frozenset({"NUM", "CODE", "TEXT"})  # of what becomes an Observation or a component

# Items that tell of their parent and are read there; everything else with a value is said as its own.
READ_ELSEWHERE = frozenset(
    {
        concepts.TRACKING_IDENTIFIER,
        concepts.TRACKING_UID,
        concepts.FINDING,
        concepts.FINDING_CATEGORY,
        concepts.FINDING_SITE,
        concepts.MEASUREMENT_METHOD,
        concepts.METHOD_IN_WORDS,
        *concepts.ALGORITHM_ITEMS,
    }
)


@dataclass(frozen=True, slots=True)
class Common:
    """What all Observations of a report share."""

    report_id: str
    status: str
    study: dict[str, Json]  # reference to the ImagingStudy
    subject: dict[str, Json] | None
    effective: str | None
    issued: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where the items of a group belong."""

    tracking: str
    body_site: dict[str, Json] | None
    device: dict[str, Json]
    finding: Concept | None = None  # what was measured, unless it is the body site itself
    is_group: bool = False


@dataclass(slots=True)
class Observations:
    """The Observations of one document, in its order; `results` are those that the report names itself."""

    common: Common
    schemes: Schemes
    devices: Devices
    made: list[Resource] = field(default_factory=list)
    results: list[dict[str, Json]] = field(default_factory=list)
    sources: dict[str, ContentItem] = field(default_factory=dict)  # by the id of what was made of it
    also: dict[str, list[ContentItem]] = field(default_factory=dict)  # groups that locate it, by the same id
    _of_thing: dict[object, Resource] = field(default_factory=dict)  # the Observation of each group
    _times_named: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def add_group(self, group: ContentItem) -> None:
        """One measurement group: its members, then itself; or more about where an earlier one lies."""
        thing = thing_of(group)
        known = None if thing is None else self._of_thing.get(thing)
        if known is not None and only_locates(group):
            locate(known, group)
            self.also.setdefault(known["id"], []).append(group)
            return
        self.results.append(self._group(group))
        if thing is not None:
            self._of_thing.setdefault(thing, self.made[-1])

    def _group(self, group: ContentItem) -> dict[str, Json]:
        finding = _code_of(group, concepts.FINDING)
        place = self._place_of(group, finding)
        group_id = self._id("group", place.tracking)
        members = list(self._members_of(group, place))
        found = ("valueCodeableConcept", self.schemes.codeable(finding)) if finding else None
        facts = ObservationFacts(
            group_id,
            self.common.status,
            self.schemes.codeable(Concept(*concepts.FINDING, "Finding") if finding else GROUP),
            category=[IMAGING_CATEGORY, self.schemes.codeable(GROUP)],
            identifiers=list(_tracking_identifiers(group)),
            value=found,
            body_site=place.body_site,
            device=place.device,
            has_member=members,
            derived_from=[self.common.study, *basis_of(group)],
            components=[*self._components_of(group), *self._likelihood_of(group)],
            notes=notes_of(group),
        )
        return self._add(facts, group)

    def _members_of(self, container: ContentItem, place: Place) -> Iterator[dict[str, Json]]:
        """What stands in a group: measurements, evaluations, groups; also in containers within it."""
        for item in container.children:
            if item.value_type != "CONTAINER":
                if (member := self._member(item, place)) is not None:
                    yield member
            elif item.key == concepts.MEASUREMENT_GROUP:
                yield self._group(item)
            else:
                yield from self._members_of(item, place)

    def add_statement(self, item: ContentItem) -> None:
        """One item beside the groups."""
        place = Place("", None, self.devices.of_document)
        member = (
            self._not_measured(item, place)
            if item.key == concepts.NOT_MEASURED
            else self._member(item, place)
        )
        if member is not None:
            self.results.append(member)

    def _member(self, item: ContentItem, place: Place) -> dict[str, Json] | None:
        if item.relationship != "CONTAINS" or item.concept is None or not _says_something(item):
            return None
        if item.key == concepts.LATERALITY and place.body_site is not None:
            return None  # the side of the body site
        if item.key == concepts.PROBABILITY and place.is_group:
            return None  # a component of the group
        value, absent = self._value_of(item)
        if value is None and absent is None:
            return None
        derived = _code_of(item, concepts.DERIVATION)
        facts = ObservationFacts(
            self._id("member", place.tracking, *item.concept.key, derived.value if derived else ""),
            self.common.status,
            self.schemes.codeable(item.concept),
            identifiers=list(_tracking_identifiers(item)),
            value=value,
            data_absent_reason=absent,
            body_site=self._site_of(item) or place.body_site,
            method=self._method_of(item),
            device=self.devices.of(item) or place.device,
            derived_from=[self.common.study, *basis_of(item)],
            components=[*self._finding_of(place), *self._components_of(item)],
            notes=notes_of(item),
        )
        return self._add(facts, item)

    def _finding_of(self, place: Place) -> Iterator[dict[str, Json]]:
        """What a member was measured of: read by itself, an area must say whether it is one of fat."""
        if place.finding is not None:
            code = self.schemes.codeable(Concept(*concepts.FINDING, "Finding"))
            yield {"code": code, "valueCodeableConcept": self.schemes.codeable(place.finding)}

    def _not_measured(self, item: ContentItem, place: Place) -> dict[str, Json] | None:
        """Something that could not be measured: an Observation without a value that says why."""
        name = item.text()
        if name is None:
            return None
        reason = item.child(concepts.NOT_MEASURED_REASON)
        why = None if reason is None else reason.text()
        facts = ObservationFacts(
            self._id("not-measured", name),
            self.common.status,
            concept(text=name),
            data_absent_reason=concept(NOT_PERFORMED, text=why),
            device=place.device,
            derived_from=[self.common.study],
        )
        return self._add(facts, item)

    def _value_of(self, item: ContentItem) -> tuple[tuple[str, Json] | None, Json]:
        """The value element of an item, or the reason why it has none."""
        if item.value_type == "NUM":
            return self._quantity_of(item.number())
        if item.value_type == "CODE":
            code = item.code()
            return (None if code is None else ("valueCodeableConcept", self.schemes.codeable(code))), None
        text = item.text()
        return (None if text is None else ("valueString", text)), None

    def _quantity_of(self, number: Number | None) -> tuple[tuple[str, Json] | None, Json]:
        if number is None:
            return None, None
        if number.value is None:
            return None, None if number.qualifier is None else self.schemes.codeable(number.qualifier)
        unit = number.unit
        if unit is None:
            return ("valueQuantity", quantity(number.value, None, None, None)), None
        said = coding(self.schemes.system(unit), unit.value, unit.meaning)
        measured = quantity(number.value, said.get("display"), said.get("system"), said.get("code"))
        if "system" not in measured:  # qty-3: a code needs its system
            measured.pop("code", None)
        return ("valueQuantity", measured), None

    def _components_of(self, item: ContentItem) -> Iterator[dict[str, Json]]:
        for child in item.children:
            if child.relationship != "CONTAINS":
                yield from self._component_of(child)

    def _likelihood_of(self, group: ContentItem) -> Iterator[dict[str, Json]]:
        """How probable it is that what a group found is there."""
        for child in group.children:
            if child.key == concepts.PROBABILITY and child.relationship == "CONTAINS":
                yield from self._component_of(child)

    def _component_of(self, item: ContentItem, of: str = "") -> Iterator[dict[str, Json]]:
        """What an item says, `of` another one; of a probability also how far it spreads."""
        if item.concept is None or not _says_something(item):
            return
        value, absent = self._value_of(item)
        code = {"code": self.schemes.codeable(item.concept, of and f"{of}, {item.concept.meaning}")}
        if value is not None:
            yield {**code, value[0]: value[1]}
        elif absent is not None:
            yield {**code, "dataAbsentReason": absent}
        if item.key == concepts.PROBABILITY:
            for child in item.children:
                yield from self._component_of(child, item.concept.meaning)

    def _method_of(self, item: ContentItem) -> dict[str, Json] | None:
        method = _code_of(item, concepts.MEASUREMENT_METHOD)
        words = item.child(concepts.METHOD_IN_WORDS) or item.child(concepts.MEASUREMENT_METHOD)
        text = None if words is None else words.text()
        if method is None:
            return None if text is None else concept(text=text)
        return self.schemes.codeable(method, text)

    def _place_of(self, group: ContentItem, finding: Concept | None) -> Place:
        tracking = next((t for t in (_text_of(group, key) for key in TRACKING) if t), "")
        site = self._site_of(group)
        sites = {coded.get("code") for coded in (site or {}).get("coding", ())}
        said = finding if finding is not None and finding.value not in sites else None
        device = self.devices.of(group) or self.devices.of_document
        return Place(tracking, site, device, said, is_group=True)

    def _site_of(self, item: ContentItem) -> dict[str, Json] | None:
        """Finding Site with its side; without one, a finding that is itself a part of the body."""
        site_item = item.child(concepts.FINDING_SITE)
        site = None if site_item is None else site_item.code()
        side = None if site_item is None else _code_of(site_item, concepts.LATERALITY)
        if site is None:
            category = _code_of(item, concepts.FINDING_CATEGORY)
            if category is None or category.key not in concepts.BODY_PART_CATEGORIES:
                return None
            site = _code_of(item, concepts.FINDING)
        side = side or _code_of(item, concepts.LATERALITY)
        return None if site is None else self.schemes.body_site(site, side)

    def _add(self, facts: ObservationFacts, source: ContentItem) -> dict[str, Json]:
        common = self.common
        self.sources[facts.id] = source
        made = observation(replace(facts, components=_told_apart(facts)))
        for name, value in (
            ("subject", common.subject),
            ("effectiveDateTime", common.effective),
            ("issued", common.issued),
        ):
            if value is not None:
                made[name] = value
        self.made.append(made)
        return reference("Observation", facts.id)

    def _id(self, *parts: str) -> str:
        """The id of what these parts name; said again in one document, it is another one."""
        self._times_named[parts] += 1
        nth = self._times_named[parts]
        again = [] if nth == 1 else [str(nth)]
        return derived_id("observation", self.common.report_id, *parts, *again)


def _told_apart(facts: ObservationFacts) -> list[dict[str, Json]]:
    """The components; one under the code of the Observation itself by its words only, as obs-7 wants.

    So says a measurement that is inferred from others of its kind (PS3.16 TID 300, INFERRED FROM).
    """
    own = {_key_of(coded) for coded in facts.code.get("coding", ())}
    return [
        {**each, "code": concept(text=each["code"]["text"])}
        if any(_key_of(coded) in own for coded in each["code"].get("coding", ()))
        else each
        for each in facts.components
    ]


def _key_of(coded: dict[str, Json]) -> tuple[Json, Json]:
    return coded.get("system"), coded.get("code")


def _says_something(item: ContentItem) -> bool:
    return item.value_type in VALUE_TYPES and item.key not in READ_ELSEWHERE


def _tracking_identifiers(item: ContentItem) -> Iterator[dict[str, Json]]:
    """Tracking UID and Tracking Identifier, which SEG and SR share."""
    uid = item.child(concepts.TRACKING_UID)
    if uid is not None and (value := uid.uid()):
        yield uid_identifier(value)
    if name := _text_of(item, concepts.TRACKING_IDENTIFIER):
        yield identifier(
            None, name, concept(coding(systems.DICOM, concepts.TRACKING_IDENTIFIER[0], "Tracking Identifier"))
        )


def _code_of(item: ContentItem, key: tuple[str, str]) -> Concept | None:
    child = item.child(key)
    return None if child is None else child.code()


def _text_of(item: ContentItem, key: tuple[str, str]) -> str | None:
    child = item.child(key)
    return None if child is None else child.text()
