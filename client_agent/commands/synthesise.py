"""`ff-agent synthesise`."""

from typing import Any

from client_agent.commands.common import Call, engine_options, plain, site_command


@site_command("synthesise")
@engine_options("modules")
def command(call: Call, **values: Any) -> None:
    """Make the class-balanced synthetic training set from the admitted modules.

    The same modules give the same bytes at every site. Only what is missing is made.
    """
    from client_agent.commands.options import make_engine_options
    from client_agent.steps.synthesise import make_dataset

    site = call.site()
    with site.exclusive():
        synthesised, _ = make_dataset(site, call.console.progress, make_engine_options(values))

    def lines() -> None:
        for name, count in synthesised.classes.items():
            print(f"{name}: {count} images")
        print(f"{synthesised.made} made now; data set root {synthesised.root[:16]}")
        print("next: ff-agent fit")

    call.console.result(plain(synthesised), lines)
