"""`ff-coordinator passphrase`: encrypt the private keys in the home."""

from pathlib import Path
from typing import TYPE_CHECKING

from coordinator.console import Console, home_command
from ff_protocol.command_line import new_passphrase_options

if TYPE_CHECKING:
    from coordinator.home import CoordinatorHome


@home_command("passphrase")
@new_passphrase_options
def command(
    home: "CoordinatorHome",
    console: Console,
    action: str | None,
    new_passphrase_file: Path | None,
) -> None:
    """Encrypt the private keys in this home, change their passphrase, or take it away.

    The present passphrase comes from --passphrase-file, FF_PASSPHRASE or the terminal, the new one
    from --new-passphrase-file, FF_NEW_PASSPHRASE or the terminal. `serve` needs it whenever it
    starts: a service manager hands it over as a file.
    """
    from coordinator.errors import UsageError
    from ff_protocol.passphrase import act

    if action is None:
        raise UsageError("give --set, --change or --remove")
    home.settings()
    number = act(action, sorted(home.root.glob("*/*.key")), home.passphrase, new_passphrase_file)
    state = "unencrypted" if action == "remove" else "encrypted"
    console.result(
        {"keys": number, "encrypted": action != "remove"},
        (f"{number} private keys are {state} now",),
    )
