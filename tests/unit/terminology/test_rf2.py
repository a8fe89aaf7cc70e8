"""SNOMED CT's Release Format 2 is read (Release File Specifications §4, §5), from made-up releases."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.kernel.database import Database
from terminology.code_system import Content
from terminology.issues import InvalidDefinition
from terminology.language import NO_LONGER_USED
from terminology.listed import read_header
from terminology.loading import files
from terminology.loading.files import MAX_LINE_BYTES, UnreadableRelease
from terminology.loading.rf2 import read_release
from terminology.releases.system import ReleasedCodeSystem
from terminology.releases.writer import write_release
from tests.benchmarks.made_up_rf2 import (
    CORE_MODULE,
    DATE,
    GB_ENGLISH,
    IS_A,
    PREFERRED,
    SAME_AS,
    SOME,
    SYNONYM,
    MadeUpRelease,
    sctid,
    write_refset,
    write_rf2,
)

SIZE = 60
CONCEPTS = f"Snapshot/Terminology/sct2_Concept_Snapshot_INT_{DATE}.txt"
DESCRIPTIONS = f"Snapshot/Terminology/sct2_Description_Snapshot-en_INT_{DATE}.txt"
RELATIONSHIPS = f"Snapshot/Terminology/sct2_Relationship_Snapshot_INT_{DATE}.txt"
VALUES = f"Snapshot/Terminology/sct2_RelationshipConcreteValues_Snapshot_INT_{DATE}.txt"
LANGUAGE = f"Snapshot/Refset/Language/der2_cRefset_LanguageSnapshot-en_INT_{DATE}.txt"
SIMPLE = f"Snapshot/Refset/Content/der2_Refset_SimpleSnapshot_INT_{DATE}.txt"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_rf2(tmp_path / "release", SIZE)
    return tmp_path / "release"


def change(path: Path, edit: Callable[[list[bytes]], Any]) -> None:
    """Edit the lines of a file."""
    lines = path.read_bytes().splitlines(keepends=True)
    edit(lines)
    path.write_bytes(b"".join(lines))


def add(path: Path, *values: object) -> None:
    path.write_bytes(path.read_bytes() + "\t".join(map(str, values)).encode() + b"\r\n")


async def loaded(folder: Path, database: Database) -> ReleasedCodeSystem:
    with read_release(folder) as draft:
        written = await write_release(database, draft)
    counts = (written.concepts, written.active_concepts)
    return ReleasedCodeSystem(database, written.release_id, read_header(draft.header), counts=counts)


async def test_4_2_a_release_is_a_code_system(folder: Path, database: Database) -> None:
    made = MadeUpRelease(SIZE)
    at = made.fixed
    code = made.codes[at]
    add(
        folder / DESCRIPTIONS,
        sctid(900_000, "11"),
        DATE,
        1,
        CORE_MODULE,
        code,
        "en",
        SYNONYM,
        "Colour",
        SOME,
    )
    add(folder / DESCRIPTIONS, sctid(900_001, "11"), DATE, 0, CORE_MODULE, code, "en", SYNONYM, "Old", SOME)
    add(folder / LANGUAGE, "0-1", DATE, 1, CORE_MODULE, GB_ENGLISH, sctid(900_000, "11"), PREFERRED)
    system = await loaded(folder, database)
    assert system.header.version == f"http://snomed.info/sct/{CORE_MODULE}/version/{DATE}"
    assert (system.header.url, system.header.content) == ("http://snomed.info/sct", Content.COMPLETE)
    concept = await system.locate(code)
    assert concept is not None
    assert (concept.display, concept.inactive) == (made.names[at], False)
    said = {each.code: each.value for each in concept.properties}
    assert said["moduleId"] == CORE_MODULE
    assert (said["inactive"], said["semanticTag"], said["effectiveTime"]) == (False, made.tag(at), DATE)
    names = {(each.value, each.language, each.use["code"]) for each in concept.designations}
    assert (f"{made.names[at]} ({made.tag(at)})", "en", "900000000000003001") in names
    assert {(made.names[at], "en", SYNONYM), (made.names[at], "en-US", "preferredForLanguage")} <= names
    assert {("Colour", "en", SYNONYM), ("Colour", "en-GB", "preferredForLanguage")} <= names
    assert ("Old", "en", NO_LONGER_USED) in names
    assert set(await system.parents(code)) == {made.codes[each] for each in made.parents[at]}


def DESCRIPTIONS_OF(folder: Path) -> Path:
    return folder / DESCRIPTIONS


async def test_4_2_inactive_concepts_stay(folder: Path, database: Database) -> None:
    made = MadeUpRelease(SIZE)
    system = await loaded(folder, database)
    assert made.inactive
    for at in made.inactive:
        concept = await system.locate(made.codes[at])
        assert concept is not None
        assert concept.inactive


@pytest.mark.parametrize(
    ("path", "row"),
    [
        (LANGUAGE, ["0-1", DATE, 1, CORE_MODULE, GB_ENGLISH, "²²²²²²", PREFERRED]),
        (CONCEPTS, [sctid(900_000, "00"), "²" * 8, 1, CORE_MODULE, "900000000000074008"]),
    ],
)
def test_digits_are_those_of_ascii(folder: Path, path: str, row: list[object]) -> None:
    add(folder / path, *row)
    with pytest.raises(UnreadableRelease, match=r"\.txt:[0-9]+: "):
        read_release(folder)


def test_bytes_are_counted_over_all_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [path.stat().st_size for path in folder.rglob("*.txt")]
    monkeypatch.setattr(files, "MAX_BYTES", max(sizes) + 1)
    with pytest.raises(UnreadableRelease, match=r"more than .* bytes"):
        read_release(folder)


def test_a_zip_archive_and_a_folder_give_the_same(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "release.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.rglob("*.txt"):
            archive.write(path, f"SnomedCT_Release/{path.relative_to(folder).as_posix()}")
    with read_release(folder) as first, read_release(tmp_path / "release.zip") as second:
        assert first.index == second.index
        assert first.header == second.header


def test_an_extension_lies_beside_what_it_extends(folder: Path) -> None:
    made = MadeUpRelease(SIZE)
    module, own, changed = sctid(700_000, "10"), sctid(700_001, "10"), made.codes[made.fixed]
    later = "20250601"
    extension = folder / "Extension/Snapshot/Terminology"
    extension.mkdir(parents=True)
    head = (folder / CONCEPTS).read_text().splitlines()[0]
    rows = [
        f"{code}\t{later}\t{active}\t{module}\t900000000000074008"
        for code, active in ((module, 1), (own, 1), (changed, 0))
    ]
    (extension / f"sct2_Concept_Snapshot_9999999_{later}.txt").write_text("\n".join([head, *rows]) + "\n")
    with read_release(folder) as draft:
        assert draft.header["version"] == f"http://snomed.info/sct/{module}/version/{later}"
        assert own in draft.index
        assert (draft.names[draft.index[changed]] or "")[0] == "1"  # inactive by the newer file
    with read_release(folder, edition=CORE_MODULE) as draft:
        assert draft.header["version"] == f"http://snomed.info/sct/{CORE_MODULE}/version/{DATE}"


UNKNOWN = sctid(999_999, "10")


def _replaced(at: int, old: bytes, new: bytes) -> Callable[[list[bytes]], Any]:
    def edit(lines: list[bytes]) -> None:
        assert old in lines[at]
        lines[at] = lines[at].replace(old, new, 1)

    return edit


def _of_line(at: int, column: int, value: str) -> Callable[[list[bytes]], Any]:
    def edit(lines: list[bytes]) -> None:
        values = lines[at].rstrip(b"\r\n").split(b"\t")
        values[column] = value.encode()
        lines[at] = b"\t".join(values) + b"\r\n"

    return edit


@pytest.mark.parametrize(
    ("name", "edit", "line", "what"),
    [
        pytest.param(CONCEPTS, _replaced(0, b"moduleId", b"module"), 1, "columns", id="another header"),
        pytest.param(CONCEPTS, list.clear, 1, "columns", id="an empty file"),
        pytest.param(CONCEPTS, _of_line(5, 0, "123"), 6, "'123'", id="no identifier"),
        pytest.param(CONCEPTS, _of_line(5, 0, "123456"), 6, "check digit", id="a wrong check digit"),
        pytest.param(CONCEPTS, _of_line(5, 0, sctid(5, "11")), 6, "concept", id="a description's identifier"),
        pytest.param(CONCEPTS, lambda lines: lines.append(lines[3]), SIZE + 15, "twice", id="twice"),
        pytest.param(CONCEPTS, _of_line(5, 2, "yes"), 6, "'active'", id="neither active nor not"),
        pytest.param(CONCEPTS, _of_line(5, 1, "2025"), 6, "'effectiveTime'", id="no date"),
        pytest.param(CONCEPTS, _of_line(5, 4, "1"), 6, "definition status", id="another status"),
        pytest.param(CONCEPTS, _replaced(5, b"\t", b" "), 6, "5 columns", id="a column too few"),
        pytest.param(CONCEPTS, lambda lines: lines.insert(5, b"\r\n"), 6, "5 columns", id="an empty line"),
        pytest.param(DESCRIPTIONS, _of_line(5, 4, UNKNOWN), 6, UNKNOWN, id="of an unknown concept"),
        pytest.param(DESCRIPTIONS, _of_line(5, 6, "1"), 6, "no description", id="of an unknown type"),
        pytest.param(DESCRIPTIONS, _of_line(5, 7, ""), 6, "term", id="without a term"),
        pytest.param(DESCRIPTIONS, _replaced(5, b"\ten\t", b"\t\xe9\t"), 6, "UTF-8", id="Latin-1"),
        pytest.param(DESCRIPTIONS, _of_line(5, 7, "x" * MAX_LINE_BYTES), 6, "bytes", id="a very long line"),
        pytest.param(RELATIONSHIPS, _of_line(30, 5, UNKNOWN), 31, UNKNOWN, id="to an unknown concept"),
        pytest.param(RELATIONSHIPS, _of_line(30, 6, "x"), 31, "group", id="no group"),
        pytest.param(LANGUAGE, _of_line(5, 6, "1"), 6, "acceptability", id="another acceptability"),
        pytest.param(SIMPLE, _of_line(1, 4, UNKNOWN), 2, UNKNOWN, id="an unknown reference set"),
    ],
)
def test_what_is_wrong_is_told_by_file_and_line(
    folder: Path, name: str, edit: Callable[[list[bytes]], Any], line: int, what: str
) -> None:
    change(folder / name, edit)
    with pytest.raises(UnreadableRelease) as refused:
        read_release(folder)
    text = str(refused.value)
    assert text.startswith(f"{Path(name).name}:{line}: ")
    assert what in text


SIMPLE_MAP = ("der2_sRefset_SimpleMapSnapshot", "refsetId referencedComponentId mapTarget")
EXTENDED_MAP = (
    "der2_iisssccRefset_ExtendedMapSnapshot",
    "refsetId referencedComponentId mapGroup mapPriority mapRule mapAdvice mapTarget correlationId map",
)


@pytest.mark.parametrize(
    ("columns", "row", "line", "what"),
    [
        pytest.param(SIMPLE_MAP, ["J45"], 0, "", id="a simple map"),
        pytest.param(SIMPLE_MAP, [""], 2, "empty", id="to nothing"),
        pytest.param(SIMPLE_MAP, ["x" * 501], 2, "500", id="to a very long code"),
        pytest.param(
            (SIMPLE_MAP[0], SIMPLE_MAP[1].replace("map", "")), ["J45"], 1, "mapTarget", id="no column"
        ),
        pytest.param(
            EXTENDED_MAP, [1, 2, "TRUE", "", "", SOME, SOME], 0, "", id="an extended map, to nothing"
        ),
        pytest.param(EXTENDED_MAP, ["x", 2, "TRUE", "", "J45", SOME, SOME], 2, "mapGroup", id="no group"),
        pytest.param(
            EXTENDED_MAP, [1, "²", "TRUE", "", "J45", SOME, SOME], 2, "mapPriority", id="no priority"
        ),
    ],
)
def test_5_2_maps(folder: Path, columns: tuple[str, str], row: list[object], line: int, what: str) -> None:
    made = MadeUpRelease(SIZE)
    path = write_refset(folder, *columns, [(SAME_AS, made.codes[1], *row)])
    if not what:
        read_release(folder).__exit__(None, None, None)
        return
    with pytest.raises(UnreadableRelease) as refused:
        read_release(folder)
    assert str(refused.value).startswith(f"{path.name}:{line}: ")
    assert what in str(refused.value)


def test_a_concrete_value_is_a_number_or_a_text(folder: Path) -> None:
    made = MadeUpRelease(SIZE)
    row = (sctid(5_000_000, "12"), DATE, 1, CORE_MODULE, made.codes[-1])
    add(folder / VALUES, *row, "5", 0, made.codes[10], SOME, SOME)
    with pytest.raises(UnreadableRelease, match="no concrete value"):
        read_release(folder)


@pytest.mark.parametrize(
    ("missing", "what"),
    [(CONCEPTS, "sct2_Concept_Snapshot"), (DESCRIPTIONS, "sct2_Description"), (RELATIONSHIPS, "sct2_Rel")],
)
def test_a_file_that_is_missing_is_named(folder: Path, missing: str, what: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(UnreadableRelease, match=what):
        read_release(folder)


def test_full_files_alone_are_refused(folder: Path) -> None:
    (folder / CONCEPTS).rename(folder / CONCEPTS.replace("_Snapshot_", "_Full_"))
    (folder / RELATIONSHIPS).unlink()
    with pytest.raises(UnreadableRelease, match=r"there are .*Full"):
        read_release(folder)


def test_what_is_no_release_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.zip").write_text("text")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "text.zip"):
        with pytest.raises(UnreadableRelease):
            read_release(path)


def test_a_damaged_archive_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "release.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in folder.rglob("*.txt"):
            archive.write(each, each.relative_to(folder).as_posix())
    data = bytearray(path.read_bytes())
    at = data.index(b"sct2_Concept") + 200
    data[at : at + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(UnreadableRelease, match="damaged"):
        read_release(path)


async def test_a_circle_of_parents_is_refused(folder: Path, database: Database) -> None:
    made = MadeUpRelease(SIZE)
    at = next(each for each in range(SIZE - 1, 0, -1) if made.parents[each])
    child, parent = made.codes[at], made.codes[made.parents[at][0]]
    row = (sctid(5_000_000, "12"), DATE, 1, CORE_MODULE, parent, child, 0, IS_A, SOME, SOME)
    add(folder / RELATIONSHIPS, *row)
    with read_release(folder) as draft, pytest.raises(InvalidDefinition, match=child):
        await write_release(database, draft)
