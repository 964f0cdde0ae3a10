"""`ff-agent send`."""

from client_agent.commands.common import Call, plain, site_command


@site_command("send")
def command(call: Call) -> None:
    """Send each finished module once to the coordinator.

    Sending again costs nothing; an interrupted transfer goes on where it stopped. Revocations that
    could not be delivered earlier go along.
    """
    from client_agent.steps.revoke import deliver_revocations
    from client_agent.steps.send import send

    site = call.site()
    with site.exclusive():
        deliver_revocations(site, call.console.progress)
        sent = send(site, call.console.progress)

    def lines() -> None:
        for item in sent.modules:
            fate = "was there already" if item.already_there else f"{item.bytes_sent:,} bytes sent"
            print(f"{item.class_name}: {item.digest[:12]} {fate}")
        print("next: ff-agent receive --wait N")

    call.console.result(plain(sent), lines)
