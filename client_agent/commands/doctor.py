"""`ff-agent doctor`."""

from client_agent.commands.common import Call, site_command


@site_command("doctor")
def command(call: Call) -> int:
    """Find out what keeps this site from its coordinator, and whom to ask for what.

    Looks at disk, certificates and sandbox here, then follows the way to the coordinator until
    the first fault: proxy, name, port, TLS and who terminates it, HTTP/2, the server's name,
    permission, version, clock. Changes nothing. Ends with the exit code of the first fault found.
    """
    from dataclasses import asdict

    from client_agent.doctor.findings import exit_code
    from client_agent.steps.doctor import examine
    from client_agent.text import say

    findings = examine(call.site())

    def lines() -> None:
        for item in findings:
            word = "ok   " if item.ok else "WRONG"
            say(f"{word} {item.check}: {item.found}", indent=6, good=item.ok)
            if item.ask:
                say(f"      -> {item.ask}", indent=9)

    healthy = all(item.ok for item in findings)
    document = {"healthy": healthy, "findings": [asdict(item) for item in findings]}
    call.console.result(document, lines)
    return exit_code(findings)
