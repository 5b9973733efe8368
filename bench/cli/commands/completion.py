"""``completion``: a shell script that completes names after TAB."""

from __future__ import annotations

import click

from bench.cli.completion import SHELLS, one_of, script
from bench.cli.options import Common, common_options
from bench.cli.output import print_json, print_raw


@click.command()
@click.argument("shell", metavar="|".join(SHELLS), shell_complete=one_of(*SHELLS))
@common_options
def command(shell: str, common: Common) -> None:
    r"""Print a shell completion script for the installed command `labshift`.

    \b
    bash: eval "$(labshift completion bash)"          in ~/.bashrc
    zsh:  eval "$(labshift completion zsh)"           in ~/.zshrc
    fish: labshift completion fish | source           in ~/.config/fish/config.fish
    """
    from bench.cli.group import group

    text = script(group, shell)
    if common.as_json:
        print_json({"shell": shell, "script": text})
    else:
        print_raw(text)
