"""What the consent page says of scopes (SMART App Launch 2.2, Scopes)."""

import pytest

from server.auth.authorize.words import choices
from server.auth.scopes import parse_scopes


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ("patient/Observation.rs", "See measurements and findings of this patient"),
        ("user/Task.cu", "Add to and change work that is to be done of everyone whom you may see"),
        (
            "patient/Observation.rs?category=http://x.test|lab,vital-signs&status=final",
            (
                "See measurements and findings of this patient, "
                "only with category lab or vital-signs and status final"
            ),
        ),
    ],
)
def test_scope_in_plain_words(scope: str, words: str) -> None:
    (line,) = choices(parse_scopes(scope))
    assert (line.scope, line.words) == (scope, words)
