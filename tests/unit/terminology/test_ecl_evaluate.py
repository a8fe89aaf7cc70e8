"""What expression constraints mean in a release, on both databases (ECL 2.2, §6)."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import literal, select

from server.kernel.database import Database
from server.kernel.rows import table_of
from terminology.ecl.concepts import DEFINED, PREFERRED
from terminology.ecl.evaluate import Meaning
from terminology.ecl.parse import parse
from terminology.ecl.render import render
from terminology.ecl.resolve import understand
from terminology.ecl.syntax import ConceptReference, Expression
from terminology.issues import InvalidFilter, NotSupported
from terminology.releases.writer import write_release
from terminology.sctid import check_digit
from terminology.tables import TerminologyConcept
from tests.asked_in_turn import asked_in_turn
from tests.unit.terminology.ecl_content import CODES, WORDS, Content, Naive, make_content
from tests.unit.terminology.ecl_trees import Trees

CONCEPT = table_of(TerminologyConcept)
TREES = Trees(
    [ConceptReference(code) for code in (*CODES, DEFINED, PREFERRED)],
    words=st.sampled_from(["cafe", "CO big", "cold", "x", "100", "J45.9", "café", "100%"]),
    wild=st.sampled_from(["*", "*cold*", "café*", "100%", "*x_y", "big*cold", *WORDS]),
)


class Written:
    """Random contents as releases of one database."""

    def __init__(self, runner: asyncio.Runner, database: Database) -> None:
        self.runner, self.database = runner, database
        self._releases: dict[int, tuple[int, Naive]] = {}

    def release(self, seed: int) -> tuple[int, Naive]:
        """A release, and what expressions mean in it."""
        if seed not in self._releases:
            content = make_content(seed)
            with content.draft(str(seed)) as draft:
                done = self.runner.run(write_release(self.database, draft))
            self._releases[seed] = done.release_id, Naive(content)
        return self._releases[seed]

    def ask(self, release_id: int, text: str) -> tuple[set[str], set[str]]:
        """What it means: all at once, and asked of each concept."""
        return self.runner.run(self._ask(release_id, text))

    async def _ask(self, release_id: int, text: str) -> tuple[set[str], set[str]]:
        async with self.database.read() as connection:
            tree, meaning = await understand(connection, release_id, text)
            c = CONCEPT.c
            own = select(c.code).where(c.release_id == release_id)
            at_once = list(await connection.scalars(own.where(c.number.in_(meaning.numbers(tree)))))
            numbers = list(await connection.scalars(meaning.numbers(tree)))
            each = await connection.scalars(own.where(meaning.holds(tree, c.number)))
            assert len(numbers) == len(set(numbers)), "a concept comes twice"
            codes_of = select(c.code, c.number).where(c.release_id == release_id, c.number % 7 == 1)
            for code, number in (await connection.execute(codes_of)).all():
                one = select(literal(1)).where(meaning.holds(tree, literal(number)))
                assert (await connection.scalar(one) is not None) == (code in at_once), code
            return set(at_once), set(each)


@pytest.fixture
def written(database_url: str) -> Iterator[Written]:
    with asyncio.Runner() as runner:
        database = Database(database_url)
        found = Written(runner, database)
        yield found
        runner.run(database.close())


@given(tree=TREES.expressions(), at=st.integers(0, 2))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_means_what_it_says(written: Written, tree: Expression, at: int) -> None:
    release_id, naive = written.release(at)
    expected = naive.mean(tree)
    assert written.ask(release_id, render(tree)) == (expected, expected)


def test_a_concept_that_is_not_there_is_named(written: Written) -> None:
    unknown = "10200010" + check_digit("10200010")
    for text, what in {
        "< 123456": "123456.*check digit",
        "101000100 AND < 101000011": "101000011.*no identifier of a concept",
        f"* : 101000100 = < {unknown}": f"{unknown}.*unknown",
    }.items():
        with pytest.raises(InvalidFilter, match=what) as refused:
            written.ask(written.release(0)[0], text)
        assert text in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "^ [mapTarget] 101000100",
        "^ [*] 101000100",
        "^ 101000100 {{ M active = 0 }}",
        "* {{ dialectId = < 101000100 }}",
        "* {{ C definitionStatusId = 101000100 }}",
        "* : { R 101000100 = * }",
    ],
)
def test_what_is_not_done_is_refused(text: str) -> None:
    with pytest.raises(NotSupported, match="ECL"):
        Meaning(1, {"101000100": 1}).numbers(parse(text))


@asked_in_turn("term", ["J45.9", "j45.9 IFA", "ÄPFEL", "äpfel", "10%", "ifa"])
def test_6_9_words_of_a_field_are_what_white_space_parts(written: Written, term: str) -> None:
    refset, code = CODES[:2]
    fields = '{"mapTarget":"IFA J45.9 %s 10%%"}' % ("ÄPFEL" if term.isupper() else "äpfel")
    content = Content(members=[{"refset": refset, "concept": code, "n": 0, "fields": fields}])
    content.values = [{"source": code, "role_group": 0, "attribute": refset, "value": fields[14:-2]}]
    with content.draft(term) as draft:
        release_id = written.runner.run(write_release(written.database, draft)).release_id
    for text in (f'^ {refset} {{{{ M mapTarget = "{term}" }}}}', f'* : {refset} = "{term}"'):
        assert written.ask(release_id, text) == ({code}, {code})
        assert written.ask(release_id, text.replace(term, f"{term}0")) == (set(), set())


@pytest.mark.parametrize("inner", ["<< {0}", "* MINUS {0}", "<< {0} OR {1}", "^ *", "* : * = *", "* . *"])
@pytest.mark.parametrize("end", ["!!>", "!!<"])
def test_6_1_the_ends_of_a_set(written: Written, end: str, inner: str) -> None:
    for seed in range(3):
        release_id, naive = written.release(seed)
        for at in range(0, len(CODES) - 1, 3):
            text = f"{end} ({inner.format(CODES[at], CODES[at + 1])})"
            expected = naive.mean(parse(text))
            assert written.ask(release_id, text) == (expected, expected)


def test_keywords_may_stand_for_concepts_that_a_release_does_not_have(written: Written) -> None:
    release_id, naive = written.release(0)
    tree = parse("< 101000100")
    assert written.ask(release_id, "< 101000100 {{ +HISTORY-MOD }}")[0] == naive.mean(tree)


def test_a_large_expression_is_one_statement(written: Written) -> None:
    release_id, naive = written.release(0)
    text = " OR ".join(f"<< {CODES[at % len(CODES)]}" for at in range(150))
    expected = naive.mean(parse(text))
    assert written.ask(release_id, text) == (expected, expected)
