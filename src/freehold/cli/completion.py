"""`freehold completion`: what a shell needs to complete verbs and options. Click writes the script.

The line that makes it permanent stands in the script as a comment: a message on stderr would come with every new shell.
"""

import sys

import click

LINES = {
    "bash": 'add to ~/.bashrc: eval "$(freehold completion bash)"',
    "zsh": 'add to ~/.zshrc, after compinit: eval "$(freehold completion zsh)"',
    "fish": "run once: freehold completion fish > ~/.config/fish/completions/freehold.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(LINES)))
def command(shell: str) -> None:
    """Print the completion script of a SHELL.

    \b
    bash  eval "$(freehold completion bash)" in ~/.bashrc
    zsh   eval "$(freehold completion zsh)" in ~/.zshrc, after compinit
    fish  freehold completion fish > ~/.config/fish/completions/freehold.fish
    """
    from click.shell_completion import get_completion_class

    from freehold.cli import main

    kind = get_completion_class(shell)
    if kind is None:
        raise click.BadParameter(f"no completion for {shell}", param_hint="SHELL")
    script = kind(main, {}, "freehold", "_FREEHOLD_COMPLETE").source()
    sys.stdout.write(f"{script.rstrip()}\n\n# {LINES[shell]}\n")
    sys.stdout.flush()
