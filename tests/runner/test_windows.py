"""How streams are cut into windows: laws for every size, and the two programs that are copied."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.runner.windows import Window, continuation, disjoint, hf_docs, sliding

LENGTH = st.integers(0, 200)
N_CTX = st.integers(1, 40)


def scored(windows: Iterable[Window]) -> list[int]:
    """Indices in the stream of all scored tokens, in order."""
    return [i for window in windows for i in range(window.first, window.end + 1)]


def contexts(windows: Iterable[Window]) -> dict[int, int]:
    """Scored token -> tokens that it is conditioned on."""
    return {i: i - w.begin for w in windows for i in range(w.first, w.end + 1)}


def assert_fits(windows: list[Window], n_ctx: int, stream: int) -> None:
    """Each window feeds between one and n_ctx tokens of the stream, and scores what it sees."""
    for window in windows:
        assert 0 <= window.begin < window.end <= stream
        assert window.end - window.begin <= n_ctx
        assert 1 <= window.count <= window.end - window.begin


# ---- laws ---------------------------------------------------------------------------------------


@given(LENGTH, N_CTX)
def test_disjoint_scores_each_token_once(length: int, n_ctx: int) -> None:
    windows = list(disjoint(length, n_ctx))
    assert scored(windows) == list(range(1, length + 1))
    assert_fits(windows, n_ctx, length + 1)
    assert len(windows) == -(-length // n_ctx)
    # All but a stream shorter than the model are read in full windows.
    assert all(window.end - window.begin == min(n_ctx, length) for window in windows)
    assert {window.weight for window in windows} <= {1.0}


@given(LENGTH, N_CTX, st.data())
def test_sliding_scores_each_token_once_with_context(
    length: int, n_ctx: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, n_ctx))
    windows = list(sliding(length, n_ctx, stride))
    assert scored(windows) == list(range(1, length + 1))
    assert_fits(windows, n_ctx, length + 1)
    for index, context in contexts(windows).items():
        # What stands before it, or what the stride leaves of the window.
        assert context >= min(index, n_ctx - stride + 1)
    assert {window.weight for window in windows} <= {1.0}


@given(st.integers(1, 100), st.integers(1, 200), N_CTX)
def test_continuation_scores_its_tokens_once(context: int, length: int, n_ctx: int) -> None:
    windows = list(continuation(context, length, n_ctx))
    assert scored(windows) == list(range(context, context + length))
    assert_fits(windows, n_ctx, context + length)
    if length <= n_ctx:
        (window,) = windows
        assert window.end - window.begin == min(n_ctx, context + length - 1)
    else:
        # Rolled over as a text whose prefix is the last token of the context.
        plain = [(w.begin, w.end, w.count) for w in disjoint(length, n_ctx)]
        assert [(w.begin - context + 1, w.end - context + 1, w.count) for w in windows] == plain


@given(LENGTH, N_CTX, st.data())
def test_hf_docs_scores_each_token_at_most_once(
    length: int, n_ctx: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, n_ctx))
    windows = list(hf_docs(length, n_ctx, stride))
    assert_fits(windows, n_ctx, length)
    found = scored(windows)
    assert found == sorted(set(found))
    if stride < n_ctx:
        # Only the very first token has nothing before it.
        assert found == list(range(1, length))
    else:
        assert found == [i for i in range(length) if i % n_ctx]


# ---- edges --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, []),
        (1, [Window(0, 1, 1)]),
        (7, [Window(0, 7, 7)]),
        (8, [Window(0, 8, 8)]),
        (9, [Window(0, 8, 8), Window(1, 9, 1)]),
    ],
)
def test_disjoint_at_the_edges(length: int, expected: list[Window]) -> None:
    assert list(disjoint(length, 8)) == expected


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, []),
        (1, [Window(0, 1, 1)]),
        (8, [Window(0, 8, 8)]),
        (9, [Window(0, 8, 8), Window(1, 9, 1)]),
        (13, [Window(0, 8, 8), Window(3, 11, 3), Window(5, 13, 2)]),
    ],
)
def test_sliding_at_the_edges(length: int, expected: list[Window]) -> None:
    assert list(sliding(length, 8, 3)) == expected


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, []),
        (1, []),  # nothing to condition it on
        (8, [Window(0, 7, 7)]),
        (9, [Window(0, 7, 7), Window(4, 8, 1, weight=0.0)]),
        (12, [Window(0, 7, 7), Window(4, 11, 4, weight=3 / 4)]),
    ],
)
def test_hf_docs_at_the_edges(length: int, expected: list[Window]) -> None:
    assert list(hf_docs(length, 8, 4)) == expected


@pytest.mark.parametrize(
    ("context", "length", "expected"),
    [
        (1, 1, [Window(0, 1, 1)]),
        (7, 1, [Window(0, 7, 1)]),
        (8, 1, [Window(0, 8, 1)]),
        (9, 1, [Window(1, 9, 1)]),  # one token of the context is lost
        (5, 8, [Window(4, 12, 8)]),
        (5, 9, [Window(4, 12, 8), Window(5, 13, 1)]),
    ],
)
def test_continuation_at_the_edges(context: int, length: int, expected: list[Window]) -> None:
    assert list(continuation(context, length, 8)) == expected


# ---- what is copied -----------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")  # those of lm-eval's own imports
@given(LENGTH, N_CTX)
def test_disjoint_is_lm_eval(length: int, n_ctx: int) -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    prefix, tokens = -1, list(range(length))
    stream = [prefix, *tokens]
    theirs = [
        make_disjoint_window(pair)
        for pair in get_rolling_token_windows(tokens, prefix, n_ctx, context_len=1)
    ]
    ours = [
        (stream[w.begin : w.first], stream[w.first : w.end + 1]) for w in disjoint(length, n_ctx)
    ]
    assert ours == theirs


def guide(length: int, n_ctx: int, stride: int) -> list[tuple[list[int], list[int], int]]:
    """The loop of the perplexity guide of transformers: (inputs, scored tokens, loss weight).

    A window's labels are its tokens, -100 where an earlier window covered them; the model shifts
    labels by one, so that the first is lost; the mean loss counts `labels - 1` times.
    """
    found, covered = [], 0
    for begin in range(0, length, stride):
        end = min(begin + n_ctx, length)
        target = end - covered
        inputs = list(range(begin, end))
        labels = [-100] * (len(inputs) - target) + inputs[len(inputs) - target :]
        shifted = [label for label in labels[1:] if label != -100]
        batch = 1
        valid = sum(label != -100 for label in labels)
        found.append((inputs, shifted, valid - batch))
        covered = end
        if end == length:
            break
    return found


@given(LENGTH, N_CTX, st.data())
def test_hf_docs_is_the_guide(length: int, n_ctx: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(1, n_ctx))
    expected = [item for item in guide(length, n_ctx, stride) if item[1]]
    ours = list(hf_docs(length, n_ctx, stride))
    assert [list(range(w.first, w.end + 1)) for w in ours] == [s for _, s, _ in expected]
    # The last token of the guide's input predicts nothing, so ours is one shorter.
    assert [list(range(w.begin, w.end)) for w in ours] == [i[:-1] for i, _, _ in expected]
    assert [w.weight * w.count for w in ours] == pytest.approx([w for _, _, w in expected])
