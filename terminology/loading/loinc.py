"""A release of LOINC becomes a draft (LOINC Users' Guide; FHIR R4 loinc.html).

Concepts are terms, parts (LP…), answers (LA…) and answer lists (LL…). What lies below what is said by the
component hierarchy by system. The parts of a term are Codings, and filters know them by code and by name. Of
all files but `Loinc.csv` what is not there is not told.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from terminology.canonical import newest
from terminology.loading.csv_table import Row, read_table
from terminology.loading.files import Progress, ReleaseFiles, UnreadableRelease
from terminology.releases.draft import ReleaseDraft
from terminology.tables import TerminologyMember

Json = Any

LOINC = "http://loinc.org"
TABLE = "Loinc.csv"
AXES = ("COMPONENT", "PROPERTY", "TIME_ASPCT", "SYSTEM", "SCALE_TYP", "METHOD_TYP")
TEXTS = (
    "STATUS",
    "CLASS",
    "CLASSTYPE",
    "ORDER_OBS",
    "VersionLastChanged",
    "VersionFirstReleased",
    "PanelType",
)
_HIERARCHIES = ("ComponentHierarchyBySystem.csv", "MultiAxialHierarchy.csv")  # the second until 2.72
_PANELS = "PanelsAndForms"  # a folder
_VARIANT = re.compile(r"([a-z]{2,3})([A-Z]{2})\d+LinguisticVariant\.csv")
_VERSION = re.compile(r"Loinc_(\d+\.\d+)", re.IGNORECASE)
_INACTIVE = frozenset({"DEPRECATED", "INACTIVE"})


@dataclass(slots=True)
class _Beside:
    """What the other files say, by code."""

    links: dict[str, list[tuple[str, str, str]]] = field(default_factory=lambda: defaultdict(list))
    parents: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    variants: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    lists: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))  # of terms
    terms: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))  # of lists
    names: dict[str, str] = field(default_factory=dict)  # in the hierarchy


def read_release(path: Path, progress: Progress = lambda *_: None) -> ReleaseDraft:
    """The draft of a release in a folder or a zip archive; the caller closes it.

    Raises:
        UnreadableRelease: a file is not as LOINC describes it, or `Loinc.csv` is missing.
    """
    with ReleaseFiles(path, progress) as files:
        found = _tables(files.names)
        if TABLE not in found:
            raise UnreadableRelease(f"{path}: there is no file {TABLE}.")
        draft = ReleaseDraft(header_of(_version(files, path, found[TABLE])), "loinc")
        try:
            _Reading(files, found, draft).read()
        except BaseException:
            draft.__exit__(None, None, None)
            raise
    return draft


def _tables(names: Sequence[str]) -> Mapping[str, str]:
    """The files by their names; those beside the panels repeat a part of others."""
    of_panels = {name: f"/{name}".rpartition("/")[0].endswith(f"/{_PANELS}") for name in names}
    first = sorted(names, key=lambda name: not of_panels[name])
    return {name.rpartition("/")[2]: name for name in first}


def header_of(version: str | None) -> Json:
    """The CodeSystem resource of a release."""
    kinds = {**dict.fromkeys(AXES, "Coding"), **dict.fromkeys((*TEXTS, "copyright"), "string")}
    codes = ("parent", "child", "answer-list", "answers-for")
    relatives = [{"code": name, "type": "code"} for name in codes]
    for each in relatives[:2]:
        each["uri"] = f"http://hl7.org/fhir/concept-properties#{each['code']}"
    return {
        "resourceType": "CodeSystem",
        "url": LOINC,
        **({} if version is None else {"version": version}),
        "name": "LOINC",
        "title": "LOINC Code System",
        "status": "active",
        "content": "complete",
        "caseSensitive": False,
        "hierarchyMeaning": "is-a",
        "valueSet": f"{LOINC}/vs",
        "property": [
            *relatives,
            *(
                {"code": name, "uri": f"{LOINC}/property/{name}", "type": kind}
                for name, kind in kinds.items()
            ),
        ],
    }


def _version(files: ReleaseFiles, path: Path, table: str) -> str | None:
    """As the names say it, else the newest that a term was changed in."""
    for name in (path.name, *files.names):
        if match := _VERSION.search(name):
            return match[1]
    changed = {row["VersionLastChanged"] for row in read_table(files, table, ("VersionLastChanged",))}
    return newest(changed - {""})


class _Reading:
    """One release as it is read."""

    def __init__(self, files: ReleaseFiles, found: Mapping[str, str], draft: ReleaseDraft) -> None:
        self._files, self._found, self._draft = files, found, draft
        self._beside = _Beside()
        self._told: set[str] = set()

    def read(self) -> None:
        """Say all that the files have."""
        self._read_beside()
        for row in self._rows(TABLE, "LOINC_NUM", "LONG_COMMON_NAME", "STATUS", *AXES):
            self._say_term(row)
        for row in self._rows("Part.csv", "PartNumber", "PartName", "PartTypeName", "Status"):
            self._say_part(row)
        for code, name in self._beside.names.items():
            self._say({"code": code, "display": name})
        self._say_answers()

    def _rows(self, name: str, *needed: str) -> Iterator[Row]:
        return read_table(self._files, self._found[name], needed) if name in self._found else iter(())

    def _read_beside(self) -> None:
        beside = self._beside
        for row in self._rows(
            "LoincPartLink_Primary.csv", "LoincNumber", "PartNumber", "PartName", "Property"
        ):
            axis = row["Property"].rpartition("/")[2]
            beside.links[row["LoincNumber"]].append((axis, row["PartNumber"], row["PartName"]))
        for name in _HIERARCHIES:
            for row in self._rows(name, "IMMEDIATE_PARENT", "CODE", "CODE_TEXT"):
                beside.names.setdefault(row["CODE"], row["CODE_TEXT"])
                if row["IMMEDIATE_PARENT"]:
                    beside.parents[row["CODE"]][row["IMMEDIATE_PARENT"]] = None
        for row in self._rows("LoincAnswerListLink.csv", "LoincNumber", "AnswerListId"):
            beside.lists[row["LoincNumber"]][row["AnswerListId"]] = None
            beside.terms[row["AnswerListId"]][row["LoincNumber"]] = None
        for name in self._found:
            if match := _VARIANT.fullmatch(name):
                self._read_variant(name, f"{match[1]}-{match[2]}")

    def _read_variant(self, name: str, language: str) -> None:
        for row in self._rows(name, "LOINC_NUM"):
            value = row.get("LONG_COMMON_NAME") or row.get("LinguisticVariantDisplayName")
            if value:
                self._beside.variants[row["LOINC_NUM"]].append((language, value))

    def _say_term(self, row: Row) -> None:
        code, beside = row["LOINC_NUM"], self._beside
        links = beside.links.get(code, ())
        linked = {axis for axis, _, _ in links}
        copyright_of = "3rdParty" if row.get("EXTERNAL_COPYRIGHT_NOTICE") else "LOINC"
        properties: list[Json] = [
            {"code": axis, "valueCoding": {"system": LOINC, "code": part, "display": name}}
            for axis, part, name in links
        ]
        texts = {name: row.get(name, "") for name in TEXTS} | {"copyright": copyright_of}
        texts |= {axis: row[axis] for axis in AXES if axis not in linked}
        properties += [{"code": name, "valueString": text} for name, text in texts.items() if text]
        properties += [{"code": "answer-list", "valueCode": each} for each in beside.lists.get(code, ())]
        values = [(name, value) for axis, part, text in links for name, value in ((axis, part), (axis, text))]
        values += [(name, text) for name, text in texts.items() if text]
        values += [(axis, row[axis]) for axis in AXES if row[axis]]
        values += [("answer-list", each) for each in beside.lists.get(code, ())]
        entry = {
            "code": code,
            "display": row["LONG_COMMON_NAME"] or row.get("SHORTNAME") or code,
            **({"definition": text} if (text := row.get("DefinitionDescription")) else {}),
            "designation": list(self._designations(row)),
            "property": properties,
        }
        self._say(entry, row["STATUS"] not in _INACTIVE, values, row.get("RELATEDNAMES2", ""))

    def _designations(self, row: Row) -> Iterator[Json]:
        for name in ("SHORTNAME", "CONSUMER_NAME", "DisplayName"):
            if value := row.get(name):
                yield {"language": "en", "use": {"system": LOINC, "code": name}, "value": value}
        for language, value in self._beside.variants.get(row["LOINC_NUM"], ()):
            use = {"system": LOINC, "code": "LONG_COMMON_NAME"}
            yield {"language": language, "use": use, "value": value}

    def _say_part(self, row: Row) -> None:
        entry: Json = {"code": row["PartNumber"], "display": row.get("PartDisplayName") or row["PartName"]}
        if row["PartName"] != entry["display"]:
            entry["designation"] = [{"language": "en", "value": row["PartName"]}]
        entry["property"] = [
            {"code": "STATUS", "valueString": row["Status"]},
            {"code": "CLASSTYPE", "valueString": row["PartTypeName"]},
        ]
        self._say(entry, row["Status"] not in _INACTIVE)

    def _say_answers(self) -> None:
        of_answer: dict[str, dict[str, None]] = defaultdict(dict)
        answers, lists = dict[str, str](), dict[str, str]()
        members: list[tuple[str, str, int]] = []
        columns = ("AnswerListId", "AnswerListName", "AnswerStringId", "SequenceNumber", "DisplayText")
        for row in self._rows("AnswerList.csv", *columns):
            lists.setdefault(row["AnswerListId"], row["AnswerListName"])
            if answer := row["AnswerStringId"]:
                answers.setdefault(answer, row["DisplayText"])
                of_answer[answer][row["AnswerListId"]] = None
                number = row["SequenceNumber"]
                members.append((row["AnswerListId"], answer, int(number) if number.isdecimal() else 0))
        for code, name in lists.items():
            terms = [("answers-for", each) for each in self._beside.terms.get(code, ())]
            said = [{"code": name, "valueCode": value} for name, value in terms]
            self._say({"code": code, "display": name, "property": said}, values=terms)
        for code, display in answers.items():
            whose = {
                each: None for list_id in of_answer[code] for each in self._beside.terms.get(list_id, ())
            }
            values = [("answers-for", each) for each in (*of_answer[code], *whose)]
            self._say({"code": code, "display": display}, values=values)
        for list_id, answer, place in members:
            self._draft.add_row(TerminologyMember, refset=list_id, concept=answer, n=place)

    def _say(
        self,
        entry: Json,
        active: bool = True,
        values: list[tuple[str, str]] | None = None,
        related_names: str = "",
    ) -> None:
        """A concept, unless it was said before."""
        code = entry["code"]
        if code not in self._told:
            self._told.add(code)
            parents = self._beside.parents.get(code, ())
            self._draft.add_concept(
                entry, parents=parents, active=active, terms=[related_names], values=values
            )
