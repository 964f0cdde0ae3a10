"""`ff-agent run`."""

from typing import Any

from client_agent.commands.common import (
    Call,
    data_options,
    engine_options,
    plain,
    site_command,
    train_options,
    wait_options,
)


@site_command("run")
@data_options
@train_options
@wait_options
@engine_options("classes", "modules")
def command(call: Call, **values: Any) -> None:
    """Do the whole round: train, send, receive, synthesise, fit.

    Waits until every class that was not withdrawn has a module (or as --wait says). Run it again
    after any interruption: what is done is not done twice.
    """
    from client_agent.commands.options import (
        make_engine_options,
        make_train_options,
        make_wait,
        timeout_of,
    )
    from client_agent.steps.run import run_round
    from client_agent.steps.waiting import WaitFor

    site = call.site()
    wait = make_wait(values) or WaitFor(timeout_seconds=timeout_of(values))
    options, where = make_train_options(values), make_engine_options(values)
    done = run_round(site, options, wait, call.console.progress, where)

    def lines() -> None:
        print(f"trained {len(done.trained.modules)} modules, kept {len(done.trained.kept)}")
        print(f"received {len(done.received.admitted)} modules")
        if done.received.waiting:
            print(f"{len(done.received.waiting)} modules wait for a decision: ff-agent admit")
        for subject, reason in done.received.refused.items():
            print(f"refused {subject[:12]}: {reason}")
        print(f"classifier {done.fitted.classifier[:16]} knows {', '.join(done.fitted.classes)}")
        print("next: ff-agent evaluate, calibrate, predict or report --data PATH")

    call.console.result(plain(done), lines)
