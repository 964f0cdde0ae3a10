"""The parts of a multipart/related body (RFC 2387, RFC 2046 section 5.1), without copying bytes."""

import re

from client_agent.errors import DataError

_BOUNDARY = re.compile(
    r"""boundary=(?:"([\x21-\x7e ]{1,70})"|([\x21\x23-\x7e]{1,70}))(?:;|\s|$)""", re.IGNORECASE
)
_MAX_HEADER = 4096


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names.

    Raises:
        DataError: none.
    """
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise DataError("the server's answer has no boundary between its parts")
    return (match[1] or match[2]).rstrip(";").encode("ascii")


def parts_of(body: bytes, boundary: bytes, max_parts: int) -> list[memoryview]:
    """Return the contents of the parts.

    Args:
        body: the whole body.
        boundary: without the leading hyphens.
        max_parts: more are refused.

    Raises:
        DataError: a body that was cut off, or of another form.
    """
    mark = b"--" + boundary
    view = memoryview(body)
    at = body.find(mark)
    parts: list[memoryview] = []
    while at >= 0:
        at += len(mark)
        if body[at : at + 2] == b"--":
            return parts
        head = body.find(b"\r\n\r\n", at, at + _MAX_HEADER)
        # A part without headers has an empty line at once.
        begin = at + 4 if body[at : at + 4] == b"\r\n\r\n" else head + 4
        end = body.find(b"\r\n" + mark, begin)
        if head < 0 or end < 0:
            break
        if len(parts) == max_parts:
            raise DataError(f"the server's answer has more than {max_parts} parts")
        parts.append(view[begin:end])
        at = end + 2
    raise DataError("the server's answer was cut off")
