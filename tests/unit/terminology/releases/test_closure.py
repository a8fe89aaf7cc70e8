"""What lies above what: computed, and turned round."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminology.releases.closure import Cycle, close, transposed


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    """Parents of nodes without a circle, in an order that says nothing of the hierarchy."""
    size = draw(st.integers(1, 12))
    names = draw(st.permutations(range(size)))
    parents: list[list[int]] = [[] for _ in range(size)]
    for at in range(1, size):
        parents[names[at]] = [names[p] for p in draw(st.sets(st.integers(0, at - 1), max_size=3))]
    return parents


def reached(node: int, parents: list[list[int]]) -> set[int]:
    found: set[int] = set()
    waiting = list(parents[node])
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += parents[each]
    return found


@settings(deadline=None)
@given(graphs())
def test_ancestors_are_what_can_be_reached(parents: list[list[int]]) -> None:
    above = close(parents)
    assert [set(each) for each in above] == [reached(node, parents) for node in range(len(parents))]
    for each in above:
        assert list(each) == sorted(each)
        assert all(set(above[ancestor]) <= set(each) for ancestor in each)  # transitive


@settings(deadline=None)
@given(graphs())
def test_turned_round_the_pairs_are_the_same(parents: list[list[int]]) -> None:
    above = close(parents)
    begins, below = transposed(above)
    turned = {(a, d) for a in range(len(above)) for d in below[begins[a] : begins[a + 1]]}
    assert turned == {(a, d) for d, each in enumerate(above) for a in each}


@pytest.mark.parametrize(
    ("parents", "circle"),
    [
        pytest.param([[0]], {0}, id="itself"),
        pytest.param([[1], [0]], {0, 1}, id="two"),
        pytest.param([[], [0, 3], [1], [2], [3]], {1, 2, 3}, id="three, with others above and below"),
    ],
)
def test_a_circle_is_named(parents: list[list[int]], circle: set[int]) -> None:
    with pytest.raises(Cycle) as refused:
        close(parents)
    assert set(refused.value.nodes) == circle
