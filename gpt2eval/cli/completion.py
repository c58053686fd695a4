"""`gpt2eval completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

# Bash would take task@protocol for three words.
BASH = 'COMP_WORDBREAKS="${COMP_WORDBREAKS//@/}"\n'


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands, options, tasks and results.

    \b
    bash   eval "$(gpt2eval completion bash)"                            in ~/.bashrc
    zsh    eval "$(gpt2eval completion zsh)"                             in ~/.zshrc
    fish   gpt2eval completion fish > ~/.config/fish/completions/gpt2eval.fish
    """  # noqa: D301 (click wants the character itself)
    kind = get_completion_class(shell)
    assert kind is not None
    root = context.find_root().command
    script = kind(root, {}, "gpt2eval", "_GPT2EVAL_COMPLETE")
    click.echo(script.source_template % script.source_vars() + (BASH if shell == "bash" else ""))
