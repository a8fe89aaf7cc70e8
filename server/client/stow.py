"""One Store request: files as multipart/related, streamed, retried when the server asks (PS3.18 §10.5)."""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import httpx

from server.client.files import InstanceFile
from server.client.store_response import Outcome, Refusal, read_outcome
from server.kernel.faults import Fault, FaultKind

CHUNK_BYTES = 1 << 20  # read from a file at once
ATTEMPTS = 6  # of one request; with the waits about two minutes
MAX_WAIT_S = 60.0  # whatever Retry-After says
TRANSIENT = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
TIMEOUT = httpx.Timeout(30, read=300)  # a large batch is flushed to disk before it is acknowledged

Sleep = Callable[[float], None]


class ServerRefused(Fault):
    """The server refuses the sender, whatever it sends: no or insufficient token, or no DICOMweb there."""

    kind = FaultKind.FORBIDDEN


class ServerUnreachable(Fault):
    """The server cannot be reached, or kept asking to come back later."""

    kind = FaultKind.BUSY


class BodyTooLarge(Fault):
    """The server takes no body of this size."""

    kind = FaultKind.TOO_LARGE


@dataclass(frozen=True, slots=True)
class Remote:
    """A server, and how to wait for it."""

    http: httpx.Client  # with base URL and token
    sleep: Sleep = time.sleep


def connect(url: str, token: str | None) -> httpx.Client:
    """An HTTP client for a server; it goes through no proxy when the server is on this machine."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    local = httpx.URL(url).host in ("localhost", "127.0.0.1", "::1")
    return httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=TIMEOUT, trust_env=not local)


def store(remote: Remote, files: Sequence[InstanceFile]) -> Outcome:
    """Send files in one request.

    Raises:
        ServerRefused: the server refuses the sender.
        ServerUnreachable: no answer after several attempts.
        BodyTooLarge: 413; the caller may send fewer at once.
    """
    answer = request(remote, lambda: _post(remote.http, files))
    if answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        raise BodyTooLarge(f"The server takes no request of {sum(f.length for f in files)} bytes.")
    if answer.status_code not in (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT):
        why = f"the server answered {answer.status_code} {answer.reason_phrase}"
        return Outcome(frozenset(), tuple(Refusal(file.sop_instance_uid, why) for file in files))
    try:
        return read_outcome(answer.json())
    except (ValueError, AttributeError, TypeError) as error:
        raise ServerRefused("The server's Store response cannot be read; is it a DICOMweb server?") from error


def stored_uids(remote: Remote, uids: Sequence[str]) -> frozenset[str]:
    """Which of these SOP Instance UIDs the server has (QIDO-RS); none when the token may not ask."""
    parameters = {"SOPInstanceUID": ",".join(uids), "limit": str(len(uids))}
    answer = request(remote, lambda: remote.http.get("/dicom-web/instances", params=parameters), ask=True)
    if answer.status_code != HTTPStatus.OK:
        return frozenset()
    return frozenset(str(item["00080018"]["Value"][0]) for item in answer.json() if "00080018" in item)


def request(remote: Remote, send: Callable[[], httpx.Response], *, ask: bool = False) -> httpx.Response:
    """Send until the server answers something that waiting does not change.

    `ask`: the request only asks, so a 403 is an answer like another one.

    Raises:
        ServerRefused: 401, 403 or 404.
        ServerUnreachable: no such answer after `ATTEMPTS`.
    """
    last = "no answer"
    for attempt in range(ATTEMPTS):
        try:
            answer = send()
        except httpx.TransportError as error:
            last = type(error).__name__
            wait = min(2.0**attempt, MAX_WAIT_S)
        else:
            if answer.status_code not in TRANSIENT:
                return _checked(answer, ask=ask)
            last = f"{answer.status_code} {answer.reason_phrase}"
            wait = _retry_after(answer, 2.0**attempt)
        if attempt + 1 < ATTEMPTS:
            remote.sleep(wait)
    raise ServerUnreachable(f"The server cannot be reached now ({last}); run the same command again later.")


def _checked(answer: httpx.Response, *, ask: bool) -> httpx.Response:
    if answer.status_code == HTTPStatus.UNAUTHORIZED:
        raise ServerRefused("The server wants a valid token (401): isthmus token --scope 'system/*.cruds'")
    if answer.status_code == HTTPStatus.FORBIDDEN and not ask:
        raise ServerRefused("The token does not allow this (403); storing needs ImagingStudy.c")
    if answer.status_code == HTTPStatus.NOT_FOUND and not ask:
        raise ServerRefused("There is no DICOMweb server under this URL (404).")
    return answer


def _retry_after(answer: httpx.Response, otherwise: float) -> float:
    text = answer.headers.get("retry-after", "")
    return min(float(text) if text.isdigit() else otherwise, MAX_WAIT_S)


def _post(http: httpx.Client, files: Sequence[InstanceFile]) -> httpx.Response:
    boundary = uuid.uuid4().hex
    length = sum(len(_head(boundary)) + file.length + 2 for file in files) + len(_end(boundary))
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Content-Length": str(length),
        "Accept": "application/dicom+json",
    }
    return http.post("/dicom-web/studies", content=_body(files, boundary), headers=headers)


def _body(files: Sequence[InstanceFile], boundary: str) -> Iterator[bytes]:
    for file in files:
        yield _head(boundary)
        with file.path.open("rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                yield chunk
        yield b"\r\n"
    yield _end(boundary)


def _head(boundary: str) -> bytes:
    return f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()


def _end(boundary: str) -> bytes:
    return f"--{boundary}--\r\n".encode()
