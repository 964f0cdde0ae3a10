"""Files on their way in: the same bytes whichever way the file system lets them be written."""

import errno
import os

import pytest

from client_agent.relay import part_file
from client_agent.relay.part_file import PartFile
from ff_protocol.limits import CHUNK_BYTES


def written(path, pieces):
    with PartFile(path) as part:
        offset = 0
        for piece in pieces:
            part.write(offset, memoryview(piece))
            offset += len(piece)
        part.sync()
    return path.read_bytes()


PIECES = [os.urandom(CHUNK_BYTES), os.urandom(CHUNK_BYTES), os.urandom(1234)]


def test_chunks_and_a_shorter_end_are_written_as_they_are(tmp_path):
    assert written(tmp_path / "file", PIECES) == b"".join(PIECES)


def test_a_file_system_without_direct_writing_serves_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr(part_file, "_DIRECT", 0)
    assert written(tmp_path / "file", PIECES) == b"".join(PIECES)


@pytest.mark.parametrize("answer", [OSError(errno.EINVAL, "no"), 4096])
def test_a_direct_write_that_does_less_is_completed(tmp_path, monkeypatch, answer):
    real = os.pwrite

    def pwrite(descriptor, data, offset):
        if len(data) == CHUNK_BYTES:
            if isinstance(answer, OSError):
                raise answer
            return real(descriptor, data[:answer], offset)
        return real(descriptor, data, offset)

    with PartFile(tmp_path / "file") as part:
        if part._direct is None:
            pytest.skip("this file system has no direct writing")
        file = part._file
        monkeypatch.setattr(
            os,
            "pwrite",
            lambda descriptor, data, offset: (
                real(descriptor, data, offset)
                if descriptor == file
                else pwrite(descriptor, data, offset)
            ),
        )
        part.write(0, PIECES[0])
    assert (tmp_path / "file").read_bytes() == PIECES[0]


def test_what_was_there_can_be_read_and_cut_off(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(PIECES[0] + b"half a chunk")
    with PartFile(path) as part:
        assert part.read(0, CHUNK_BYTES) == PIECES[0]
        part.truncate(CHUNK_BYTES)
        part.write(CHUNK_BYTES, PIECES[1])
    assert path.read_bytes() == PIECES[0] + PIECES[1]


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match="symbolic"):
        PartFile(tmp_path / "link")
    assert not (tmp_path / "outside").exists()
