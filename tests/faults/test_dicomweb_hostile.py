"""A DICOMweb server that misbehaves: one clear fault, nothing sent elsewhere, nothing unbounded."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from client_agent.errors import DataError, NetworkError, UsageError
from client_agent.sources.dicomweb import http
from client_agent.sources.dicomweb.address import DicomWebAddress, parse_address
from client_agent.sources.dicomweb.credentials import read_credentials
from client_agent.sources.dicomweb.load import list_headers
from client_agent.sources.dicomweb.multipart import boundary_of, parts_of
from client_agent.sources.load import load_unlabelled
from tests.dicom_files import PIXELS, make_dataset, write

Answer = tuple[int, dict[str, str], bytes]


class Server:
    """Answers by path; what has no answer is 404. Keeps the requests' headers."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[], Answer]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append((self.path, dict(self.headers)))
                path = self.path.partition("?")[0]
                missing: Answer = (404, {}, b"")
                make = server.answers.get(path)
                status, headers, body = make() if make else missing
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    if value:  # without a length the body ends with the connection
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        self.address = DicomWebAddress(f"http://127.0.0.1:{self._http.server_address[1]}/w")

    def say(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[f"/w/{path}"] = lambda: (status, named, body)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http, "_PAUSE_SECONDS", 0.0)
    running = Server()
    yield running
    running.close()


def data_set(**values: str | int) -> dict[str, object]:
    return {key.lstrip("x"): {"vr": "UI", "Value": [value]} for key, value in values.items()}


SERIES = json.dumps([data_set(x0020000D="1.2", x0020000E="1.3")]).encode()
METADATA = "studies/1.2/series/1.3/metadata"
INSTANCE = "studies/1.2/series/1.3/instances/1.4"


def serve_one(server: Server, file: bytes, content_type: str) -> None:
    server.say("series", SERIES)
    item = data_set(x00080018="1.4") | {"00280010": {"vr": "US", "Value": [16]},
                                        "00280011": {"vr": "US", "Value": [16]}}  # fmt: skip
    server.say(METADATA, json.dumps([item]).encode())
    server.say(INSTANCE, file, Content_Type=content_type)


@pytest.fixture
def file(tmp_path: Path) -> bytes:
    return write(make_dataset(PIXELS), tmp_path / "a.dcm").read_bytes()


def multipart(file: bytes) -> bytes:
    return b"--x\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n--x--\r\n"


RELATED = 'multipart/related; type="application/dicom"; boundary=x'


def test_a_file_in_one_part_or_bare(server: Server, file: bytes) -> None:
    for body, kind in ((multipart(file), RELATED), (file, "application/dicom")):
        serve_one(server, body, kind)
        data = load_unlabelled(server.address, image_size=16, channels=1)
        assert data.identifiers == ("1.4",)
        assert (data.images[0, ..., 0] == PIXELS).all()


def test_files_are_fetched_side_by_side_and_come_in_order(server: Server, tmp_path: Path) -> None:
    """Each answer waits until a second request is there: one at a time would never end."""
    meeting = threading.Barrier(2, timeout=20)
    server.say("series", SERIES)
    sides = {"00280010": {"vr": "US", "Value": [4]}, "00280011": {"vr": "US", "Value": [4]}}
    items = [data_set(x00080018=f"1.{number}") | sides for number in range(8)]
    server.say(METADATA, json.dumps(items).encode())
    for number in range(8):
        dataset = make_dataset(np.full((4, 4), 10 * number, np.uint8))
        data = write(dataset, tmp_path / f"{number}.dcm").read_bytes()

        def late(data: bytes = data) -> Answer:
            meeting.wait()
            return 200, {"Content-Type": "application/dicom"}, data

        server.answers[f"/w/studies/1.2/series/1.3/instances/1.{number}"] = late
    data = load_unlabelled(server.address, image_size=4, channels=1)
    assert data.images[:, 0, 0, 0].tolist() == [10 * number for number in range(8)]


def test_the_query_is_sent_and_paging_ends(server: Server) -> None:
    serve_one(server, b"", "")
    address = DicomWebAddress(server.address.base, (("Modality", "CT"),))
    assert [path for path, _ in list_headers(address, ())] == [INSTANCE]
    asked = [path for path, _ in server.requests if "series?" in path]
    # It repeats its one page whatever the offset: the second brings nothing new.
    assert asked == [
        "/w/series?Modality=CT&limit=500&offset=0", "/w/series?Modality=CT&limit=500&offset=1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "content_type", "match"),
    [
        (b"--x\r\n\r\nhalf", RELATED, "cut off"),
        (b"<html>", "text/html", "no boundary"),
        (b"not DICOM", "application/dicom", "not a DICOM file"),
        (b"--x--", RELATED, "holds no file"),
    ],
)
def test_an_instance_that_is_none(
    server: Server, body: bytes, content_type: str, match: str
) -> None:
    serve_one(server, body, content_type)
    with pytest.raises(DataError) as caught:
        load_unlabelled(server.address, image_size=8, channels=1)
    assert match in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"<html>", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"{}", "no list"),
        (b"[1]", "no list"),
    ],
)
def test_a_search_that_is_none(server: Server, body: bytes, match: str) -> None:
    server.say("series", body)
    with pytest.raises(DataError, match=match):
        list_headers(server.address, ())


def test_uids_that_would_lead_elsewhere_are_not_asked_for(server: Server) -> None:
    server.say(
        "series", json.dumps([data_set(x0020000D="1.2/../../admin", x0020000E="1.3")]).encode()
    )
    ((name, header),) = list_headers(server.address, ())
    assert (name, header.damaged) == ("series 1", True)
    assert {path.partition("?")[0] for path, _ in server.requests} == {"/w/series"}


def test_values_of_wrong_types_are_damage_of_one_image(server: Server) -> None:
    server.say("series", SERIES)
    item = data_set(x00080018="1.4") | {"00280010": {"vr": "US", "Value": [{"a": 1}]}}
    server.say(METADATA, json.dumps([item]).encode())
    ((_, header),) = list_headers(server.address, ())
    assert header.damaged


def test_a_redirect_is_not_followed_and_takes_no_credentials(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FF_DICOMWEB_TOKEN", "s3cret")
    other = Server()
    try:
        server.say("series", b"", 302, Location=f"{other.address.base}/series")
        with pytest.raises(NetworkError, match="points elsewhere") as caught:
            list_headers(server.address, ())
        assert other.requests == []
    finally:
        other.close()
    assert server.requests[0][1]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in caught.value.message


def test_sizes_are_bounded_whatever_is_declared(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_JSON_BYTES", 1000)
    server.say("series", b" " * 1001)
    with pytest.raises(DataError, match="larger than"):
        list_headers(server.address, ())
    server.say("series", b"[" + b" " * 5000 + b"]", Content_Length="")
    with pytest.raises(DataError, match="larger than"):
        list_headers(server.address, ())
    server.say("series", b"x", Content_Encoding="gzip")
    with pytest.raises(DataError, match="compresses"):
        list_headers(server.address, ())


def test_a_busy_server_is_asked_again_and_a_cut_line_too(server: Server) -> None:
    turns = iter([(503, {}, b""), (200, {"Content-Length": "99"}, b"[]"), (200, {}, b"[]")])
    server.answers["/w/series"] = lambda: next(turns)
    assert list_headers(server.address, ()) == []
    assert len(server.requests) == 3
    server.say("series", b"", 500)
    with pytest.raises(NetworkError, match="answers 500"):
        list_headers(server.address, ())
    assert len(server.requests) == 6


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_PAUSE_SECONDS", 0.0)
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1:9/w is not reachable"):
        list_headers(DicomWebAddress("http://127.0.0.1:9/w"), ())


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("https://user:pass@pacs.example/w", "credentials"),
        ("http://pacs.example/w", "without encryption"),
        ("ftp://pacs.example/w", "no address"),
        ("https:///w", "no address"),
        ("https://pacs.example/w?limit=5", "cannot be searched"),
        ("https://pacs.example/w?a b", "cannot be read"),
        ("https://pacs.example/w?a", "cannot be read"),
        ("https://pacs.example:99999/w", "cannot be read"),
        ("https://pacs.example/w#x", "no address"),
        ("https://pacs.example/w\n", "cannot be read"),
    ],
)
def test_addresses_that_are_refused(text: str, match: str) -> None:
    with pytest.raises(UsageError, match=match) as caught:
        parse_address(f"dicomweb:{text}")
    assert "pass@" not in str(caught.value.message)


def test_an_address_reads_as_it_is_written() -> None:
    text = "dicomweb:https://pacs.example:8443/dicom-web?Modality=CT&StudyDate=20240101-20241231"
    address = parse_address(text)
    assert (str(address), parse_address(str(address))) == (text, address)
    assert address.name == "dicomweb:https://pacs.example:8443/dicom-web"
    assert parse_address("dicomweb:http://[::1]:8042/w/").base == "http://[::1]:8042/w"


def test_credentials_come_from_the_environment_or_files(tmp_path: Path) -> None:
    def read(**values: str) -> str | None:
        return read_credentials(
            {f"FF_DICOMWEB_{key}": v for key, v in values.items()}
        ).authorization

    (tmp_path / "t").write_text("abc\n")
    assert read() is None
    assert read(TOKEN_FILE=str(tmp_path / "t")) == "Bearer abc"
    assert read(USER="Aladdin", PASSWORD="open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    for wrong in (
        {"USER": "a"}, {"PASSWORD": "a"}, {"TOKEN": "a", "USER": "b", "PASSWORD": "c"},
        {"TOKEN": "a\r\nX: y"}, {"TOKEN_FILE": str(tmp_path / "none")}, {"CA": "/none"},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            read(**wrong)
    assert "abc" not in repr(read_credentials({"FF_DICOMWEB_TOKEN": "abc"}))


def test_parts_are_cut_at_their_boundary_alone() -> None:
    assert boundary_of('multipart/related; boundary="a b"; type=x') == b"a b"
    assert boundary_of("multipart/related; boundary=ab; type=x") == b"ab"
    body = b"preamble\r\n--b\r\nA: 1\r\n\r\none--b\r\n\r\n--b\r\n\r\ntwo\r\n--b--"
    assert [bytes(part) for part in parts_of(body, b"b", 5)] == [b"one--b\r\n", b"two"]
    with pytest.raises(DataError, match="more than 1"):
        parts_of(body, b"b", 1)
