"""`gpt2eval doctor`."""

from __future__ import annotations

import click

from gpt2eval.cli.options import json_option, print_json


@click.command("doctor")
@json_option
def command(as_json: bool) -> None:
    """Say what this machine has, what is missing or slow, and what to do about it.

    Versions, devices, threads and cores, how fast matrix products are and by which library, caches,
    offline switches, extras, and whether what comes with gpt2eval is whole. Works where torch is
    missing or broken. Exit code 1 where checkpoints cannot be scored.
    """
    from gpt2eval import as_json as shapes
    from gpt2eval.doctor import examine

    found = examine()
    if as_json:
        print_json("doctor", shapes.doctor(found.facts, found.findings, found.healthy))
    else:
        from gpt2eval.terminal.doctor import show_examination

        show_examination(found)
    if not found.healthy:
        raise click.exceptions.Exit(1)
