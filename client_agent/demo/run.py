"""The demonstration from beginning to end: lay out, federate, compare, revoke, report."""

import io
import shutil
import time
from pathlib import Path

import numpy as np

from client_agent.demo.arms import compare
from client_agent.demo.datasets import DemoData, load_demo_data
from client_agent.demo.federation import running_federation
from client_agent.demo.layout import share_out, write_hospital
from client_agent.demo.options import DemoOptions
from client_agent.demo.processes import Cores, Processes
from client_agent.demo.results import Demonstration, write_results
from client_agent.errors import UsageError
from client_agent.home import Home
from client_agent.progress import SILENT, Progress
from client_agent.registry.modules import admitted_modules
from client_agent.report.contact_sheet import write_contact_sheet
from client_agent.site import open_site
from client_agent.synthesis.shards import ShardStore
from ff_protocol.files import storage_error, write_atomically

MARKER = ".demonstration"
MOST_SITES = 10


def demonstrate(options: DemoOptions, progress: Progress = SILENT) -> Demonstration:
    """Run the whole demonstration and leave its results in `options.out`.

    Raises:
        UsageError: the folder is in use, or the number of sites does not fit.
        DataError: the data set cannot be used.
        ProcessFailedError: a process ended with an error; the hint names its log.
    """
    started = time.monotonic()
    out = _prepare_folder(options.out)
    data = load_demo_data(options.dataset, out, options.seed)
    hospitals = share_out(data, options.sites or min(MOST_SITES, len(data.classes)))
    with progress.task("writing the hospitals' DICOM files", len(hospitals)) as task:
        for number, hospital in enumerate(hospitals, start=1):
            write_hospital(data, hospital, out / "images" / hospital.name, options.seed)
            task.update(number, hospital.name)
    processes = Processes(out / "logs", Cores.divide(len(hospitals)))
    try:
        with running_federation(processes, data, hospitals, options, out, progress) as federation:
            outcome = federation.run_round(write_test_set(data, out / "test.npz"))
            sheet = write_sheet(federation.home(hospitals[0].name), out / "synthetic.png")
            arms = compare(
                data, hospitals, out, federation.spec.classifier, outcome.bytes_per_site, progress
            )
            remaining = write_test_set(
                data, out / "test-remaining.npz", leave_out=hospitals[-1].classes
            )
            revocation = federation.revoke_last(remaining)
    finally:
        processes.stop()
    demonstration = Demonstration(
        dataset=data.name,
        sites={hospital.name: hospital.classes for hospital in hospitals},
        seed=options.seed,
        federation=outcome,
        rivals=arms,
        revocation=revocation,
        seconds=time.monotonic() - started,
        sheet=sheet,
        out=out,
    )
    write_results(demonstration)
    return demonstration


def write_test_set(data: DemoData, path: Path, leave_out: tuple[str, ...] = ()) -> Path:
    """Write the test images as a MedMNIST-style file, without the classes of `leave_out`."""
    kept = ~np.isin(data.test_labels, [data.classes.index(name) for name in leave_out])
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        test_images=data.test_images[kept],
        test_labels=data.test_labels[kept, None],
        class_names=np.array(data.classes),
    )
    write_atomically(path, buffer.getvalue())
    return path


def write_sheet(home: Path, path: Path) -> Path:
    """Write a contact sheet of the synthetic images of a site's modules, one row per module."""
    site = open_site(Home(home))
    store = ShardStore(site.home.shards, site.spec, site.trust.federation_id)
    modules = sorted(admitted_modules(site.home), key=lambda module: module.card.class_index)
    write_contact_sheet([store.read(module.digest, 16)[0] for module in modules], path)
    return path


def _prepare_folder(folder: Path) -> Path:
    """Make the folder; one that an earlier demonstration filled is emptied, any other is not."""
    out = folder.absolute()
    try:
        if (out / MARKER).is_file():
            shutil.rmtree(out)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UsageError(
                f"{out} holds something else than a demonstration",
                hint="name a new folder with --out",
            )
        (out / "logs").mkdir(parents=True)
        (out / MARKER).touch()
    except OSError as error:
        raise storage_error(error, out) from error
    return out
