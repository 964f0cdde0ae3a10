"""`ff-coordinator doctor`: what is wrong here?"""

from typing import TYPE_CHECKING

from coordinator.console import Console, home_command
from ff_protocol.errors import ExitCode

if TYPE_CHECKING:
    from coordinator.home import CoordinatorHome


@home_command("doctor")
def command(home: "CoordinatorHome", console: Console) -> ExitCode:
    """Check home, keys, certificates, store and clock; say what to do about what is wrong.

    Needs no server and can run beside one. The exit code is 0 if all is well, else that of the
    first check that failed.
    """
    from coordinator.doctor import examine
    from ff_protocol.clock import utc_now

    checks = examine(home, utc_now())
    lines = []
    for check in checks:
        lines.append(f"{'ok   ' if check.ok else 'WRONG'} {check.name}: {check.detail}")
        if check.hint:
            lines.append(f"      {check.hint}")
    documents = [
        {"name": check.name, "ok": check.ok, "detail": check.detail, "hint": check.hint}
        for check in checks
    ]
    console.result({"healthy": all(check.ok for check in checks), "checks": documents}, lines)
    return next((check.exit_code for check in checks if not check.ok), ExitCode.OK)
