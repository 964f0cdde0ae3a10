"""`ff-coordinator init`: found a federation."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.console import Console, home_command

if TYPE_CHECKING:
    from coordinator.home import CoordinatorHome


@home_command("init")
@click.option("--federation", required=True, metavar="NAME", help="The federation's name.")
@click.option(
    "--spec",
    "spec_file",
    required=True,
    type=click.Path(path_type=Path),
    help="YAML: classes, image shape, preset ... (configs/spec.example.yaml).",
)
@click.option(
    "--host", "hosts", multiple=True, help="Name or address of the server; may be repeated."
)
@click.option("--endpoint", help="HOST:PORT that invitations name by default.")
@click.option(
    "--offline-root",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write the root's key there (a medium for the safe) and never into the home.",
)
@click.option("--store", help="URL of the object store, e.g. s3://bucket [default: HOME/store].")
def command(
    home: "CoordinatorHome",
    console: Console,
    federation: str,
    spec_file: Path,
    hosts: tuple[str, ...],
    endpoint: str | None,
    store: str | None,
    offline_root: Path | None,
) -> None:
    """Make the federation's root, its certificates and the signed spec.

    The root's key is needed again only to change the root: keep it offline, with --offline-root
    from the start. With a passphrase (--passphrase-file, FF_PASSPHRASE) all keys are encrypted.
    """
    from coordinator.addresses import check_endpoint, split_endpoint
    from coordinator.authority import found
    from ff_protocol.clock import utc_now
    from ff_protocol.spec import read_spec

    spec = read_spec(spec_file)
    if endpoint is not None:
        hosts = (*hosts, split_endpoint(check_endpoint(endpoint))[0])
    founded = found(
        home,
        federation,
        spec,
        hosts=hosts,
        endpoint=endpoint,
        store=store,
        offline_root=offline_root,
        now=utc_now(),
    )
    console.result(
        {
            "federation": founded.federation_id,
            "name": founded.name,
            "fingerprint": founded.fingerprint,
            "home": str(home.root),
            "already": founded.already,
        },
        (
            f"Federation {founded.federation_id} {'is' if founded.already else 'made'} in "
            f"{home.root}",
            f"Root fingerprint (SHA-256): {founded.fingerprint}",
            "Next: ff-coordinator invite SITE --endpoint HOST:PORT, then ff-coordinator serve",
        ),
    )
