"""Memory stays small whatever a module's size; many sites at once are all served."""

import shutil

from tests.relay_load import crowd, large

LIMIT_MEBIBYTES = 150


def test_a_large_module_passes_through_little_memory(tmp_path):
    """96 MiB here; `python -m tests.relay_load large --mebibytes 2048` is the same with 2 GiB."""
    measured = large(tmp_path, 96)
    shutil.rmtree(tmp_path)
    for side in ("coordinator", "sender", "receiver"):
        assert measured[f"{side}_peak_mebibytes"] < LIMIT_MEBIBYTES, measured


def test_a_hundred_sites_send_and_receive_at_once(tmp_path):
    """200 transfers at once, each a module of 1 MiB; memory grows by a few chunks for each."""
    measured = crowd(tmp_path, 100, 1)
    shutil.rmtree(tmp_path)
    assert measured["transfers"] == 200
    assert measured["coordinator_peak_mebibytes"] < LIMIT_MEBIBYTES + 200 * 3, measured
