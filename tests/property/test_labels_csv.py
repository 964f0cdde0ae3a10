"""Whatever a labels.csv holds: a table of known classes, or one DataError."""

import csv
import io
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from client_agent.errors import DataError
from client_agent.sources.class_names import ClassNames
from client_agent.sources.labels import LabelTable, read_labels

NAMES = ClassNames(("normal", "lobar pneumonia"))
KEYS = st.from_regex(r"[A-Za-z0-9 ,\"_.-]{0,8}[a-z]", fullmatch=True)
SPELLINGS = st.sampled_from(["normal", "NORMAL", "Lobar_Pneumonia", "lobar-pneumonia "])


def attempt(data: bytes) -> LabelTable | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.csv"
        path.write_bytes(data)
        try:
            return read_labels(path, NAMES)
        except DataError:
            return None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_any_bytes(data: bytes, header: bool) -> None:
    table = attempt((b"path,label\n" if header else b"") + data)
    if table is not None:
        assert set(table.labels.values()) <= {0, 1}
        assert not any(key.startswith("/") or ".." in key.split("/") for key in table.labels)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(KEYS.map(str.strip), SPELLINGS, min_size=1), st.booleans())
def test_what_a_spreadsheet_writes_is_read_back(rows: dict[str, str], mark: bool) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([("Label", "SOPInstanceUID"), *((v, k) for k, v in rows.items())])
    table = attempt(buffer.getvalue().encode("utf-8-sig" if mark else "utf-8"))
    assert table is not None
    assert table.labels == {key: int("lobar" in name.lower()) for key, name in rows.items()}
