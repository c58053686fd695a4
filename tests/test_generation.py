"""`gpt2eval generate`: texts as transformers writes them, and as a terminal may show them."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from transformers import GPT2LMHeadModel

from gpt2eval.cli import app
from gpt2eval.errors import DataError, UsageError
from gpt2eval.generation import GenerateOptions, Stream, requests_of
from gpt2eval.runner import answer
from gpt2eval.types import Generate, Generated

PROMPTS = ["The lighthouse keeper counted", "= Harbour", "Ask me again"]


def generate(*arguments: object, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["generate", *map(str, arguments)], input=stdin)


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


# ---- what is written ----------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("penalty", [1.0, 1.3, 0.7])
def test_greedy_texts_are_those_of_transformers(
    tiny_checkpoint: Path, tiny_model: Any, penalty: float
) -> None:
    given = [part for prompt in PROMPTS for part in ("--prompt", prompt)]
    found = lines(
        generate("--model", tiny_checkpoint, *given, "--max-new-tokens", 20, "--json",
                 "--repetition-penalty", penalty)
    )  # fmt: skip
    assert [each["prompt"] for each in found] == PROMPTS
    model = GPT2LMHeadModel.from_pretrained(tiny_checkpoint)
    for each in found:
        ids = torch.tensor(tiny_model.encode([each["prompt"]]))
        expected = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=20,
            do_sample=False,
            repetition_penalty=penalty,
            pad_token_id=tiny_model.eos_id,
            eos_token_id=tiny_model.eos_id,
        )[0, ids.shape[1] :].tolist()
        assert each["tokens"] == expected
        assert each["stopped"] in ("length", "eos")


def test_samples_of_a_prompt_differ_and_come_back(tiny_checkpoint: Path) -> None:
    given = ["--model", tiny_checkpoint, "--prompt", PROMPTS[0], "--json", "--max-new-tokens", 12]
    one = lines(generate(*given, "--num-samples", 4))
    assert [each["sample"] for each in one] == [0, 1, 2, 3]
    assert len({each["text"] for each in one}) == 4
    alone = lines(generate(*given, "--num-samples", 4, "--batch-size", 1))
    assert [each["tokens"] for each in alone] == [each["tokens"] for each in one]
    # The first is what a single one is, the seed changes all.
    (first,) = lines(generate(*given, "--temperature", 1))
    assert first["tokens"] == one[0]["tokens"]
    other = lines(generate(*given, "--num-samples", 4, "--seed", 1))
    assert not {each["text"] for each in one} & {each["text"] for each in other}


def test_penalty_and_sample_belong_to_a_draw_and_nothing_else_does() -> None:
    """A request without them is known by the text that it was known by before they existed."""
    plain = Generate("a", 5, ("\n",), 1.0, 40, 0.9)
    assert repr(plain) == (
        "Generate(prompt='a', max_new_tokens=5, stop=('\\n',), temperature=1.0, top_k=40,"
        " top_p=0.9)"
    )
    assert repr(replace(plain, sample=2)).endswith("top_p=0.9, sample=2)")
    assert repr(replace(plain, repetition_penalty=1.2)).endswith(
        "top_p=0.9, repetition_penalty=1.2)"
    )


def test_a_text_ends_before_a_stop_string(tiny_checkpoint: Path) -> None:
    given = ["--model", tiny_checkpoint, "--prompt", PROMPTS[0], "--json", "--max-new-tokens", 20]
    (whole,) = lines(generate(*given))
    stop = whole["text"][8:11]
    (cut,) = lines(generate(*given, "--stop", stop))
    assert cut["stopped"] == "stop"
    assert cut["text"] == whole["text"][: whole["text"].index(stop)]


def test_drawing_is_asked_for_by_what_only_it_can_give() -> None:
    def temperature(**given: Any) -> float:
        return requests_of(GenerateOptions(prompt=("a",), **given))[0].temperature

    assert temperature() == 0
    assert temperature(top_k=5) == temperature(top_p=0.9) == temperature(num_samples=2) == 1
    assert temperature(top_k=5, temperature=0.5) == 0.5
    assert requests_of(GenerateOptions(prompt=("a",), stop=(r"\n",)))[0].stop == ("\n",)


# ---- prompts ------------------------------------------------------------------------------------


def test_prompts_of_a_file_and_of_stdin(tiny_checkpoint: Path, tmp_path: Path) -> None:
    text, rows = tmp_path / "a.txt", tmp_path / "a.jsonl"
    text.write_text("One\nTwo two\n")
    rows.write_text('{"prompt": "One\\nmore", "id": 3}\n{"prompt": "Two"}\n')
    given = ["--model", tiny_checkpoint, "--max-new-tokens", 2, "--json"]
    for arguments, stdin, expected in (
        (["--prompts", text], None, ["One", "Two two"]),
        (["--prompts", rows], None, ["One\nmore", "Two"]),
        (["--prompts", "-"], "Three\n", ["Three"]),
        ([], "Three\nfour\n", ["Three", "four"]),
    ):
        found = lines(generate(*given, *arguments, stdin=stdin))
        assert [each["prompt"] for each in found] == expected


def test_texts_follow_their_prompts(tiny_checkpoint: Path) -> None:
    given = [
        "--model",
        tiny_checkpoint,
        "--prompt",
        "One",
        "--prompt",
        "Two",
        "--max-new-tokens",
        3,
    ]
    found, apart = generate(*given), lines(generate(*given, "--json"))
    one, two = (each["prompt"] + each["text"] for each in apart)
    assert found.stdout == f"{one}\n{'-' * 40}\n{two}\n"


def test_a_model_that_is_too_short_says_so(tiny_checkpoint: Path) -> None:
    """64 positions: half for the prompt, half for the text."""
    given = ["--model", tiny_checkpoint, "--prompt", "ships " * 60, "--max-new-tokens", 80]
    found = generate(*given)
    assert found.exit_code == 0
    assert "stopped after 32 tokens, where the model's positions end" in found.stderr
    assert "tokens were cut from the left of the prompt" in found.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": 0.0, "top_k": 5}, "--temperature 0 always takes the likeliest token"),
        ({"top_p": 0.0}, "--top-p 0.0: expected a number above 0"),
        ({"temperature": -1.0}, "--temperature -1.0"),
        ({"repetition_penalty": 0.0}, "--repetition-penalty 0.0"),
        ({"max_new_tokens": 0}, "--max-new-tokens 0"),
        ({"prompts": "x"}, "exclude each other"),
        ({"stop": ("",)}, "--stop"),
    ],
)
def test_values_out_of_range(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GenerateOptions(prompt=("a",), **given)


def test_no_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(DataError, match="holds no prompt"):
        requests_of(GenerateOptions(prompts=str(tmp_path / "empty.txt")))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    with pytest.raises(DataError, match="stdin is not UTF-8"):
        requests_of(GenerateOptions())


# ---- as it comes --------------------------------------------------------------------------------


def stream(chunks: Sequence[bytes], stop: Sequence[str] = ()) -> Stream:
    """A stream of a model whose tokens are these bytes."""
    return Stream(lambda ids: b"".join(chunks[i] for i in ids).decode(errors="replace"), stop)


def test_no_half_character_is_shown() -> None:
    chunks = [b"na\xc3", b"\xaf", b"ve \xf0\x9f", b"\x98", b"\x80", b"\xff", b"!"]
    found = stream(chunks)
    pieces = [found.more(range(n + 1)) for n in range(len(chunks))]
    assert pieces == ["na", "ï", "ve ", "", "😀", "", "\N{REPLACEMENT CHARACTER}!"]


def test_what_may_become_a_stop_string_is_held_back() -> None:
    chunks = [b"one\n", b"\n", b"two", b"\n", b"Q", b":"]
    found = stream(chunks, ["\nQ:"])
    pieces = [found.more(range(n + 1)) for n in range(5)]
    assert pieces == ["one", "\n", "\ntwo", "", ""]
    assert found.rest("one\n\ntwo") == ""


def test_pieces_make_up_the_text(tiny_model: Any) -> None:
    """Whatever the seed, with and without a stop string: nothing is said twice, nothing is lost."""
    for seed in range(8):
        for stop in ((), (" t", "e")):
            request = Generate("The lighthouse", 40, stop, temperature=1.0)
            found, pieces = Stream(tiny_model.decode, stop), []

            def wrote(_number: int, tokens: Sequence[int], found=found, pieces=pieces) -> None:
                pieces.append(found.more(tokens))

            (reply,) = answer(tiny_model, [request], seed=seed, wrote=wrote)
            assert isinstance(reply.response, Generated)
            assert len(pieces) == len(reply.response.tokens) - 1
            text = reply.response.text
            assert "".join(pieces) + found.rest(text) == text


def on_a_terminal(*arguments: object) -> tuple[subprocess.Popen[bytes], int]:
    """The command with a terminal for its output, and the other end of that."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gpt2eval", "generate", *map(str, arguments)],
        stdin=subprocess.DEVNULL, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    return process, master


def read(master: int) -> bytes:
    try:
        return os.read(master, 4096)
    except OSError:  # how Linux says that the other end is closed
        return b""


def interrupted() -> tuple[int, bytes, int]:
    """The exit code of a command that is interrupted while it writes, what it wrote, and in how
    many pieces it came.
    """
    process, master = on_a_terminal("--prompt", "The \x1b[31mred", "--max-new-tokens", 400)
    shown, reads = b"", 0
    deadline = time.monotonic() + 120
    while reads < 5 and time.monotonic() < deadline and (new := read(master)):
        shown, reads = shown + new, reads + 1
    process.send_signal(signal.SIGINT)
    while new := read(master):
        shown += new
    os.close(master)
    return process.wait(60), shown, reads


def test_a_terminal_shows_the_text_as_it_comes_and_ctrl_c_ends_it() -> None:
    # On a busy machine the whole text may be there before this process gets to interrupt it.
    code, shown, reads = next(found for found in (interrupted() for _ in range(5)) if found[0])
    assert code == 3
    assert reads == 5  # it came in pieces
    assert b"The \\x1b[31mred" in shown
    assert b"Interrupted." in shown
    assert b"Traceback" not in shown
