"""`ff-agent completion`."""

import click

from client_agent.commands.common import Call, site_command

PROGRAM = "ff-agent"
VARIABLE = "_FF_AGENT_COMPLETE"


@site_command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(call: Call, shell: str) -> None:
    """Print the script that completes commands and options in a shell.

    \b
    bash   eval "$(ff-agent completion bash)"      in ~/.bashrc
    zsh    eval "$(ff-agent completion zsh)"       in ~/.zshrc
    fish   ff-agent completion fish > ~/.config/fish/completions/ff-agent.fish
    """
    from click.shell_completion import get_completion_class

    from client_agent.cli import main

    kind = get_completion_class(shell)
    assert kind is not None, "click knows the three shells"
    script = kind(main, {}, PROGRAM, VARIABLE).source()
    call.console.result({"script": script}, lambda: print(script))
