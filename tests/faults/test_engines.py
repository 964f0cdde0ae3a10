"""Workers of this machine that are killed, fail, break or are stopped; and a class that fails."""

import os
import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest

from client_agent.engines.dispatch import WorkerBugError
from client_agent.engines.local import LocalEngine
from client_agent.engines.placement import Slot
from client_agent.engines.work import scratch_folder
from client_agent.errors import DataError, ResourceError, TrainingError
from client_agent.registry.modules import own_modules
from client_agent.steps.train import train
from client_agent.steps.train_options import TrainOptions
from tests import jobs
from tests.homes import UNAUDITED
from tests.jobs import Seen, job, outcome

TWO = LocalEngine((Slot(1), Slot(1, "7")))


def test_a_killed_worker_is_replaced_once_and_nothing_that_was_kept_is_lost(tmp_path):
    seen, kept = Seen(), tmp_path / "training" / "half.pt"
    found = outcome(
        TWO.run(
            [
                job("half", jobs.halfway, kept=kept),
                job("dead", jobs.doomed),
                job("nan", jobs.unsound),
                job("sound", jobs.squares, 3),
            ],
            seen,
        )
    )
    assert found["half"] == [b"first half, second half"]
    assert (kept.read_bytes(), kept.stat().st_mode & 0o777) == (b"first half, ", 0o600)
    assert isinstance(found["dead"], ResourceError)
    assert "died twice (killed by SIGKILL)" in found["dead"].message
    assert isinstance(found["nan"], TrainingError)
    assert (found["nan"].message, found["nan"].hint) == ("the loss is nan", "lower it")
    assert found["sound"] == [0, 1, 4]
    assert sorted(seen.started_jobs) == ["dead", "dead", "half", "half", "nan", "sound"]
    assert "half: its worker died (killed by SIGKILL); it is begun again" in seen.notes
    assert "sound: up to 3" in seen.notes


def test_workers_have_their_threads_their_gpu_and_a_private_folder():
    found = outcome(TWO.run([job("a", jobs.where), job("b", jobs.where)], Seen()))
    (first, one, scratch), (second, two, _) = (found[name][0] for name in "ab")
    assert len({first, second, os.getpid()}) == 3
    assert one["OMP_NUM_THREADS"] == two["OMP_NUM_THREADS"] == "1"
    assert one.get("CUDA_VISIBLE_DEVICES") == os.environ.get("CUDA_VISIBLE_DEVICES")
    assert two["CUDA_VISIBLE_DEVICES"] == "7"
    assert not Path(scratch).exists()
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_a_bug_in_a_worker_shows_its_traceback():
    with pytest.raises(WorkerBugError, match=r"in faulty[^$]*ZeroDivisionError: a bug of ours"):
        outcome(TWO.run([job("a", jobs.faulty), job("b", jobs.squares, 1)], Seen()))


def test_ctrl_c_stops_all_workers_after_what_they_keep_has_come_home(tmp_path):
    class Interrupting(Seen):
        def progressed(self, job, fraction, text):
            super().progressed(job, fraction, text)
            if len(self.fractions) == 40:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    files = [tmp_path / name for name in "ab"]
    names = [job(str(file), jobs.endless, kept=file) for file in files]
    try:
        with pytest.raises(KeyboardInterrupt), closing(TWO.run(names, Interrupting())) as events:
            outcome(events)
    finally:
        signal.signal(signal.SIGINT, before)
    steps = [int(file.read_bytes()) for file in files]
    assert all(step >= 1 for step in steps)
    assert not [thread for thread in threading.enumerate() if thread.name == "dispatch"]


def test_folders_of_killed_workers_are_removed(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("client_agent.engines.work._MEMORY", tmp_path / "none")
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    left, mine = (tmp_path / f"federated-factory-{pid}-x" for pid in (child, os.getpid()))
    left.mkdir()
    mine.mkdir()
    with scratch_folder() as scratch:
        assert scratch.stat().st_mode & 0o777 == 0o700
        assert not left.exists()
        assert mine.exists()


def test_a_class_that_fails_is_named_and_the_others_are_kept(authority, digits, tmp_path):
    import numpy as np

    with np.load(digits) as arrays:
        parts = dict(arrays)
    labels = parts["train_labels"][:, 0]
    few = np.concatenate([np.flatnonzero(labels == 0)[:9], np.flatnonzero(labels == 1)[:30]])
    parts |= {name: parts[name][few] for name in ("train_images", "train_labels")}
    np.savez(tmp_path / "few.npz", **parts)
    site = authority.join(tmp_path / "home", "hospital-1")
    site.home.policy_file.write_text(UNAUDITED)
    options = TrainOptions(data=tmp_path / "few.npz", steps=1, threads=1, audit=False)
    with pytest.raises(DataError, match=r"^class zero: 9 distinct images .* are too few"):
        train(site, options)
    assert list(own_modules(site.home)) == ["one"]
