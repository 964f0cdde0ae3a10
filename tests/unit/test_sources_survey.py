"""Headers of whole trees: right, quick the second time, and with nobody's name in the index."""

import csv
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client_agent.errors import DataError, ResourceError
from client_agent.sources import survey as survey_module
from client_agent.sources.dicom_objects import NotAnImageError
from client_agent.sources.headers import Header, identify
from client_agent.sources.index import HeaderIndex
from client_agent.sources.load import load_images
from client_agent.sources.reading import read_file
from client_agent.sources.survey import Survey, survey
from tests.dicom_files import (
    FILES,
    PIXELS,
    SHARED,
    SOUND_BUT_NO_IMAGE,
    make_dataset,
    write,
    write_bad,
)

needs_files = pytest.mark.skipif(not FILES, reason="no DICOM files beside the repository")


def tree(root: Path, count: int = 6) -> Path:
    """Files old enough for an index to trust them."""
    for number in range(count):
        path = write(
            make_dataset(PIXELS, PatientID=f"SECRET-{number}"), root / "SECRET^NAME" / f"{number}"
        )
        os.utime(path, (1_600_000_000, 1_600_000_000))
    return root


@pytest.fixture
def as_nobody(tmp_path: Path) -> Callable[[], AbstractContextManager[None]]:
    """Root may read anything, so a test steps down for a moment."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)

    @contextmanager
    def step_down() -> Iterator[None]:
        was = os.geteuid()
        if was == 0:
            os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(was)

    return step_down


def headers(found: Survey) -> dict[str, Header]:
    return {entry.relative: header for entry, header in found.entries}


@needs_files
def test_headers_of_real_files_agree_with_another_reader() -> None:
    index = {row["file"]: row for row in csv.DictReader((SHARED / "INDEX.csv").open())}
    found = headers(survey(SHARED))
    assert found.keys() == index.keys()
    for name, row in index.items():
        header, shape = found[name], [int(side) for side in row["decoded_shape"].split("x")]
        shape = shape[:-1] if shape[-1] == 3 else shape
        assert header.reason == ""
        assert (header.modality, header.syntax) == (row["modality"], row["transfer_syntax_uid"])
        assert [header.rows, header.columns] == shape[-2:]
        assert header.frames == (shape[0] if len(shape) == 3 else 1)
        assert header.photometric == row["photometric"]


def test_every_kind_of_bad_file_is_told_without_its_pixels(tmp_path: Path) -> None:
    expected = write_bad(tmp_path)
    found = headers(survey(tmp_path))
    assert found.pop("sound.dcm").reason == ""
    assert found.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in found[name].reason, name
        assert found[name].damaged == (name not in SOUND_BUT_NO_IMAGE), name


def test_reading_refuses_what_the_survey_refuses(tmp_path: Path) -> None:
    for name in write_bad(tmp_path):
        expected = NotAnImageError if name in SOUND_BUT_NO_IMAGE else DataError
        with pytest.raises(expected) as caught:
            read_file(tmp_path / name)
        assert "SECRET" not in caught.value.message, name
        assert type(caught.value) is expected, name


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (bytes(128) + b"DICM", "dicom"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"MM\0*", "TIFF"),
        (b"BM\x36\0\0\0\0\0\0\0", "BMP"),
        (b"BMI of patients\n", None),
        (b"\x08\0\x05\0CS\x0a\0ISO", "part-10-missing"),
        (b"", None),
        (b"#!/bin/sh", None),
    ],
)
def test_files_are_told_by_content(start: bytes, kind: str | None) -> None:
    assert identify(start) == kind


def test_pictures_and_strangers(tmp_path: Path) -> None:
    Image.new("RGB", (7, 5)).save(tmp_path / "noname", format="PNG")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "README").write_text("x")
    found = survey(tmp_path)
    assert found.entries[0][1] == Header("PNG", rows=5, columns=7, frames=1, photometric="RGB")
    assert found.others == {".txt": 1, "(none)": 1}


def test_the_second_time_nothing_unchanged_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, index = tree(tmp_path / "data"), HeaderIndex(tmp_path / "cache" / "i.sqlite")
    first = survey(root, index=index)
    opened: list[str] = []
    plain = survey_module._read_one
    monkeypatch.setattr(
        survey_module,
        "_read_one",
        lambda root, entry, tags: (opened.append(entry.relative), plain(root, entry, tags))[1],
    )
    second = survey(root, index=index)
    assert (second.entries, second.known, opened) == (first.entries, 6, [])
    changed = root / "SECRET^NAME" / "3"
    changed.write_bytes(b"")
    os.utime(changed, (1_600_000_000, 1_600_000_000))
    (root / "SECRET^NAME" / "4").unlink()
    third = headers(survey(root, index=index))
    assert opened == ["SECRET^NAME/3"]
    assert third["SECRET^NAME/3"].reason == "empty"
    assert len(third) == 5
    with sqlite3.connect(tmp_path / "cache" / "i.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM headers").fetchone() == (5,)


def test_images_are_the_same_with_an_index(tmp_path: Path) -> None:
    root, index = tmp_path / "glioma", HeaderIndex(tmp_path / "i.sqlite")
    tree(root, 3)
    options = {"classes": ("glioma", "x"), "image_size": 8, "channels": 1}
    plain = load_images(root, **options)
    for times in (2, 1):
        seen: list[tuple[int, int]] = []
        known = load_images(
            root, index=index, on_progress=lambda *at, seen=seen: seen.append(at), **options
        )
        # Headers and then pixels; the second time pixels alone.
        assert seen.count((3, 3)) == times
        assert known.identifiers == plain.identifiers
        assert np.array_equal(known.images, plain.images)
    assert survey(root, index=index).known == 3


def test_a_file_that_has_just_changed_is_not_trusted(tmp_path: Path) -> None:
    root, index = tree(tmp_path / "data", 2), HeaderIndex(tmp_path / "i.sqlite")
    (root / "SECRET^NAME" / "0").touch()
    survey(root, index=index)
    assert survey(root, index=index).known == 1


def test_the_index_names_nobody_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "i.sqlite"
    survey(tree(tmp_path / "data"), index=HeaderIndex(path))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    content = path.read_bytes()
    assert b"1.2.3" in content  # what is kept is kept in the clear
    assert b"SECRET" not in content
    assert b"data" not in content.replace(b"header", b"")[4096:]


@pytest.mark.parametrize("content", [b"rubbish" * 999, b"", b"SQLite format 3\0" + bytes(4096)])
def test_a_damaged_index_is_made_anew(tmp_path: Path, content: bytes) -> None:
    root, path = tree(tmp_path / "data", 2), tmp_path / "i.sqlite"
    path.write_bytes(content)
    survey(root, index=HeaderIndex(path))
    assert survey(root, index=HeaderIndex(path)).known == 2


def test_an_index_that_cannot_be_written_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    index = HeaderIndex(tmp_path / "file" / "i.sqlite")
    root = tree(tmp_path / "data", 2)
    assert len(survey(root, index=index).entries) == len(survey(root, index=index).entries) == 2


def test_processes_read_what_one_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path)
    write_bad(root)
    alone = survey(root, processes=1)
    monkeypatch.setattr(survey_module, "_MIN_FOR_PROCESSES", 1)
    monkeypatch.setattr(survey_module, "_BATCH", 5)
    assert survey(root, processes=2).entries == alone.entries


@pytest.mark.parametrize("left_behind", [False, True], ids=["gone", "empty mount point"])
def test_a_share_that_vanishes_midway_is_one_clear_fault(tmp_path: Path, left_behind: bool) -> None:
    root, index = tree(tmp_path / "share" / "glioma"), HeaderIndex(tmp_path / "i.sqlite")

    def cut(done: int, total: int) -> None:
        if done == 3:
            root.rename(tmp_path / "elsewhere")
            if left_behind:
                root.mkdir()

    with pytest.raises(ResourceError, match="went away while it was read"):
        survey(root, index=index, on_progress=cut)
    root.rmdir() if left_behind else None
    (tmp_path / "elsewhere").rename(root)
    assert survey(root, index=index).known == 3  # and what was read is not read again
    with pytest.raises(ResourceError, match="went away"):
        load_images(root, classes=("glioma", "x"), image_size=8, channels=1, on_progress=cut)


def test_what_may_not_be_read_is_listed_and_a_read_only_tree_is_left_alone(
    tmp_path: Path, as_nobody: Callable[[], AbstractContextManager[None]]
) -> None:
    root = tree(tmp_path / "data")
    (root / "locked").mkdir()
    (root / "locked").chmod(0)
    (root / "SECRET^NAME" / "0").chmod(0)
    for folder in (root, root / "SECRET^NAME"):
        folder.chmod(0o555)
    tmp_path.chmod(0o755)
    before = {path: path.lstat().st_mtime_ns for path in root.rglob("*")}
    with as_nobody():
        found = survey(root, index=HeaderIndex(tmp_path / "not-mine" / "i.sqlite"))
    assert headers(found)["SECRET^NAME/0"].reason == "permission denied"
    assert [(item.identifier, item.reason) for item in found.unlistable] == [
        ("locked", "cannot be listed: permission denied")
    ]
    assert sum(not header.reason for _, header in found.entries) == 5
    assert {path: path.lstat().st_mtime_ns for path in root.rglob("*")} == before
