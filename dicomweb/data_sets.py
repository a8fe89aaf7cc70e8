"""Data sets that are at hand as DICOM JSON, in the representation that was negotiated (PS3.18 §8.7.3.4)."""

import asyncio
from hashlib import sha256
from http import HTTPStatus

import orjson

from dicomweb.answer import Answer, weak_tag
from dicomweb.coded import INLINE_BYTES, VARY, coded_answer, coded_tag
from dicomweb.wire.content_coding import Coding
from dicomweb.wire.multipart import PartHead, content_type, message
from dicomweb.wire.native_xml import native_xml
from dicomweb.wire.negotiation import DICOM_XML, Representation
from server.kernel.uids import new_secret


async def data_sets_answer(array: bytes, representation: Representation, coding: Coding) -> Answer:
    """The answer of a JSON array of data sets; in XML each is a part, none is 204 (PS3.18 10.6.3.1)."""
    if representation.media_type != DICOM_XML:
        return await coded_answer(array, {"Content-Type": representation.media_type}, coding)
    documents = await asyncio.to_thread(documents_of, array)
    if not documents:
        return Answer(b"", VARY, HTTPStatus.NO_CONTENT)
    if not representation.multipart:
        return await coded_answer(documents[0], {"Content-Type": DICOM_XML}, coding)
    boundary = new_secret()
    body = message(boundary, ((PartHead(DICOM_XML, len(each)), each) for each in documents))
    return await coded_answer(body, {"Content-Type": content_type(DICOM_XML, boundary)}, coding)


async def data_sets_tag(array: bytes, representation: Representation, coding: Coding) -> str:
    """The entity tag of that answer: what was searched for may be as it was (RFC 9110 §13.1.2)."""
    text = b"%b %b" % (str(representation).encode(), array)
    digest = sha256(text) if len(text) <= INLINE_BYTES else await asyncio.to_thread(sha256, text)
    return coded_tag(weak_tag(digest.digest()), coding)


async def data_set_answer(data_set: bytes, representation: Representation) -> Answer:
    """The answer of one data set, a JSON object."""
    if representation.media_type != DICOM_XML:
        return Answer(data_set, {"Content-Type": representation.media_type})
    return await data_sets_answer(b"[%b]" % data_set, representation, Coding.IDENTITY)


def documents_of(array: bytes) -> list[bytes]:
    """The Native DICOM Model of each data set of a JSON array (PS3.19 A.1)."""
    return [native_xml(each) for each in orjson.loads(array)]
