"""`ff-agent admit`."""

import sys
from typing import TYPE_CHECKING, Any

import click

from client_agent.commands.common import Call, plain, site_command

if TYPE_CHECKING:
    from client_agent.steps.decide import Waiting


@site_command("admit")
@click.argument("module", required=False)
@click.option("--yes", "-y", is_flag=True, help="Admit without asking.")
@click.option("--dry-run", is_flag=True, help="Show it and decide nothing.")
def command(call: Call, module: str | None, yes: bool, dry_run: bool) -> None:
    """Put a module into use that waits for a decision; without MODULE, list those that wait.

    MODULE is a digest, or its first 8 digits or more. Shows the card, the figures of its
    comparison with other modules, and the path of a contact sheet with 64 of its images, then asks.
    Where policy.yaml says `mode: automatic` hardly anything ever waits. ff-agent fit takes the
    admitted module into the data set.
    """
    from client_agent.errors import UsageError
    from client_agent.steps.decide import admit, list_waiting, look_at

    site, console = call.site(), call.console
    if module is None:
        if yes:
            raise UsageError("which module?", hint="ff-agent admit lists those that wait")
        listed = list_waiting(site)
        console.result({"waiting": [plain(item) for item in listed]}, lambda: _show_list(listed))
        return
    with site.exclusive():
        seen = look_at(site, module)
    may_ask = sys.stdin.isatty() and sys.stdout.isatty()
    if dry_run or not (yes or console.as_json):
        console.result({"module": plain(seen), "decision": None}, lambda: show_module(seen))
    if dry_run:
        return
    if not yes and (console.as_json or not may_ask):
        raise UsageError(
            "nothing is decided: this is no terminal to ask at",
            hint=f"ff-agent admit {seen.digest[:12]} --yes, or ff-agent refuse {seen.digest[:12]}",
        )
    if not yes and not click.confirm("Admit it?", default=False):
        print("nothing is decided; ff-agent refuse deletes it")
        return
    with site.exclusive():
        decided = admit(site, seen.digest)
    console.result(
        {"module": plain(seen), **plain(decided)},
        lambda: print(
            f"admitted: {decided.digest[:12]} ({decided.class_name} of {decided.site_id}); "
            "next: ff-agent fit"
        ),
    )


def show_module(seen: "Waiting") -> None:
    """Print what an admin should know before a decision."""
    card = seen.card
    generator, training = card["generator"], card["training"]
    print(f"module {seen.digest}")
    print(f"class {card['class_name']} of {card['site_id']}, made {card['created_at']}")
    print(
        f"{generator['family']} {generator['preset']}, {generator['parameters']:,} parameters; "
        f"trained on {training['images']} images, {training['steps']} steps"
    )
    for part in ("memorisation", "fidelity"):
        for name, figure in card[part].items():
            print(f"  {part} {name}: {_figure(figure)}")
    if not card["memorisation"]:
        print("  its card states no figure of memorisation")
    if card["waiver"]:
        print(f"  WAIVER for {', '.join(card['waiver']['figures'])}: {card['waiver']['reason']}")
    print(f"terms of use: {card['terms_of_use']}")
    _show_comparison(seen.comparison)
    print(f"64 of its images: {seen.contact_sheet}")


def _show_comparison(seen: dict[str, Any] | None) -> None:
    if seen is None or not seen["modules"]:
        print("its images have not been compared: no other module is known here")
        return
    print(f"compared with {seen['modules']} modules known here, {seen['samples']} images:")
    for name, share in sorted(seen["shares"].items(), key=lambda item: -item[1])[:3]:
        print(f"  {share:.0%} of its images look like {name}")
    for what, key in (("its own class", "own"), ("another class", "other")):
        if seen[key]:
            print(
                f"  nearest module of {what}: {seen[key]['module'][:12]} "
                f"({seen[key]['class_name']}), AUROC {seen[key]['separability']:.2f} (0.5 is alike)"
            )
    found = seen["validation"]
    if found:
        print(
            f"  a quick classifier recognises {found['before']:.0%} without it, "
            f"{found['after']:.0%} with it"
        )
    for flag in seen["flags"]:
        print(f"  SUSPICIOUS ({flag['code']}): {flag['text']}")


def _figure(figure: dict[str, Any]) -> str:
    interval = ""
    if figure["low"] is not None and figure["high"] is not None:
        interval = f" ({figure['low']:.3g} to {figure['high']:.3g})"
    return f"{figure['value']:.3g}{interval} on {figure['samples']} images"


def _show_list(listed: "tuple[Waiting, ...]") -> None:
    from client_agent.console import show_table

    if not listed:
        print("no module waits for a decision")
        return
    rows = [
        [
            item.card["class_name"],
            item.card["site_id"],
            item.digest[:12],
            item.card["training"]["images"],
            ", ".join(flag["code"] for flag in (item.comparison or {}).get("flags", [])) or "-",
        ]
        for item in listed
    ]
    columns = ["class", "site", "module", "images", "suspicious"]
    show_table("waiting for a decision: ff-agent admit MODULE", columns, rows)
