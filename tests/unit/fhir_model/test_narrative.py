"""Narrative.div is XHTML in which nothing runs and which loads nothing from elsewhere (narrative.html)."""

from typing import Any

import pytest

from fhir.model.narrative import ATTRIBUTES_OF, ELEMENTS, MAX_DEPTH, MAX_PROBLEMS, problems_of
from fhir.model.validation import IssueType, validate


def div(content: str) -> str:
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{content}</div>'


GOOD = [
    pytest.param("<p>Ada</p>", id="text"),
    pytest.param("a &lt; b &amp; c&nbsp;&eacute; &#160;", id="entities of XML and HTML"),
    pytest.param('<img src="#pic" alt="x"/>', id="only an image, of the resource"),
    pytest.param('<img src="data:image/png;base64,iVBO" alt="x"/>', id="image inline"),
    pytest.param('<img src="Binary/1" alt="x"/>', id="image of this server"),
    pytest.param('<a href="http://example.org/x">x</a><a name="y">y</a>', id="links are followed by people"),
    pytest.param('<a href="mailto:a@example.org">x</a><a href="#y">y</a>', id="other links"),
    pytest.param('<p style="color: red; background: url(data:image/png;base64,AA)">x</p>', id="style"),
    pytest.param('<table border="1"><tr><td colspan="2">x</td></tr></table>', id="table"),
    pytest.param("<!-- c --><p>x</p><![CDATA[a > b]]>", id="comment and character data"),
]
BAD = [
    pytest.param("<script>x</script>", id="script"),
    pytest.param('<p onclick="x()">x</p>', id="event handler"),
    pytest.param('<img src="x" onerror="x()"/>', id="event handler of an image"),
    pytest.param('<iframe src="http://example.org">x</iframe>', id="frame"),
    pytest.param("<form><input/></form>x", id="form"),
    pytest.param('<object data="x">x</object>', id="object"),
    pytest.param("<style>p {}</style>x", id="style sheet"),
    pytest.param('<link rel="stylesheet" href="x"/>x', id="link"),
    pytest.param("<body>x</body>", id="body"),
    pytest.param("<ins>x</ins>", id="HTML 4.0 9.4"),
    pytest.param('<svg xmlns="http://www.w3.org/2000/svg"/>x', id="other namespace"),
    pytest.param('<h:p xmlns:h="http://www.w3.org/1999/xhtml">x</h:p>', id="prefix"),
    pytest.param('<a href="javascript:x()">x</a>', id="script as a link"),
    pytest.param('<a href=" java&#10;script:x()">x</a>', id="script as a link, with what browsers drop"),
    pytest.param('<a href="data:text/html,x">x</a>', id="page as a link"),
    pytest.param('<img src="http://example.org/x.png" alt="x"/>', id="image from elsewhere"),
    pytest.param('<img src="//example.org/x.png" alt="x"/>', id="image from elsewhere without scheme"),
    pytest.param('<img src="data:text/html,x" alt="x"/>', id="image that is none"),
    pytest.param('<p style="background: url(http://example.org/x)">x</p>', id="style from elsewhere"),
    pytest.param("<p style=\"background: url(/**/'//example.org/x')\">x</p>", id="style with a comment"),
    pytest.param('<p style="background: u\\72l(//e.org/x)">x</p>', id="style with an escape"),
    pytest.param('<p style="width: expression(x())">x</p>', id="style that runs"),
    pytest.param("", id="empty (txt-2)"),
    pytest.param(" <p> </p>\n", id="white space (txt-2)"),
    pytest.param("<p>x", id="not well-formed"),
    pytest.param("<?php x ?>x", id="processing instruction"),
    pytest.param("<![CDATA[><img src=x onerror=x()>]]>x", id="what HTML finds in character data"),
    pytest.param("<!--><img src=x onerror=x()>-->x", id="what HTML finds in a comment"),
    pytest.param("<!---><img src=x onerror=x()>-->x", id="what HTML finds in another comment"),
    pytest.param("&nonsense;", id="unknown entity"),
    pytest.param("\ud800", id="lone surrogate"),
    pytest.param("<b>" * (MAX_DEPTH + 1) + "x" + "</b>" * (MAX_DEPTH + 1), id="deep"),
]
BOMB = (
    '<!DOCTYPE div [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    '<div xmlns="http://www.w3.org/1999/xhtml">&b;</div>'
)


@pytest.mark.parametrize("content", GOOD)
def test_harmless_content_passes(content: str) -> None:
    assert problems_of(div(content)) == []


@pytest.mark.parametrize("content", BAD)
def test_other_content_is_named(content: str) -> None:
    assert len(problems_of(div(content))) >= 1


@pytest.mark.parametrize("text", ["x", "<p>x</p>", "<div>x</div>", '<div xmlns="x">y</div>', BOMB, "<div/>x"])
def test_what_is_no_div_of_xhtml_is_refused(text: str) -> None:
    assert len(problems_of(text)) >= 1


def test_a_problem_says_which_element_but_no_text() -> None:
    assert problems_of(div("<script>Ada</script>")) == [
        "The narrative contains an element that is not allowed, script, (txt-1)."
    ]
    assert "ada" not in "".join(problems_of(div('<ada_lovelace_1815 born="1815"/>x')))


def test_what_is_told_has_an_end() -> None:
    assert (
        len(problems_of(div("".join(f"<x{i}/>" * 3 + f'<p y{i}="x"/>' for i in range(99))))) <= MAX_PROBLEMS
    )


def test_every_element_that_may_carry_attributes_is_allowed() -> None:
    assert set(ATTRIBUTES_OF) <= ELEMENTS


@pytest.mark.parametrize("text", [div("<script/>x"), 7, None])
def test_the_walker_places_it(text: Any) -> None:
    resource = {"resourceType": "Patient", "text": {"status": "generated", "div": text}}
    (issue,) = validate(resource)
    assert issue.expression == "Patient.text.div"
    assert issue.code is (IssueType.INVARIANT if isinstance(text, str) else IssueType.VALUE)
