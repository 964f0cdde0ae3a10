"""GET requests to one server: encrypted, bounded in size and time, no redirects, no proxies.

A redirect would carry the credentials to whoever the answer names; the environment's proxies are
not followed, as nowhere in this program. Messages hold the path, never the query.
"""

import json
import ssl
import time
from collections.abc import Sequence
from typing import Any

from client_agent.errors import DataError, NetworkError
from client_agent.sources.dicomweb.address import DicomWebAddress
from client_agent.sources.dicomweb.credentials import Credentials
from client_agent.sources.dicomweb.multipart import boundary_of, parts_of
from ff_protocol.limits import MIB

MAX_JSON_BYTES = 256 * MIB
MAX_INSTANCE_BYTES = 1024 * MIB
CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
WHOLE_SECONDS = 900.0
_ATTEMPTS = 3
_CONNECTIONS = 4
_PAUSE_SECONDS = 0.5
_CHUNK = 1 << 20
_JSON = "application/dicom+json"
_DICOM = "application/dicom"
_ACCEPT_DICOM = f'multipart/related; type="{_DICOM}"; transfer-syntax=*'


class WebClient:
    """Connections to a server, kept open between requests, for several threads; use by `with`."""

    def __init__(self, address: DicomWebAddress, credentials: Credentials) -> None:
        import urllib3

        self._base = address.base
        self._headers = {"Accept-Encoding": "identity"}
        if credentials.authorization is not None:
            self._headers["Authorization"] = credentials.authorization
        context = None
        if address.base.startswith("https:"):
            try:
                context = ssl.create_default_context(cafile=credentials.ca)
            except (ssl.SSLError, OSError) as error:
                raise NetworkError(
                    f"FF_DICOMWEB_CA: {credentials.ca} holds no certificates"
                ) from error
        self._pool = urllib3.PoolManager(
            num_pools=1,
            maxsize=_CONNECTIONS,
            ssl_context=context,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
            retries=False,
        )

    def __enter__(self) -> "WebClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.clear()

    def get_json(self, path: str, query: Sequence[tuple[str, str]] = ()) -> list[dict[str, Any]]:
        """Fetch a list of data sets in the DICOM JSON model (PS3.18 F); none for "no content".

        Raises:
            NetworkError: no answer, or a refusal.
            DataError: an answer of another form, or a larger one than is accepted.
        """
        _, body = self._get(path, query, _JSON, MAX_JSON_BYTES)
        if not body:
            return []
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{self._base}/{path}: the server's answer is not JSON") from error
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise DataError(f"{self._base}/{path}: the server's answer is no list of data sets")
        return value

    def get_instance(self, path: str) -> memoryview:
        """Fetch one DICOM file, in the syntax that it is stored in.

        Raises:
            NetworkError, DataError: as `get_json`.
        """
        kind, body = self._get(path, (), _ACCEPT_DICOM, MAX_INSTANCE_BYTES)
        if kind.partition(";")[0].strip().casefold() == _DICOM:
            return memoryview(body)
        parts = parts_of(body, boundary_of(kind), 1)
        if not parts:
            raise DataError("the server's answer holds no file")
        return parts[0]

    def _get(
        self, path: str, query: Sequence[tuple[str, str]], accept: str, max_bytes: int
    ) -> tuple[str, bytes]:
        """Return the answer's Content-Type and its body; a cut line or a busy server is retried."""
        for attempt in range(_ATTEMPTS - 1):
            try:
                return self._once(path, query, accept, max_bytes)
            except NetworkError as error:
                if not error.transient:
                    raise
                time.sleep(_PAUSE_SECONDS * 2**attempt)
        return self._once(path, query, accept, max_bytes)

    def _once(
        self, path: str, query: Sequence[tuple[str, str]], accept: str, max_bytes: int
    ) -> tuple[str, bytes]:
        from urllib.parse import urlencode

        import urllib3

        url = f"{self._base}/{path}"
        deadline = time.monotonic() + WHOLE_SECONDS
        try:
            answer = self._pool.request(
                "GET",
                f"{url}?{urlencode(list(query))}" if query else url,
                headers={**self._headers, "Accept": accept},
                preload_content=False,
                decode_content=False,
            )
            try:
                self._check(answer, url, max_bytes)
                body = bytearray()
                for chunk in answer.stream(_CHUNK, decode_content=False):
                    body += chunk
                    if len(body) > max_bytes:
                        raise DataError(f"{url}: larger than the {max_bytes} bytes accepted")
                    if time.monotonic() > deadline:
                        raise NetworkError(f"{url}: no end after {WHOLE_SECONDS:.0f} s")
                answer.drain_conn()
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _unreachable(self._base, error) from error
        return answer.headers.get("Content-Type", ""), bytes(body)

    @staticmethod
    def _check(answer: Any, url: str, max_bytes: int) -> None:
        if answer.status in (401, 403):
            raise _RefusedError(
                f"{url}: the server refuses access ({answer.status})",
                hint="set FF_DICOMWEB_TOKEN, or FF_DICOMWEB_USER and FF_DICOMWEB_PASSWORD",
            )
        if 300 <= answer.status < 400:
            raise _RefusedError(
                f"{url}: the server points elsewhere, which is not followed ({answer.status})",
                hint="give the address that it points to",
            )
        if answer.status not in (200, 204, 206):
            kind = NetworkError if answer.status >= 500 else _RefusedError
            raise kind(f"{url}: the server answers {answer.status}")
        if answer.headers.get("Content-Encoding", "identity").casefold() != "identity":
            raise DataError(f"{url}: the server compresses though it was asked not to")
        declared = answer.headers.get("Content-Length", "")
        if declared.isdecimal() and int(declared) > max_bytes:
            raise DataError(f"{url}: larger than the {max_bytes} bytes accepted")


class _RefusedError(NetworkError):
    """Waiting does not help: someone must act."""

    transient = False


def _unreachable(base: str, error: Exception) -> NetworkError:
    reason: BaseException = error
    while (inner := getattr(reason, "reason", None)) and isinstance(inner, BaseException):
        reason = inner
    cause = reason.__cause__ or reason.__context__ or reason
    if isinstance(reason, ssl.SSLError) or isinstance(cause, ssl.SSLError):
        return _RefusedError(
            f"{base}: no trusted connection to the server ({_line(reason)})",
            hint="FF_DICOMWEB_CA names the certificates of the hospital's own authority",
        )
    return NetworkError(f"{base} is not reachable ({type(reason).__name__})")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120]
