"""Writes a made-up release in SNOMED CT's Release Format 2, of any size; nothing in it is SNOMED CT's.

Concepts have identifiers in a namespace that nobody has, names of a small vocabulary, several parents, and
attributes in groups; those that the format itself needs (types, acceptabilities, the is-a relationship) have
the identifiers that RF2 gives them. The same seed gives the same release.

    python -m tests.benchmarks.made_up_rf2 FOLDER --concepts 350000
"""

import argparse
import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from terminology.sctid import check_digit

NAMESPACE = "9999999"
DATE = "20250131"
IS_A = "116680003"
CORE_MODULE = "900000000000207008"
FULLY_SPECIFIED_NAME, SYNONYM = "900000000000003001", "900000000000013009"
PREFERRED, ACCEPTABLE = "900000000000548007", "900000000000549004"
PRIMITIVE, DEFINED = "900000000000074008", "900000000000073002"
INFERRED, SOME = "900000000000011006", "900000000000451002"
US_ENGLISH, GB_ENGLISH = "900000000000509007", "900000000000508004"
SAME_AS = "900000000000527005"
METADATA = {
    CORE_MODULE: "Core module",
    IS_A: "Is a",
    FULLY_SPECIFIED_NAME: "Kind of full name",
    SYNONYM: "Kind of other name",
    PREFERRED: "To be used",
    ACCEPTABLE: "May be used",
    PRIMITIVE: "Not wholly told",
    DEFINED: "Wholly told",
    INFERRED: "Worked out",
    SOME: "One or more",
    US_ENGLISH: "American names",
    GB_ENGLISH: "British names",
    SAME_AS: "Means the same",
}
TAGS = ("disorder", "finding", "procedure", "body structure", "substance", "product", "organism", "event")
ATTRIBUTES, REFSETS = 12, 3
INACTIVE_SHARE = 0.04
_ONSETS = ("b", "br", "d", "f", "gl", "h", "k", "l", "m", "n", "p", "pl", "r", "s", "st", "t", "tr", "v", "z")
_VOWELS = ("a", "e", "i", "o", "u", "ia", "eu", "ou")
_CODAS = ("", "l", "n", "r", "s", "x", "nt", "m")


def sctid(number: int, partition: str) -> str:
    """An identifier in our namespace: `10` a concept's, `11` a description's, `12` a relationship's."""
    digits = f"{number}{NAMESPACE}{partition}"
    return digits + check_digit(digits)


@dataclass
class MadeUpRelease:
    """What is written."""

    concepts: int
    seed: int = 1
    codes: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    parents: list[Sequence[int]] = field(default_factory=list)
    inactive: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.codes = [sctid(10 + at, "10") for at in range(self.concepts)]
        words = self._words(max(40, min(9_000, self.concepts // 20)))
        weights = [1 / (rank + 3) for rank in range(len(words))]  # about as Zipf counted them
        lengths = self.chance.choices((1, 2, 3, 4, 5, 6, 7), (2, 10, 22, 26, 20, 12, 8), k=self.concepts)
        drawn = iter(self.chance.choices(words, weights, k=sum(lengths)))
        self.names = [" ".join(next(drawn) for _ in range(length)).capitalize() for length in lengths]
        self.inactive = {
            at for at in range(self.fixed, self.concepts) if self.chance.random() < INACTIVE_SHARE
        }
        self.parents = [self._parents_of(at) for at in range(self.concepts)]

    @property
    def fixed(self) -> int:
        """The root, the tops, attributes and reference sets are the first."""
        return 1 + len(TAGS) + ATTRIBUTES + REFSETS

    @property
    def attributes(self) -> range:
        """Concepts that are attributes."""
        return range(1 + len(TAGS), 1 + len(TAGS) + ATTRIBUTES)

    @property
    def refsets(self) -> range:
        """Concepts that are reference sets."""
        return range(self.fixed - REFSETS, self.fixed)

    def tag(self, at: int) -> str:
        """The semantic tag; the hierarchies lie one in another by turns."""
        return TAGS[at % len(TAGS)]

    def _words(self, count: int) -> list[str]:
        found: dict[str, None] = {}
        while len(found) < count:
            syllables = self.chance.choice((1, 2, 2, 3))
            word = "".join(
                self.chance.choice(part) for _ in range(syllables) for part in (_ONSETS, _VOWELS)
            ) + self.chance.choice(_CODAS)
            found[word] = None
        return list(found)

    def _parents_of(self, at: int) -> Sequence[int]:
        """Of the same hierarchy, some way above; a few concepts have very many below them."""
        if at == 0 or at in self.inactive:
            return ()
        if at < self.fixed:
            return (0,)
        found = set()
        rank = (at - self.fixed) // len(TAGS) + 1  # how many of its hierarchy come before
        for _ in range(self.chance.choice((1, 1, 1, 1, 1, 2, 2, 3))):
            before = int(rank * self.chance.random() ** 1.6)
            other = self.fixed + (before - 1) * len(TAGS) + (at - self.fixed) % len(TAGS) if before else 0
            if not other or other in self.inactive or other >= at:
                other = 1 + (at - self.fixed) % len(TAGS)
            found.add(other)
        return sorted(found)


def write_rf2(folder: Path, concepts: int, seed: int = 1) -> MadeUpRelease:
    """Write a release into a folder."""
    release = MadeUpRelease(concepts, seed)
    terminology, language = folder / "Snapshot/Terminology", folder / "Snapshot/Refset/Language"
    content, metadata = folder / "Snapshot/Refset/Content", folder / "Snapshot/Refset/Metadata"
    for each in (terminology, language, content, metadata):
        each.mkdir(parents=True, exist_ok=True)
    _write_concepts(release, terminology)
    _write_descriptions(release, terminology, language)
    _write_relationships(release, terminology)
    _write_refsets(release, content, metadata)
    return release


def _open(folder: Path, name: str, columns: str) -> IO[str]:
    stream = (folder / f"{name}_INT_{DATE}.txt").open("w", encoding="utf-8", newline="\r\n")
    stream.write("\t".join(["id", "effectiveTime", "active", "moduleId", *columns.split()]) + "\n")
    return stream


def _all(release: MadeUpRelease) -> Iterator[tuple[str, str, str, bool]]:
    """Code, name, tag and whether it is active."""
    for code, name in METADATA.items():
        yield code, name, "metadata", True
    for at, (code, name) in enumerate(zip(release.codes, release.names, strict=True)):
        yield code, name, release.tag(at), at not in release.inactive


def _write_concepts(release: MadeUpRelease, folder: Path) -> None:
    with _open(folder, "sct2_Concept_Snapshot", "definitionStatusId") as stream:
        for code, _, _, active in _all(release):
            status = DEFINED if release.chance.random() < 0.3 else PRIMITIVE
            stream.write(f"{code}\t{DATE}\t{active:d}\t{CORE_MODULE}\t{status}\n")


def _write_descriptions(release: MadeUpRelease, folder: Path, language: Path) -> None:
    chance, number = release.chance, 10
    columns = "conceptId languageCode typeId term caseSignificanceId"
    accepted_columns = "refsetId referencedComponentId acceptabilityId"
    with (
        _open(folder, "sct2_Description_Snapshot-en", columns) as stream,
        _open(language, "der2_cRefset_LanguageSnapshot-en", accepted_columns) as accepted,
    ):
        for code, name, tag, _ in _all(release):
            terms = [(FULLY_SPECIFIED_NAME, f"{name} ({tag})", PREFERRED), (SYNONYM, name, PREFERRED)]
            if chance.random() < 0.2:
                terms.append((SYNONYM, f"{name} {chance.choice(release.names).lower()}", ACCEPTABLE))
            for kind, term, how in terms:
                description = sctid(number, "11")
                number += 1
                stream.write(f"{description}\t{DATE}\t1\t{CORE_MODULE}\t{code}\ten\t{kind}\t{term}\t{SOME}\n")
                for refset in (US_ENGLISH, GB_ENGLISH):
                    accepted.write(
                        f"{_uuid(chance)}\t{DATE}\t1\t{CORE_MODULE}\t{refset}\t{description}\t{how}\n"
                    )


def _write_relationships(release: MadeUpRelease, folder: Path) -> None:
    chance, number = release.chance, 10
    columns = "sourceId destinationId relationshipGroup typeId characteristicTypeId modifierId"
    values = columns.replace("destinationId", "value")
    active = [at for at in range(release.fixed, release.concepts) if at not in release.inactive]
    with (
        _open(folder, "sct2_Relationship_Snapshot", columns) as stream,
        _open(folder, "sct2_RelationshipConcreteValues_Snapshot", values) as concrete,
    ):

        def write(to: IO[str], source: str, value: str, group: int, attribute: str) -> None:
            nonlocal number
            row = f"{source}\t{value}\t{group}\t{attribute}\t{INFERRED}\t{SOME}"
            to.write(f"{sctid(number, '12')}\t{DATE}\t1\t{CORE_MODULE}\t{row}\n")
            number += 1

        for code in METADATA:
            write(stream, code, release.codes[0], 0, IS_A)
        for at, parents in enumerate(release.parents):
            for parent in parents:
                write(stream, release.codes[at], release.codes[parent], 0, IS_A)
        for at in active:
            for group in range(chance.choice((0, 0, 1, 1, 2))):
                for _ in range(chance.choice((1, 2, 2, 3))):
                    attribute = release.codes[chance.choice(release.attributes)]
                    target = release.codes[active[int(len(active) * chance.random() ** 2)]]
                    write(stream, release.codes[at], target, group + chance.choice((0, 1)), attribute)
            if chance.random() < 0.02:
                attribute = release.codes[release.attributes[0]]
                write(concrete, release.codes[at], f"#{chance.choice((1, 2.5, 5, 10))}", 1, attribute)


def _write_refsets(release: MadeUpRelease, content: Path, metadata: Path) -> None:
    chance = release.chance
    with _open(content, "der2_Refset_SimpleSnapshot", "refsetId referencedComponentId") as stream:
        for at in range(release.fixed, release.concepts):
            if chance.random() < 0.05:
                refset = release.codes[chance.choice(release.refsets)]
                stream.write(f"{_uuid(chance)}\t{DATE}\t1\t{CORE_MODULE}\t{refset}\t{release.codes[at]}\n")
    columns = "refsetId referencedComponentId targetComponentId"
    with _open(content, "der2_cRefset_AssociationSnapshot", columns) as stream:
        for at in sorted(release.inactive):
            target = release.codes[chance.randrange(release.fixed)]
            stream.write(
                f"{_uuid(chance)}\t{DATE}\t1\t{CORE_MODULE}\t{SAME_AS}\t{release.codes[at]}\t{target}\n"
            )
    columns = "refsetId referencedComponentId sourceEffectiveTime targetEffectiveTime"
    with _open(metadata, "der2_ssRefset_ModuleDependencySnapshot", columns) as stream:
        row = f"{CORE_MODULE}\t{release.codes[0]}\t{CORE_MODULE}\t{DATE}\t{DATE}"
        stream.write(f"{_uuid(chance)}\t{DATE}\t1\t{row}\n")


def add_concepts(folder: Path, codes: Sequence[str]) -> None:
    """Add concepts of which nothing is said to a release that has been written."""
    path = folder / f"Snapshot/Terminology/sct2_Concept_Snapshot_INT_{DATE}.txt"
    with path.open("a", encoding="utf-8", newline="\r\n") as stream:
        stream.writelines(f"{code}\t{DATE}\t1\t{CORE_MODULE}\t{PRIMITIVE}\n" for code in codes)


def write_refset(folder: Path, name: str, columns: str, rows: Sequence[Sequence[object]]) -> Path:
    """Write one more reference set of a release; the path of its file."""
    chance = random.Random(name)
    with _open(folder / "Snapshot/Refset/Content", name, columns) as stream:
        for row in rows:
            stream.write("\t".join(map(str, (_uuid(chance), DATE, 1, CORE_MODULE, *row))) + "\n")
    return Path(stream.name)


def _uuid(chance: random.Random) -> uuid.UUID:
    return uuid.UUID(int=chance.getrandbits(128))


def main() -> None:
    """Write one for a benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--concepts", type=int, default=350_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    write_rf2(arguments.folder, arguments.concepts, arguments.seed)


if __name__ == "__main__":
    main()
