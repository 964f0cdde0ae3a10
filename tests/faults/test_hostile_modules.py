"""Every module of the corpus is refused, for the right reason, in bounded time and memory."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from client_agent.errors import RefusedError
from client_agent.home import Home
from client_agent.registry.refusals import refusals
from client_agent.sandbox.limits import Limits
from client_agent.site import open_site
from client_agent.steps.bundle import import_bundle
from client_agent.steps.join import join
from client_agent.steps.receive import receive
from client_agent.synthesis.session import ModuleSession, probe_module
from ff_protocol import dsse
from ff_protocol.statements import build_publication
from tests.federation import SPEC, make_federation
from tests.hostile.attack import HONEST, Attack
from tests.hostile.graphs import constant, honest_model, with_initialiser
from tests.hostile.outputs import copied_images
from tests.hostile.table import ATTACKS
from tests.hostile.trial import federation

SECONDS = 10
BYTES = 500_000_000
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """What became of each attack, tried by the real admission in one process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.trial", str(tmp_path_factory.mktemp("trial"))],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
    )
    return {report["name"]: report for report in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_module_is_refused(reports, name):
    report = reports[name]
    assert re.search(ATTACKS[name].reason, report["outcome"]), report
    # CPU time of agent and worker: the wall time of a machine that does nothing else.
    assert report["cpu_seconds"] < SECONDS, report
    assert report["peak_bytes"] < BYTES, report
    assert report["outcome"].isprintable()


def offer(site, attack, folder):
    """A module folder and the publication's envelope, as a hostile site would send them."""
    publication = attack.publish(folder, site)
    return publication, dsse.sign(build_publication(publication), site.credential("signing"))


CARRIED = (
    "a card of another class",
    "an operator of its own",
    "weights at an absolute path",
    "a loop of 10^9 turns",
    "doubling by Concat",
    "one pixel of NaN",
)


def test_from_a_disk_each_is_refused_and_only_the_record_stays(tmp_path):
    from client_agent.bundle.writing import write_bundle

    authority = federation()
    hostile = authority.join(tmp_path / "hostile", "hospital-1")
    site = authority.join(tmp_path / "home", "hospital-2")
    offers = [offer(hostile, ATTACKS[name], tmp_path / name) for name in CARRIED]
    path = tmp_path / "bundle.tar"
    write_bundle(
        path,
        site.trust.federation_id,
        "hospital-1",
        [envelope for _, envelope in offers],
        [(p.module, tmp_path / name) for name, (p, _) in zip(CARRIED, offers, strict=True)],
    )
    received = import_bundle(site, path)
    assert received.admitted == []
    for name, (publication, _) in zip(CARRIED, offers, strict=True):
        assert re.search(ATTACKS[name].reason, received.refused[publication.module])
    assert set(refusals(site.home)) == set(received.refused)
    assert not list((site.home.root / "incoming").iterdir())
    assert not (site.home.root / "admitted").exists()
    assert not workers()
    again = import_bundle(site, path)
    assert (again.admitted, again.refused) == ([], {})


def test_from_a_coordinator_each_is_refused_and_the_honest_one_is_admitted(tmp_path):
    from client_agent.relay.connection import open_relay

    hungry = ATTACKS["gigabytes of a constant when run"]
    large = Attack("too large", "", lambda: with_initialiser(constant("w", np.zeros(9999))))
    spec = SPEC | {"policy": {"max_module_bytes": 4096}, "synthesis": {"threads": 1}}
    with make_federation(tmp_path, spec) as running:
        sites = []
        for site_id in ("hospital-1", "hospital-2"):
            join(running.invite(site_id), Home(tmp_path / site_id))
            sites.append(open_site(Home(tmp_path / site_id)))
        hostile, site = sites
        refused = {}
        with open_relay(hostile) as relay:
            for attack in (HONEST, hungry):
                folder = tmp_path / attack.name
                publication, envelope = offer(hostile, attack, folder)
                relay.send_module(folder, envelope, publication.files)
                refused[publication.module] = attack
            publication, envelope = offer(hostile, large, tmp_path / "large")
            with pytest.raises(RefusedError, match="allowed are 1 to 4096 bytes"):
                relay.send_module(tmp_path / "large", envelope, publication.files)
        received = receive(site)
    assert [refused.pop(digest) for digest in received.admitted] == [HONEST]
    (digest,) = refused
    assert re.search(hungry.reason, received.refused[digest])
    assert not site.home.incoming(digest).exists()
    assert not workers()


def workers():
    """Processes that this one has started to run modules in and that are still there."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if any("sandbox" in word for word in child.cmdline())]


def test_the_runtime_takes_a_file_for_what_admission_read(tmp_path):
    """Without the option that the worker sets, the runtime reads these bytes as its own format."""
    import onnxruntime as ort

    authority = federation()
    path = tmp_path / "module.onnx"
    path.write_bytes(ATTACKS["a file that is also of onnxruntime"].model())
    with pytest.raises(Exception, match=r"(?i)ort|flatbuffer|verify"):
        ort.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    with ModuleSession(path, "0" * 64, authority.spec, "f") as session:
        images = session.run_batch(0)
    path.write_bytes(honest_model())
    with ModuleSession(path, "0" * 64, authority.spec, "f") as session:
        assert images.tobytes() == session.run_batch(0).tobytes()


def test_copied_images_pass_structure_and_first_run(tmp_path):
    """Why admission has to look at the images themselves as well."""
    from client_agent.module.structure import check_structure

    authority = federation()
    stored = np.random.default_rng(0).random((9, 1, 8, 8), dtype=np.float32)
    path = tmp_path / "module.onnx"
    path.write_bytes(copied_images(stored))
    assert check_structure(path, authority.spec) > stored.size
    probe_module(path, "0" * 64, authority.spec, "f")
    generous = Limits(load_seconds=9, batch_seconds=9, stall_seconds=99, memory_bytes=2**29)
    with ModuleSession(path, "0" * 64, authority.spec, "f", generous) as session:
        dealt = {image.tobytes() for image in session.run_batch(0)}
    assert len(dealt) > 1
    assert dealt <= {image.tobytes() for image in stored}
