"""`ff-agent upgrade`."""

import click

from client_agent.commands.common import Call, plain, site_command


@site_command("upgrade")
@click.option("--check", is_flag=True, help="Say what would change; exit code 7 if anything does.")
@click.option("--back", is_flag=True, help="Go back to the format before, for the earlier version.")
def command(call: Call, check: bool, back: bool) -> int | None:
    """Bring this home to the format of this version of the program.

    Safe to run at every start: a home of this format is left as it is. What can no longer be used
    is set aside in backups/, never deleted. Interrupted at any time, run it again.
    """
    from client_agent.errors import UsageError
    from client_agent.steps.upgrade import check_upgrade, downgrade, upgrade
    from ff_protocol.errors import ExitCode

    if check and back:
        raise UsageError("--check and --back cannot go together")
    done = check_upgrade(call.home) if check else (downgrade if back else upgrade)(call.home)
    due = done.source != done.target or bool(check and done.to_do)

    def lines() -> None:
        from client_agent.text import say

        if done.finished:
            print("what was interrupted is finished")
        if not due:
            print(f"format {done.target}: nothing to do")
            return
        verb = "would go" if check else "went"
        print(f"{call.home.root} {verb} from format {done.source} to format {done.target}")
        for path, reason in done.set_aside.items():
            say(f"set aside: {path}: {reason}", indent=11)
        for path, reason in done.dropped.items():
            say(f"deleted: {path}: {reason}", indent=9)
        if done.set_aside and not check:
            say(f"set aside means moved to {done.backups}", indent=2)
        for line in done.to_do:
            say(f"next: {line}", indent=6)

    call.console.result(plain(done), lines)
    return ExitCode.NOT_READY if check and due else None
