"""`ff-agent status`."""

from pathlib import Path
from typing import Any

import click

from client_agent.commands.common import Call, given, site_command


@site_command("status")
@click.option(
    "--metrics-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write metrics there for node_exporter's textfile collector: NAME.prom.",
)
def command(call: Call, metrics_file: Path | None) -> None:
    """Show this site's modules, data set, classifier and service. Needs no network."""
    from client_agent.steps.status import status

    state = status(call.site())
    if metrics_file is not None and given("metrics_file"):  # config.yaml's is the service's
        from client_agent.service.metrics import write_metrics
        from ff_protocol.clock import utc_now

        write_metrics(metrics_file, state, utc_now())
    call.console.result(state, lambda: _show(state))


def _show(state: dict[str, Any]) -> None:
    from client_agent.console import show_table
    from client_agent.text import say

    print(f"{state['site']} in {state['federation']} ({state['federation_id']})")
    say(f"home {state['home']}", indent=5)
    say(f"coordinator {state['coordinator']}", indent=12)
    days = {name: item["days"] for name, item in state["identity"].items()}
    print(f"certificates: TLS {days['tls']} days left, signing {days['signing']} days left")
    if state["spec"]["revision"] > 1 or state["spec"]["waiting"]:
        print(f"federation spec: revision {state['spec']['revision']}")
    for number in state["spec"]["waiting"]:
        print(f"revision {number} of the federation spec waits for a decision: ff-agent spec")
    if state["roots"]["changing"]:
        print("the federation's root is changing: two are trusted for now")
    if state["expelled"]:
        print(f"expelled: {', '.join(state['expelled'])}")
    rows = [
        [
            module["class"],
            module["site"],
            module["digest"][:12],
            module["samples"],
            "yes" if module["synthesised"] else "no",
        ]
        for module in sorted(
            (item for item in state["admitted"] if item["digest"] not in state["unusable"]),
            key=lambda item: (state["classes"].index(item["class"]), item["site"]),
        )
    ]
    if rows:
        show_table("modules in use", ["class", "site", "module", "samples", "made"], rows)
    for name, item in state["outbox"].items():
        if not item["sent"]:
            print(f"{name}: module {item['digest'][:12]} is not sent yet; run ff-agent send")
    if state["missing_classes"]:
        say(f"no module yet: {', '.join(state['missing_classes'])}", indent=15)
    for item in state["waiting"]:
        print(
            f"waiting for a decision: {item['digest'][:12]} ({item['class']} of {item['site']})"
            f"{_suspicion(item)}; ff-agent admit, ff-agent refuse"
        )
    for item in state["admitted"]:
        if item["suspicious"]:
            print(f"in use: {item['digest'][:12]} ({item['class']} of {item['site']})"
                  f"{_suspicion(item)}")  # fmt: skip
    for item in state["revoked"]:
        print(f"revoked: {item['digest'][:12]} ({item['class']} of {item['site']})")
    for digest, reason in state["unusable"].items():
        say(f"not used: {digest[:12]}: {reason}", indent=10)
    for digest, reason in state["refused"].items():
        say(f"refused: {digest[:12]}: {reason}", indent=9)
    for text in state["warnings"]:
        say(f"warning: {text}", indent=9)
    classifier = state["classifier"]
    if classifier is None:
        print("classifier: none yet; run ff-agent fit")
    else:
        age = "up to date" if classifier["up_to_date"] else "out of date; run ff-agent fit"
        print(f"classifier: {classifier['digest'][:16]}, {len(classifier['classes'])} classes, {age}")  # fmt: skip  # noqa: E501
    if state["unlearning_pending"]:
        print("an unlearning is not finished: run ff-agent fit")
    if state["service"] is not None:
        _show_service(state["service"])


def _show_service(service: dict[str, Any]) -> None:
    from client_agent.text import say

    if service["running"]:
        say(f"service: {service['activity']} (process {service['pid']})", indent=9)
    else:
        print("service: does not run")
    for name, what in (
        ("last_contact", "last word from the coordinator"),
        ("last_fit", "last fit"),
    ):
        if service[name] is not None:
            print(f"{what}: {service[name]}")
    fault = service["last_error"]
    if fault is not None:
        count = sum(service["errors"].values())
        say(f"last of {count} faults: {fault['at']}, {fault['kind']}: {fault['message']}", indent=9)


def _suspicion(item: dict[str, Any]) -> str:
    return f", suspicious ({', '.join(item['suspicious'])})" if item["suspicious"] else ""
