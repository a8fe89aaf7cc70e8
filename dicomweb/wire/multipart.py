"""Writing multipart/related messages (PS3.18 §8.6.1.2, RFC 2387, RFC 2046 §5.1.1).

Boundaries are arguments: random text of 22 or more letters, digits or hyphens, which no content then holds.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

CRLF = b"\r\n"


@dataclass(frozen=True, slots=True)
class PartHead:
    """What stands above the content of one part."""

    content_type: str
    length: int | None = None  # of the content in bytes, when known
    location: str | None = None  # Content-Location


@dataclass(frozen=True, slots=True)
class Part:
    """A part with content that is at hand or arrives in chunks."""

    head: PartHead
    content: bytes | AsyncIterable[bytes]


def content_type(media_type: str, boundary: str) -> str:
    """The Content-Type of the message: `media_type` is that of its parts, without parameters."""
    return f'multipart/related; type="{media_type}"; boundary={boundary}'


def opening(boundary: str, head: PartHead, *, first: bool) -> bytes:
    """What goes before the content of a part: delimiter, header fields, blank line."""
    lines = [f"--{boundary}", f"Content-Type: {head.content_type}"]
    if head.length is not None:
        lines.append(f"Content-Length: {head.length}")
    if head.location is not None:
        lines.append(f"Content-Location: {head.location}")
    return (b"" if first else CRLF) + "\r\n".join(lines).encode("latin_1") + CRLF + CRLF


def closing(boundary: str) -> bytes:
    """What ends the message, behind the last part's content."""
    return f"\r\n--{boundary}--\r\n".encode("latin_1")


def message_length(boundary: str, heads: Sequence[PartHead]) -> int | None:
    """The Content-Length of a message of these parts, None when one of theirs is not known."""
    total = len(closing(boundary))
    for index, head in enumerate(heads):
        if head.length is None:
            return None
        total += len(opening(boundary, head, first=index == 0)) + head.length
    return total


def message(boundary: str, parts: Iterable[tuple[PartHead, bytes]]) -> bytes:
    """A whole message of parts that are at hand."""
    chunks: list[bytes] = []
    for head, content in parts:
        chunks += (opening(boundary, head, first=not chunks), content)
    chunks.append(closing(boundary))
    return b"".join(chunks)


async def stream(boundary: str, parts: AsyncIterable[Part]) -> AsyncIterator[bytes]:
    """The chunks of a message whose parts arrive one after another."""
    first = True
    async for part in parts:
        yield opening(boundary, part.head, first=first)
        first = False
        if isinstance(part.content, bytes):
            yield part.content
            continue
        async for chunk in part.content:
            yield chunk
    yield closing(boundary)
