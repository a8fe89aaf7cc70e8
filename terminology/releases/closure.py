"""What lies above what where a concept may have several parents (FHIR R4 codesystem.html#hierarchy).

A node is an index; its ancestors are an array of four bytes each, so that six million pairs take 30 MB.
"""

from array import array
from collections.abc import Iterator, Sequence

Nodes = Sequence[int]


class Cycle(Exception):
    """Some nodes lie below themselves; `nodes` are one circle."""

    def __init__(self, nodes: Sequence[int]) -> None:
        super().__init__(nodes)
        self.nodes = nodes


def close(parents: Sequence[Nodes]) -> list["array[int]"]:
    """The ancestors of each node, its parents among them, sorted.

    Raises:
        Cycle: some lie below themselves.
    """
    above: list[array[int]] = [array("I")] * len(parents)
    for node in in_order(parents):
        direct = parents[node]
        if direct:
            found = set(direct)
            found.update(*(above[parent] for parent in direct))
            above[node] = array("I", sorted(found))
    return above


def in_order(parents: Sequence[Nodes]) -> Iterator[int]:
    """The nodes, each after all of its parents.

    Raises:
        Cycle: some lie below themselves.
    """
    children = _children(parents)
    missing = array("I", (len(each) for each in parents))
    ready = [node for node, count in enumerate(missing) if not count]
    done = 0
    while ready:
        node = ready.pop()
        done += 1
        yield node
        for child in children.get(node, ()):
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    if done < len(parents):
        raise Cycle(_one_circle(parents, [node for node, count in enumerate(missing) if count]))


def transposed(above: Sequence["array[int]"]) -> tuple["array[int]", "array[int]"]:
    """The same pairs the other way round: where each node's descendants begin, and all of them in a row."""
    begins = array("I", bytes(4 * (len(above) + 1)))
    for each in above:
        for node in each:
            begins[node + 1] += 1
    for node in range(len(above)):
        begins[node + 1] += begins[node]
    places, below = begins[:], array("I", bytes(4 * begins[-1]))
    for descendant, each in enumerate(above):
        for node in each:
            below[places[node]] = descendant
            places[node] += 1
    return begins, below


def _children(parents: Sequence[Nodes]) -> dict[int, "array[int]"]:
    children: dict[int, array[int]] = {}
    for child, each in enumerate(parents):
        for parent in each:
            if parent not in children:
                children[parent] = array("I")
            children[parent].append(child)
    return children


def _one_circle(parents: Sequence[Nodes], left: Sequence[int]) -> Sequence[int]:
    """Walk upwards among nodes that wait for each other: at last one comes again."""
    waiting = set(left)
    walked: dict[int, int] = {}
    node = left[0]
    while node not in walked:
        walked[node] = len(walked)
        node = next(parent for parent in parents[node] if parent in waiting)
    return list(walked)[walked[node] :]
