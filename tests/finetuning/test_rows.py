"""Rows and batches: what is learned in them, held against transformers' own loss."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from gpt2eval.errors import DataError, UsageError
from gpt2eval.finetuning.options import FinetuneOptions
from gpt2eval.finetuning.rows import (
    HELD_OUT,
    PIECE,
    Row,
    Rows,
    collate,
    hold_out,
    make_rows,
    pieces,
    token_ids,
)
from gpt2eval.finetuning.texts import Example
from tests.checkpoints import PASSAGE

OPTIONS = FinetuneOptions(model="demo-base", train=("x",), output="y")


def rows_of(model, examples, **given):
    return make_rows(
        examples, model.tokenizer, model.eos_id, model.n_ctx, replace(OPTIONS, **given)
    )


def pair(prompt, completion):
    return Example("here", prompt, completion, text=False)


def text(content):
    return Example("here", "", content, text=True)


PAIRS = [
    pair("The lighthouse keeper", " counted the ships"),
    pair("Ask me again", " tomorrow."),
    pair("", "Le gardien du phare"),
    pair("= Harbour", " = 1893"),
]


def test_the_loss_is_of_the_completion_and_the_end(tiny_model):
    (row,) = rows_of(tiny_model, PAIRS[:1]).rows
    prompt, completion = tiny_model.encode(["The lighthouse keeper", " counted the ships"])
    assert row.ids.tolist() == [*prompt, *completion, tiny_model.eos_id]
    assert row.learned.tolist() == [False] * len(prompt) + [True] * (len(completion) + 1)
    (whole,) = rows_of(tiny_model, PAIRS[:1], learn_prompt=True).rows
    assert whole.learned.tolist() == [False] + [True] * (len(row.ids) - 1)


def test_what_has_no_prompt_begins_as_it_is_scored(tiny_model):
    (row,) = rows_of(tiny_model, [PAIRS[2]]).rows
    assert row.ids[0] == tiny_model.prefix_id
    assert row.learned.tolist() == [False] + [True] * (len(row.ids) - 1)


def test_texts_are_one_stream(tiny_model):
    found = rows_of(tiny_model, [text(PASSAGE), text("A second text.")], block_size=16)
    one, two = tiny_model.encode([PASSAGE, "A second text."])
    end = tiny_model.eos_id
    assert np.concatenate([row.ids for row in found.rows]).tolist() == [end, *one, end, *two, end]
    assert [len(row.ids) for row in found.rows[:-1]] == [16] * (len(found.rows) - 1)
    assert (found.examples, found.skipped, found.tokens) == (2, 0, len(one) + len(two) + 3)
    apart = rows_of(tiny_model, [text(PASSAGE), text("A second text.")], packing=False)
    assert apart.rows[-1].ids.tolist() == [end, *two, end]


@torch.no_grad()
def nats(model, batch, learned_from):
    """Loss of each learned token of a batch of one, in nats, by transformers."""
    inputs = {key: value for key, value in batch.items() if key not in ("labels", "tokens")}
    logits = model(**inputs).logits[0]
    losses = torch.nn.functional.cross_entropy(
        logits[:-1], batch["input_ids"][0, 1:], reduction="none"
    )
    return losses[torch.tensor(learned_from[1:])]


def test_examples_that_are_packed_do_not_see_each_other(tiny_model, tiny_checkpoint):
    """Every token of a packed row has the loss that it has in a row of its own."""
    model = GPT2LMHeadModel.from_pretrained(tiny_checkpoint).eval()
    (packed,) = rows_of(tiny_model, PAIRS, packing=True).rows
    single = rows_of(tiny_model, PAIRS).rows
    assert len(packed.ids) == sum(len(row.ids) for row in single)
    together = nats(model, collate([packed]), packed.learned)
    apart = torch.cat([nats(model, collate([row]), row.learned) for row in single])
    torch.testing.assert_close(together, apart, rtol=1e-5, atol=1e-5)


def test_padding_changes_nothing(tiny_model, tiny_checkpoint):
    model = GPT2LMHeadModel.from_pretrained(tiny_checkpoint).eval()
    single = rows_of(tiny_model, PAIRS).rows
    batch = collate(single)
    tokens = batch.pop("tokens")
    assert tokens == sum(len(row.ids) for row in single) < batch["input_ids"].numel()
    with torch.no_grad():
        together = model(**batch).loss
    alone = torch.cat([nats(model, collate([row]), row.learned) for row in single])
    torch.testing.assert_close(together, alone.mean(), rtol=1e-5, atol=1e-6)


def test_packed_rows_are_filled_and_none_is_cut(tiny_model):
    many = [pair(f"Ships: {n}", f" and {n * 7} flags") for n in range(40)]
    packed = rows_of(tiny_model, many, packing=True, block_size=60)
    single = rows_of(tiny_model, many)
    assert max(len(row.ids) for row in packed.rows) <= 60
    assert packed.tokens == single.tokens
    assert len(packed) < len(single) / 2
    starts = [row.ids[a:b].tolist() for row in packed.rows for a, b in _members(row.positions)]
    assert sorted(starts) == sorted(row.ids.tolist() for row in single.rows)


def _members(positions):
    begins = [*np.flatnonzero(positions == 0), len(positions)]
    return list(pairwise(begins))


def test_a_pair_that_is_too_long_is_an_error_or_left_out(tiny_model):
    examples = [PAIRS[0], replace(PAIRS[1], prompt="ships " * 60, place="train.jsonl, line 2")]
    with pytest.raises(DataError, match=r"line 2: prompt and completion have \d+ tokens; a row"):
        rows_of(tiny_model, examples)
    found = rows_of(tiny_model, examples, skip_long=True)
    assert (found.examples, found.skipped, len(found)) == (1, 1, 1)
    with pytest.raises(DataError, match="nothing that can be learned; 1 pairs were longer"):
        rows_of(tiny_model, examples[1:], skip_long=True)


def test_a_row_has_no_more_tokens_than_the_model(tiny_model):
    with pytest.raises(UsageError, match="--block-size 65: expected 2 to 64"):
        rows_of(tiny_model, PAIRS, block_size=65)


def test_long_texts_are_tokenised_in_pieces_to_the_same_tokens(tiny_model, monkeypatch):
    monkeypatch.setattr("gpt2eval.finetuning.rows.PIECE", 50)
    content = PASSAGE * 3 + "word\n\n  two  spaces\t tab I'll 12 %% don't " * 20
    assert len(list(pieces(content, 50))) > 10
    assert "".join(pieces(content, 50)) == content
    (found,) = token_ids(tiny_model.tokenizer, [content])
    assert found.tolist() == tiny_model.encode([content])[0]
    assert PIECE > 1000  # what it is outside of this test


def numbered(count, length=2):
    """Rows that can be told apart."""
    learned = np.ones(length, dtype=bool)
    places = np.arange(length)
    rows = [Row(np.full(length, number), places, learned) for number in range(count)]
    return Rows(rows, count, 0, cut=True)


def test_what_is_held_out_lies_evenly_and_is_not_learned():
    rows, held = hold_out(numbered(100), 0.05)
    assert [int(row.ids[0]) for row in held] == [10, 30, 50, 70, 90]
    assert {int(row.ids[0]) for row in rows.rows} == set(range(100)) - {10, 30, 50, 70, 90}
    assert (rows.tokens, rows.learned, rows.examples) == (190, 190, 100)


@pytest.mark.parametrize(("count", "share", "held"), [(19, 0.05, 0), (20, 0.05, 1), (100, 0.0, 0)])
def test_nothing_is_held_out_of_few_rows(count, share, held):
    rows, out = hold_out(numbered(count), share)
    assert (len(rows), len(out)) == (count - held, held)


def test_no_more_is_held_out_than_a_loss_needs():
    rows, held = hold_out(numbered(1000, length=512), 0.5)
    assert len(held) == HELD_OUT // 512
    assert len(rows) + len(held) == 1000
