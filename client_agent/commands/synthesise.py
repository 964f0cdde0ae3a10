"""`ff-agent synthesise`."""

from client_agent.commands.common import Call, plain, site_command


@site_command("synthesise")
def command(call: Call) -> None:
    """Make the class-balanced synthetic training set from the admitted modules.

    The same modules give the same bytes at every site. Only what is missing is made.
    """
    from client_agent.steps.synthesise import make_dataset

    site = call.site()
    with site.exclusive():
        synthesised, _ = make_dataset(site, call.console.progress)

    def lines() -> None:
        for name, count in synthesised.classes.items():
            print(f"{name}: {count} images")
        print(f"{synthesised.made} made now; data set root {synthesised.root[:16]}")
        print("next: ff-agent fit")

    call.console.result(plain(synthesised), lines)
