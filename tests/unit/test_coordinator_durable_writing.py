"""Files that are on the disk when the call returns."""

import errno
import os
import random
import stat
import threading

import pytest

from coordinator import durable_writing
from coordinator.durable_writing import DurableWriter
from ff_protocol.limits import CHUNK_BYTES


@pytest.mark.parametrize("size", [1, 4096, CHUNK_BYTES - 1, CHUNK_BYTES])
def test_what_is_written_is_there_for_the_owner_alone(tmp_path, size):
    data = random.Random(size).randbytes(size)
    DurableWriter().write(tmp_path / "file", data)
    assert (tmp_path / "file").read_bytes() == data
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_many_threads_do_not_mix_their_bytes(tmp_path):
    writer = DurableWriter()

    def write(number):
        for turn in range(3):
            writer.write(tmp_path / f"{number}-{turn}", bytes([number]) * CHUNK_BYTES)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for path in tmp_path.iterdir():
        assert path.read_bytes() == bytes([int(path.name.split("-")[0])]) * CHUNK_BYTES
    assert len(writer._buffers) <= 4


def test_where_direct_writing_is_refused_files_are_written_all_the_same(tmp_path, monkeypatch):
    original = os.open

    def refuse(path, flags, mode=0o777):
        if durable_writing._DIRECT and flags & durable_writing._DIRECT:
            raise OSError(errno.EINVAL, "as tmpfs used to")
        return original(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    writer = DurableWriter()
    for name in ("first", "second"):
        writer.write(tmp_path / name, bytes(CHUNK_BYTES))
        assert (tmp_path / name).stat().st_size == CHUNK_BYTES
    assert not writer._direct


def test_a_file_that_exists_is_left_alone(tmp_path):
    (tmp_path / "file").write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        DurableWriter().write(tmp_path / "file", bytes(CHUNK_BYTES))
    assert (tmp_path / "file").read_bytes() == b"precious"
