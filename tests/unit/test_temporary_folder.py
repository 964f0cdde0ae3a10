"""A temporary folder that is full or read-only: one clear line, and no image is blamed."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from client_agent.console import Console, execute
from client_agent.errors import ResourceError
from client_agent.temporary import temporary_folder
from ff_protocol.errors import ExitCode

ROOT = Path(__file__).resolve().parents[2]


def test_a_command_without_a_temporary_folder_says_so_in_one_line(monkeypatch, capsys, tmp_path):
    """The real search of `tempfile`, among folders that cannot be written."""
    full = tmp_path / "full"  # a file is as little a folder as a full one
    full.touch()
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(full)])
    monkeypatch.setattr(tempfile, "tempdir", None)
    console = Console(as_json=False, quiet=False)
    assert execute(lambda: tempfile.gettempdir() and None, console) == ExitCode.RESOURCES
    error = capsys.readouterr().err
    assert f"no temporary folder can be written: '{full}'" in error
    assert "TMPDIR" in error
    with pytest.raises(ResourceError, match="no temporary folder"), temporary_folder():
        pass


def test_a_file_that_is_missing_is_not_taken_for_a_missing_temporary_folder():
    def work():
        Path("/nowhere/at/all").read_bytes()

    with pytest.raises(FileNotFoundError):
        execute(work, Console(as_json=False, quiet=True))


FILL = """
set -e
for folder in /tmp /var/tmp; do
    mount --rbind $folder $folder
    mount -o remount,bind,ro $folder
done
mount -t tmpfs -o size=64k none "$1"
cat /dev/zero >"$1/filler" 2>/dev/null || true
truncate --size=-$ROOM "$1/filler"
cd "$1"
export TMPDIR="$1"
exec "$2" -c "$3"
"""
DECODE = """
import sys
sys.path[0:0] = PATH
from client_agent.console import Console, execute
def work():
    from client_agent.preparation.decoding import _with_gdcm
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.51"
    image.PhotometricInterpretation = "MONOCHROME2"
    image.Rows = image.Columns = 512
    image.SamplesPerPixel, image.BitsAllocated, image.BitsStored = 1, 16, 12
    image.PixelRepresentation, image.PixelData = 0, encapsulate([bytes(200_000)])
    _with_gdcm(image, 0)
sys.exit(execute(work, Console(as_json=False, quiet=False)))
"""


@pytest.mark.parametrize(("room", "said"), [(0, "no temporary folder"), (8192, "no room for")])
def test_an_image_is_not_called_damaged_because_the_temporary_folder_is_full(tmp_path, room, said):
    """Full from the start, or with room for what `tempfile` tries and for no image."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is not installed")
    arrange = [unshare, "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run(
        [*arrange, "mount -t tmpfs none /mnt"], capture_output=True, check=False
    ).returncode:
        pytest.skip("mount namespaces are not permitted")
    fill = FILL.replace("$ROOM", str(room))
    code = DECODE.replace("PATH", repr([str(ROOT), str(ROOT / "proto")]))
    done = subprocess.run(
        [*arrange, fill, "sh", str(tmp_path), sys.executable, code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == ExitCode.RESOURCES, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert os.strerror(errno.ENOSPC) in done.stderr or room == 0
    assert "TMPDIR" in done.stderr
