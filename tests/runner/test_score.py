"""Score and Rolling: what is computed, how often, and that slices and batches do not matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2eval.errors import ModelError
from gpt2eval.runner import answer
from gpt2eval.types import Request, Rolling, Score, Scored
from tests.checkpoints import PASSAGE

LONG = PASSAGE * 3  # several windows of 64 tokens


def ask(model: Any, *requests: Request, **options: Any) -> list[Scored]:
    """Responses in the order of the requests, each answered once."""
    found = list(answer(model, requests, **options))
    assert sorted(item.number for item in found) == list(range(len(requests)))
    by_number = sorted(found, key=lambda item: item.number)
    return [item.response for item in by_number]  # type: ignore[misc]


def by_hand(model: Any, context: Sequence[int], target: Sequence[int]) -> list[float]:
    """Log-probabilities of target tokens by one plain pass, no batch and no window."""
    tokens = [*context, *target]
    with torch.inference_mode():
        logits = model.logits(model.hidden([tokens[:-1]]))
        rows = logits.log_softmax(-1)[len(context) - 1 :]
    return [float(row[token]) for row, token in zip(rows, target, strict=True)]


@pytest.fixture
def fed(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[list[int]]]:
    """The rows of every forward pass of the test."""
    batches: list[list[list[int]]] = []
    original = type(tiny_model).hidden

    def hidden(self: Any, rows: Sequence[Sequence[int]], *rest: Any, **named: Any) -> Any:
        batches.append([list(row) for row in rows])
        return original(self, rows, *rest, **named)

    monkeypatch.setattr(type(tiny_model), "hidden", hidden)
    return batches


def close(expected: Any) -> Any:
    return pytest.approx(expected, abs=1e-4)


# ---- computed once ------------------------------------------------------------------------------


def test_identical_requests_are_computed_once(tiny_model: Any, fed: list[Any]) -> None:
    request = Score("The keeper counted", " the ships")
    # The same tokens, asked with the space on either side.
    moved = Score("The keeper counted ", "the ships")
    one, two, three = ask(tiny_model, request, replace(request), moved)
    assert len([row for batch in fed for row in batch]) == 1
    assert one.logprobs.tolist() == two.logprobs.tolist() == three.logprobs.tolist()


def test_one_stream_is_computed_once(tiny_model: Any, fed: list[Any]) -> None:
    cut = len(LONG) // 2
    ask(tiny_model, Rolling(LONG), Rolling(LONG, 0, cut), Rolling(LONG, cut), Rolling(LONG, 3, 9))
    tokens = len(tiny_model.encode([LONG])[0])
    rows = [row for batch in fed for row in batch]
    assert len(rows) == -(-tokens // tiny_model.n_ctx)


def test_strides_that_the_model_is_too_short_for_are_one(tiny_model: Any, fed: list[Any]) -> None:
    """A model of 64 positions cannot move by 512 nor by 1,024: both are the same pass."""
    one, two = ask(
        tiny_model,
        Rolling(LONG, windows="hf-docs", stride=512),
        Rolling(LONG, windows="hf-docs", stride=1024),
    )
    assert one.logprobs.tolist() == two.logprobs.tolist()
    rows = [tuple(row) for batch in fed for row in batch]
    assert len(rows) == len(set(rows))


def test_windows_that_nobody_wants_are_not_computed(tiny_model: Any, fed: list[Any]) -> None:
    (part,) = ask(tiny_model, Rolling(LONG, 0, 10))
    assert len([row for batch in fed for row in batch]) == 1
    (whole,) = ask(tiny_model, Rolling(LONG))
    assert part.logprobs.tolist() == close(whole.logprobs[: len(part.logprobs)].tolist())


def test_planned_tokens_are_those_fed(tiny_model: Any, fed: list[Any]) -> None:
    planned: list[int] = []
    requests = [Rolling(LONG), Score("a", " b"), Rolling(LONG, windows="sliding", stride=16)]
    replies = list(answer(tiny_model, requests, on_plan=planned.append))
    total = sum(len(row) for batch in fed for row in batch)
    assert planned == [total]
    assert sum(reply.tokens for reply in replies) == total


def test_a_slice_is_answered_when_its_windows_are_done(tiny_model: Any, fed: list[Any]) -> None:
    """What is answered is on disk, whatever stops the process then; its cost is its own."""
    size = len(LONG) // 8
    requests = [
        Rolling(LONG, n * size, (n + 1) * size, windows="sliding", stride=8) for n in range(8)
    ]
    batches, costs = [], []
    for reply in answer(tiny_model, requests, batch_size=1):
        batches.append(len(fed))
        costs.append(reply.tokens)
    assert batches == sorted(batches)
    assert batches[0] < len(fed) / 3
    assert sum(costs) == sum(len(row) for batch in fed for row in batch)


# ---- slices -------------------------------------------------------------------------------------

WINDOWS = [("disjoint", None), ("hf-docs", 64), ("hf-docs", 20), ("sliding", 16)]


@pytest.mark.parametrize(("windows", "stride"), WINDOWS)
@settings(max_examples=8)
@given(cuts=st.lists(st.integers(0, len(LONG)), max_size=5))
def test_slices_partition_the_stream(
    tiny_model: Any, windows: Any, stride: int | None, cuts: list[int]
) -> None:
    edges = [0, *sorted(cuts), len(LONG)]
    parts = [Rolling(LONG, begin, end, windows, stride) for begin, end in pairwise(edges)]
    whole, *found = ask(tiny_model, Rolling(LONG, windows=windows, stride=stride), *parts)
    for name in ("tokens", "logprobs", "greedy", "context", "weights"):
        joined = np.concatenate([getattr(part, name) for part in found])
        assert joined.tolist() == getattr(whole, name).tolist(), name


@pytest.mark.parametrize(("windows", "stride"), WINDOWS)
def test_every_token_is_scored_as_by_hand(
    tiny_model: Any, windows: Any, stride: int | None
) -> None:
    (found,) = ask(tiny_model, Rolling(LONG, windows=windows, stride=stride))
    tokens = tiny_model.encode([LONG])[0]
    stream = tokens if windows == "hf-docs" else [tiny_model.prefix_id, *tokens]
    if windows == "hf-docs":
        assert len(found.tokens) < len(tokens)
        return
    assert found.tokens.tolist() == tokens
    for place in (0, 1, 63, 64, 65, len(tokens) - 1):
        before = stream[place + 1 - found.context[place] : place + 1]
        assert found.logprobs[place] == close(by_hand(tiny_model, before, [stream[place + 1]])[0])


# ---- batches ------------------------------------------------------------------------------------


def test_batch_size_does_not_matter(tiny_model: Any) -> None:
    requests: list[Request] = [
        Score(PASSAGE[: 7 * n], PASSAGE[7 * n : 9 * n]) for n in range(1, 20)
    ]
    requests += [Rolling(LONG), Rolling(PASSAGE, windows="sliding", stride=10)]
    answers = [ask(tiny_model, *requests, batch_size=size) for size in (1, 8, None)]
    for one, *others in zip(*answers, strict=True):
        for other in others:
            assert np.abs(one.logprobs - other.logprobs).max() < 1e-4
            assert one.tokens.tolist() == other.tokens.tolist()


def test_batch_size_is_kept(tiny_model: Any, fed: list[Any]) -> None:
    ask(tiny_model, *(Score(f"{n}", " ships") for n in range(20)), batch_size=3)
    assert [len(batch) for batch in fed] == [3, 3, 3, 3, 3, 3, 2]


def test_out_of_memory_changes_nothing(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = [*(Score("The keeper", f" counted {n} ships") for n in range(9)), Rolling(LONG)]
    expected = ask(tiny_model, *requests)
    original = type(tiny_model).hidden

    def hidden(self: Any, rows: Sequence[Any], *rest: Any, **named: Any) -> Any:
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(self, rows, *rest, **named)

    monkeypatch.setattr(type(tiny_model), "hidden", hidden)
    found = ask(tiny_model, *requests)
    for one, two in zip(expected, found, strict=True):
        assert one.logprobs.tolist() == close(two.logprobs.tolist())


# ---- contexts -----------------------------------------------------------------------------------


def test_empty_context_is_the_end_of_text(tiny_model: Any) -> None:
    (found,) = ask(tiny_model, Score("", "The ships"))
    tokens = tiny_model.encode(["The ships"])[0]
    assert found.tokens.tolist() == tokens
    assert found.logprobs.tolist() == close(by_hand(tiny_model, [tiny_model.prefix_id], tokens))
    assert found.context.tolist() == list(range(1, len(tokens) + 1))


def test_white_space_moves_to_the_continuation(tiny_model: Any) -> None:
    one, two = ask(tiny_model, Score("The keeper \n", "counted"), Score("The keeper", " \ncounted"))
    assert one.tokens.tolist() == two.tokens.tolist()
    assert one.logprobs.tolist() == two.logprobs.tolist()
    assert tiny_model.decode(one.tokens.tolist()) == " \ncounted"


def test_context_of_white_space_alone(tiny_model: Any) -> None:
    (found,) = ask(tiny_model, Score("  ", "ships"))
    assert tiny_model.decode(found.tokens.tolist()) == "  ships"


def test_token_that_spans_the_boundary(tiny_model: Any) -> None:
    """The cut is by the length of the tokenised context, as in lm-eval."""
    text = "The lighthouse keeper"
    whole = tiny_model.encode([text])[0]
    spanning = next(
        cut
        for cut in range(1, len(text))
        if tiny_model.encode([text[:cut]])[0] != whole[: len(tiny_model.encode([text[:cut]])[0])]
    )
    (found,) = ask(tiny_model, Score(text[:spanning], text[spanning:]))
    count = len(tiny_model.encode([text[:spanning]])[0])
    assert found.tokens.tolist() == whole[count:]
    assert found.logprobs.tolist() == close(by_hand(tiny_model, whole[:count], whole[count:]))


def test_both_texts_in_one_token(tiny_model: Any) -> None:
    vocabulary = tiny_model.tokenizer.get_vocab()
    word = next(word for word in vocabulary if len(word) > 2 and word.isascii() and word.isalpha())
    (found,) = ask(tiny_model, Score(word[:1], word[1:]))
    assert found.tokens.tolist() == [vocabulary[word]]
    assert found.context.tolist() == [1]  # <|endoftext|>


def test_long_context_is_cut_and_counted(tiny_model: Any) -> None:
    tokens = tiny_model.encode([LONG, f"{LONG} ships"])
    (found,) = ask(tiny_model, Score(LONG.rstrip(), " ships"))
    whole = tiny_model.encode([LONG.rstrip() + " ships"])[0]
    n = len(found.tokens)
    # The last token is predicted and not fed, hence one more fits.
    assert found.truncated == len(whole) - 1 - tiny_model.n_ctx
    assert found.truncated > 0 < len(tokens)
    visible = whole[-tiny_model.n_ctx - 1 :]
    assert found.logprobs.tolist() == close(by_hand(tiny_model, visible[:-n], visible[-n:]))


def test_context_that_just_fits_is_whole(tiny_model: Any) -> None:
    tokens = tiny_model.encode([LONG])[0]
    word = tiny_model.encode([" ships"])[0]
    fits = tiny_model.decode(tokens[: tiny_model.n_ctx + 1 - len(word)])
    assert len(tiny_model.encode([fits + " ships"])[0]) == tiny_model.n_ctx + 1
    (found,) = ask(tiny_model, Score(fits, " ships"))
    assert found.truncated == 0


def test_continuation_longer_than_the_model(tiny_model: Any) -> None:
    (found,) = ask(tiny_model, Score("Harbour", LONG))
    context = tiny_model.encode(["Harbour"])[0]
    whole = tiny_model.encode(["Harbour" + LONG])[0]
    assert found.tokens.tolist() == whole[len(context) :]
    assert found.context.max() == tiny_model.n_ctx
    assert found.context.tolist()[0] == 1
    first = by_hand(tiny_model, whole[len(context) - 1 :][:1], whole[len(context) :][:64])
    assert found.logprobs[:64].tolist() == close(first)


def test_nothing_to_score(tiny_model: Any) -> None:
    with pytest.raises(ModelError, match=r"nothing to score.*no tokens"):
        ask(tiny_model, Score("", ""))


@pytest.mark.parametrize("windows", ["disjoint", "hf-docs", "sliding"])
def test_texts_of_no_and_of_one_token(tiny_model: Any, windows: Any) -> None:
    empty, one = ask(
        tiny_model,
        Rolling("", windows=windows, stride=8),
        Rolling("a", windows=windows, stride=8),
    )
    assert len(empty.tokens) == 0
    assert len(one.tokens) == (0 if windows == "hf-docs" else 1)


@pytest.mark.parametrize(
    "text", ["Zürich", "日本語のテキスト", "🙂🙃", "e\u0301a\u2028b\x00\r\n", "\ufeff"]
)
def test_non_ascii(tiny_model: Any, text: str) -> None:
    (found,) = ask(tiny_model, Rolling(text))
    assert tiny_model.decode(found.tokens.tolist()) == text
    expected = by_hand(tiny_model, [tiny_model.prefix_id], found.tokens.tolist())
    assert found.logprobs.tolist() == close(expected)
    # A character of several tokens belongs to one slice whole.
    parts = ask(tiny_model, *(Rolling(text, n, n + 1) for n in range(len(text))))
    assert sum(len(part.tokens) for part in parts) == len(found.tokens)
    assert [tiny_model.decode(part.tokens.tolist()) for part in parts if len(part.tokens)]


# ---- excluded words -----------------------------------------------------------------------------


def ranking(model: Any, context: Sequence[int]) -> list[int]:
    """All tokens after a context, likeliest first."""
    with torch.inference_mode():
        logits = model.logits(model.hidden([list(context)])[-1:])[0]
    return [int(token) for token in logits.argsort(descending=True)]


def word(model: Any, token: int) -> str:
    """A token as it is compared with excluded words."""
    return str(model.decode([token]).strip().lower())


def winner(model: Any, context: Sequence[int], exclude: Sequence[str]) -> int:
    """The arg-max once the tokens that are an excluded word are out."""
    return next(t for t in ranking(model, context) if word(model, t) not in exclude)


def score_tokens(
    model: Any, tokens: list[int], cut: int, exclude: tuple[str, ...], monkeypatch: Any
) -> Scored:
    """Score chosen token ids, which no text might tokenise to."""
    context, whole = "c", "cw"
    monkeypatch.setattr(
        type(model),
        "encode",
        lambda _self, texts: [{context: tokens[:cut], whole: tokens}[text] for text in texts],
    )
    (found,) = ask(model, Score("c", "w", exclude=exclude))
    assert found.tokens.tolist() == tokens[cut:]
    return found


def test_nothing_excluded(tiny_model: Any) -> None:
    (found,) = ask(tiny_model, Score("The keeper", " counted the ships"))
    assert found.greedy_excluding.tolist() == found.greedy.tolist()


def test_excluding_promotes_the_runner_up(tiny_model: Any, monkeypatch: Any) -> None:
    context = tiny_model.encode(["The keeper counted"])[0]
    exclude = (word(tiny_model, ranking(tiny_model, context)[0]),)
    second = winner(tiny_model, context, exclude)
    found = score_tokens(tiny_model, [*context, second], len(context), exclude, monkeypatch)
    assert found.greedy.tolist() == [False]
    assert found.greedy_excluding.tolist() == [True]


def test_excluded_word_itself_cannot_win(tiny_model: Any, monkeypatch: Any) -> None:
    context = tiny_model.encode(["The keeper counted"])[0]
    first = ranking(tiny_model, context)[0]
    exclude = (word(tiny_model, first),)
    found = score_tokens(tiny_model, [*context, first], len(context), exclude, monkeypatch)
    assert found.greedy.tolist() == [True]
    assert found.greedy_excluding.tolist() == [False]
    assert found.logprobs.tolist() == close(by_hand(tiny_model, context, [first]))


def test_excluded_words_may_win_at_later_tokens(tiny_model: Any, monkeypatch: Any) -> None:
    """What may not begin the continuation may still go on with it."""
    context = tiny_model.encode(["The keeper counted"])[0]
    tokens = list(context)
    for _ in range(3):
        tokens.append(ranking(tiny_model, tokens)[0])
    later = tuple({word(tiny_model, token) for token in tokens[-2:]})
    found = score_tokens(tiny_model, tokens, len(context), later, monkeypatch)
    assert found.greedy.tolist() == [True, True, True]
    first_wins = winner(tiny_model, context, later) == tokens[len(context)]
    assert found.greedy_excluding.tolist() == [first_wins, True, True]


def test_excluded_words_may_win_in_a_second_window(tiny_model: Any, monkeypatch: Any) -> None:
    """A continuation longer than the model has one first token, not one a window."""
    size = tiny_model.n_ctx
    tokens = tiny_model.encode([LONG])[0][: size + 1]
    tokens.append(ranking(tiny_model, tokens[-size:])[0])
    exclude = (word(tiny_model, tokens[-1]),)
    found = score_tokens(tiny_model, tokens, 1, exclude, monkeypatch)
    assert len(found.tokens) == size + 1
    assert found.greedy.tolist()[-1]
    assert found.greedy_excluding.tolist()[-1]


def test_each_request_has_its_own_excluded_words(tiny_model: Any, monkeypatch: Any) -> None:
    context = tiny_model.encode(["The keeper counted"])[0]
    first = ranking(tiny_model, context)[0]
    mine = word(tiny_model, first)
    monkeypatch.setattr(
        type(tiny_model),
        "encode",
        lambda _self, texts: [context if text == "c" else [*context, first] for text in texts],
    )
    lists: list[tuple[str, ...]] = [(), (mine,), ("no-such-word",), (mine, "no-such-word")]
    for order in (lists, lists[::-1]):
        found = ask(tiny_model, *(Score("c", "w", exclude=words) for words in order))
        flags = [item.greedy_excluding.tolist() == [True] for item in found]
        assert flags == [mine not in words for words in order]
        assert all(item.greedy.tolist() == [True] for item in found)


# ---- numbers that are none ----------------------------------------------------------------------


def test_not_a_number_is_an_error(tiny_model: Any) -> None:
    broken = replace(tiny_model, head=torch.full_like(tiny_model.head, torch.nan))
    with pytest.raises(ModelError, match=r"not finite.*in the output of the head; check the t"):
        ask(broken, Rolling("ships"))
