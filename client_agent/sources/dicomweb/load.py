"""Images of a DICOMweb server: series by QIDO-RS, headers by their metadata, then the files.

Nothing is written to a disk: a few files are in memory until their pixels are prepared.
"""

import contextlib
import io
import itertools
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from client_agent.errors import DataError
from client_agent.preparation.dicom_rules import Rendering
from client_agent.sources.class_names import ClassNames
from client_agent.sources.dicom import read_dicom
from client_agent.sources.dicomweb.address import DicomWebAddress
from client_agent.sources.dicomweb.credentials import read_credentials
from client_agent.sources.dicomweb.http import WebClient
from client_agent.sources.headers import Header, header_tags, summarise
from client_agent.sources.labelled import RawImage, Skipped
from client_agent.sources.labelling import Seen
from client_agent.sources.plan import LabelRule, plan_seen, require
from client_agent.sources.reading import FileItem, Read, read_items

PAGE = 500
MAX_SERIES = 1_000_000
MAX_INSTANCES = 5_000_000

AHEAD = 4
"""Files asked for at once, and held in memory."""

OnProgress = Callable[[int, int], None]

_NO_UID = "the server gives it no valid UID, so that it cannot be asked for"
_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*", re.ASCII)
_STUDY, _SERIES, _INSTANCE, _PIXELS = "0020000D", "0020000E", "00080018", "7FE00010"


def list_headers(
    address: DicomWebAddress, tags: tuple[int, ...], on_progress: OnProgress | None = None
) -> Seen:
    """Return the headers of all instances that the address asks for.

    Args:
        address: server and query.
        tags: the attribute wanted as label, see `label_tag`.
        on_progress: called with series done and series in all.

    Returns:
        Each instance's path on the server, and its header.

    Raises:
        NetworkError: no answer, or a refusal.
        DataError: an answer of another form.
    """
    with _client(address) as client:
        return _headers(client, address, tags, on_progress)


def read_labelled(
    address: DicomWebAddress,
    names: ClassNames,
    wanted: frozenset[int] | None,
    rule: LabelRule,
    image_size: int,
    channels: int,
    rendering: Rendering | None,
    on_progress: OnProgress | None,
) -> Read:
    """Read and prepare the labelled images of a server; see `load.load_images`.

    Raises:
        DataError, NetworkError: see there.
    """
    if rule.csv is None and not rule.tags:
        raise DataError(
            "a DICOMweb server has no folders that name classes",
            hint="give --labels FILE.csv with SOPInstanceUID, or --label-tag",
        )
    with _client(address) as client:
        seen = _headers(client, address, rule.tags, on_progress)
        plan = plan_seen(lambda: seen, list, names, wanted, rule, address.name)
        require(plan.items, names, wanted, address.name)
        items = [_by_uid(item) for item in plan.items]
        with _ahead(client, items, rendering) as load:
            result = read_items(items, load, image_size, channels, on_progress)
    result.damaged += plan.damaged
    result.others += plan.others
    return result


def read_unlabelled(
    address: DicomWebAddress,
    image_size: int,
    channels: int,
    rendering: Rendering,
    on_progress: OnProgress | None,
) -> Read:
    """Read and prepare every image of a server; see `load.load_unlabelled`.

    Raises:
        DataError, NetworkError: see there.
    """
    with _client(address) as client:
        seen = _headers(client, address, (), on_progress)
        items = [_by_uid(FileItem(path, path, -1)) for path, header in seen if not header.reason]
        with _ahead(client, items, rendering) as load:
            result = read_items(items, load, image_size, channels, on_progress)
    for path, header in seen:
        if header.reason:
            kind = result.damaged if header.damaged else result.others
            kind.append(Skipped(_by_uid(FileItem(path, path, -1)).identifier, header.reason))
    return result


@contextlib.contextmanager
def _ahead(
    client: WebClient, items: Sequence[FileItem], rendering: Rendering | None
) -> Iterator[Callable[[FileItem], tuple[RawImage, ...]]]:
    """Give `read_items` what it calls for each item in order; the next files come meanwhile.

    A server at a distance answers each request late: `AHEAD` of them wait for it side by side.
    """
    pool, left = ThreadPoolExecutor(AHEAD), iter(items)
    fetched: deque[Future[memoryview]] = deque()

    def load(_: FileItem) -> tuple[RawImage, ...]:
        for item in itertools.islice(left, AHEAD - len(fetched)):
            fetched.append(pool.submit(client.get_instance, item.relative))
        data = fetched.popleft().result()
        try:
            return read_dicom(io.BytesIO(data), rendering)
        except OSError as error:  # a parser's complaint: there is no file to be unreadable
            raise DataError(f"damaged DICOM file ({type(error).__name__})") from error

    try:
        yield load
    finally:
        pool.shutdown(cancel_futures=True)


def _client(address: DicomWebAddress) -> WebClient:
    return WebClient(address, read_credentials(os.environ))


def _by_uid(item: FileItem) -> FileItem:
    """Name an image by its SOP Instance UID, which is what a list of withdrawals holds."""
    uid = item.relative.rpartition("/")[2]
    return FileItem(item.relative, uid, item.label, item.group)


def _headers(
    client: WebClient,
    address: DicomWebAddress,
    tags: tuple[int, ...],
    on_progress: OnProgress | None,
) -> list[tuple[str, Header]]:
    series, found = _series(client, address)
    for done, (study, one) in enumerate(series, start=1):
        path = f"studies/{study}/series/{one}"
        for number, item in enumerate(client.get_json(f"{path}/metadata")):
            uid = _uid(item, _INSTANCE)
            if uid is None:
                found[f"{path}/{number}"] = Header("dicom", _NO_UID, damaged=True)
            else:
                found[f"{path}/instances/{uid}"] = _header(item, tags)
        if len(found) > MAX_INSTANCES:
            raise DataError(f"{address.name}: more than {MAX_INSTANCES} images: ask for fewer")
        if on_progress is not None:
            on_progress(done, len(series))
    return sorted(found.items())


def _series(
    client: WebClient, address: DicomWebAddress
) -> tuple[list[tuple[str, str]], dict[str, Header]]:
    """Search for series, page by page (PS3.18 10.6); ends at a page that brings nothing new.

    Returns:
        Study and series UIDs, and those series that cannot be fetched for want of them.
    """
    met: dict[tuple[str, str], None] = {}
    nameless: dict[str, Header] = {}
    offset = 0
    while True:
        query = [*address.query, ("limit", str(PAGE)), ("offset", str(offset))]
        page = client.get_json("series", query)
        known = len(met)
        for number, item in enumerate(page, start=offset):
            study, series = _uid(item, _STUDY), _uid(item, _SERIES)
            if study is None or series is None:
                nameless[f"series {number + 1}"] = Header("dicom", _NO_UID, damaged=True)
            else:
                met[study, series] = None
        if len(met) > MAX_SERIES:
            raise DataError(f"{address.name}: more than {MAX_SERIES} series: ask for fewer")
        # A server that knows no paging gives the same page for ever.
        if len(met) == known:
            return list(met), nameless
        offset += len(page)


def _uid(item: dict[str, Any], key: str) -> str | None:
    """Return a UID of a data set, None if it is none: it becomes part of an address."""
    try:
        (value,) = item[key]["Value"]
        return str(value) if len(value) <= 64 and _UID.fullmatch(value) else None
    except (KeyError, TypeError, ValueError):
        return None


def _header(item: dict[str, Any], tags: tuple[int, ...]) -> Header:
    import warnings

    from pydicom.dataset import Dataset

    wanted = {f"{tag:08X}" for tag in (*header_tags(), *tags[:1])}
    # Servers may leave out that there are pixels; one with rows has some, or fetching will say.
    pixels = "PixelData" if _PIXELS in item or "00280010" in item else ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = Dataset.from_json(
                {key: value for key, value in item.items() if key in wanted},
                bulk_data_uri_handler=lambda *_: b"",
            )
            return summarise(dataset, "", pixels, tags)
    except Exception as error:  # a server may send anything for a value
        return Header("dicom", f"damaged data set ({type(error).__name__})", damaged=True)
