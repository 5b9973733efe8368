"""``completion``: what a shell evaluates to complete names after TAB."""

from __future__ import annotations

import json

import click

from bench.cli.completion import SHELLS, one_of, script
from bench.cli.main import common, group


@click.command()
@click.argument("shell", metavar="|".join(SHELLS), shell_complete=one_of(*SHELLS))
@common
def command(
    shell: str, results: str | None, plugin: tuple[str, ...], as_json: bool, debug: bool
) -> None:
    r"""Print the completion script of a shell, for the installed command `labshift`.

    \b
    bash: eval "$(labshift completion bash)"          in ~/.bashrc
    zsh:  eval "$(labshift completion zsh)"           in ~/.zshrc
    fish: labshift completion fish | source           in ~/.config/fish/config.fish
    """
    text = script(group, shell)
    click.echo(json.dumps({"shell": shell, "script": text}) if as_json else text)
