"""How a retrieval of rendered resources begins: who asks, and how it is to look."""

from dataclasses import dataclass

from dicomweb.render.parameters import RenderParameters
from dicomweb.retrieve.request import RetrieveRequest


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """Who asks, what they take, and how it is to look."""

    retrieve: RetrieveRequest
    parameters: RenderParameters


def middle(count: int) -> int:
    """The number, from 1, in the middle of `count`; the earlier of two."""
    return max(1, (count + 1) // 2)
