"""`ff-coordinator rotate-root`: change the federation's root without anyone joining again."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coordinator.console import Console, home_command

if TYPE_CHECKING:
    from coordinator.home import CoordinatorHome

_FOLDER = click.Path(path_type=Path)


@home_command("rotate-root")
@click.option(
    "--root-key", type=_FOLDER, help="Folder of the present root [default: HOME/authority]."
)
@click.option("--new-root", type=_FOLDER, help="Folder for the new root's key: must hold none.")
@click.option("--finish", is_flag=True, help="From now on only the new root holds.")
def command(
    home: "CoordinatorHome",
    console: Console,
    root_key: Path | None,
    new_root: Path | None,
    finish: bool,
) -> None:
    """Make a new root, signed for by the old one; later end the change with --finish.

    In between both hold, and every site takes the new one at its next receive. The federation's id,
    all certificates, modules and statements stay valid. Before the root's end (20 years), or when
    its key may have been seen by others: then finish at once.
    """
    from coordinator import rotation
    from coordinator.errors import UsageError
    from coordinator.root_folder import RootFolder
    from coordinator.store import open_store
    from ff_protocol.clock import utc_now

    store = open_store(home)
    if finish:
        if new_root is not None or root_key is not None:
            raise UsageError("--finish needs no key: it was signed when the change began")
        done = rotation.finish(home, store, utc_now())
    else:
        if new_root is None:
            raise UsageError("--new-root is missing", hint="name a folder for the new root's key")
        old = RootFolder(root_key or home.key("root").parent, home.passphrase)
        new = RootFolder(new_root, home.passphrase)
        done = rotation.begin(home, store, old, new, utc_now())
    console.result(
        {
            "roots_version": done.version,
            "fingerprints": list(done.fingerprints),
            "finished": done.finished,
        },
        (
            f"Root fingerprint (SHA-256): {done.fingerprints[-1]}",
            "Only this root holds now. Destroy the old one's key."
            if done.finished
            else "Both roots hold. Once every site has received: rotate-root --finish",
        ),
    )
