"""`ff-agent passphrase`."""

from pathlib import Path

from client_agent.commands.common import Call, site_command
from ff_protocol.command_line import new_passphrase_options


@site_command("passphrase")
@new_passphrase_options
def command(call: Call, action: str | None, new_passphrase_file: Path | None) -> None:
    """Encrypt this site's private keys, change their passphrase, or take it away.

    The present passphrase comes from --passphrase-file, FF_PASSPHRASE or the terminal, the new one
    from --new-passphrase-file, FF_NEW_PASSPHRASE or the terminal. A lost passphrase cannot be
    recovered: the site then needs a new invitation (ff-agent renew --invitation).
    """
    from client_agent.credentials import key_files
    from client_agent.errors import UsageError
    from ff_protocol.passphrase import act

    if action is None:
        raise UsageError("give --set, --change or --remove")
    site = call.site()
    with site.exclusive():
        number = act(action, key_files(site.home), site.home.passphrase, new_passphrase_file)
        site.log.append("passphrase_changed", action=action)
    state = "unencrypted" if action == "remove" else "encrypted"
    call.console.result(
        {"keys": number, "encrypted": action != "remove"},
        lambda: print(f"{number} private keys are {state} now"),
    )
