"""Requests and responses are decoded as they were encoded."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.results import decode_requests, decode_response, encode_requests, encode_response
from gpt2eval.types import Embedded, Generate, Generated, Rolling, Score, Scored
from tests.results.keeping import FLOATS, TEXT

FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def scored_responses(draw: st.DrawFn) -> Scored:
    n = draw(st.integers(0, 12))

    def column(values: st.SearchStrategy[Any], kind: Any) -> Any:
        return np.array(draw(st.lists(values, min_size=n, max_size=n)), dtype=kind)

    greedy = column(st.booleans(), bool)
    ones = draw(st.booleans())
    return Scored(
        tokens=column(st.integers(0, 2**31 - 1), np.int32),
        logprobs=column(FLOAT32, np.float32),
        greedy=greedy,
        context=column(st.integers(0, 30), np.int32),
        weights=np.ones(n) if ones else column(FLOATS, np.float64),
        greedy_excluding=greedy if ones else column(st.booleans(), bool),
        truncated=draw(st.integers(0, 10**6)),
    )


@st.composite
def generated_responses(draw: st.DrawFn) -> Generated:
    n = draw(st.integers(0, 12))
    return Generated(
        text=draw(TEXT),
        tokens=np.array(draw(st.lists(st.integers(0, 60000), min_size=n, max_size=n)), np.int32),
        logprobs=np.array(draw(st.lists(FLOAT32, min_size=n, max_size=n)), np.float32),
        stopped=draw(st.sampled_from(["stop", "eos", "length"])),
        truncated=draw(st.integers(0, 10**6)),
        prediction=draw(TEXT),
    )


@st.composite
def embedded_responses(draw: st.DrawFn) -> Embedded:
    return Embedded(
        vector=np.array(draw(st.lists(FLOAT32, max_size=12)), np.float32),
        tokens=np.array(draw(st.lists(st.integers(0, 60000), max_size=12)), np.int32),
        truncated=draw(st.integers(0, 10**6)),
    )


@given(scored_responses() | generated_responses() | embedded_responses())
def test_responses_are_decoded_as_encoded(response: Scored | Generated | Embedded) -> None:
    """Through JSON, every float32 to the last bit, every type kept."""
    found = decode_response(json.loads(json.dumps(encode_response(response), allow_nan=False)))
    assert type(found) is type(response)
    for name in response.__slots__:
        one, other = getattr(response, name), getattr(found, name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype, name
            assert one.tobytes() == other.tobytes(), name
        else:
            assert one == other, name


def test_rising_contexts_are_short() -> None:
    n = 1000
    response = Scored(
        tokens=np.zeros(n, np.int32),
        logprobs=np.zeros(n, np.float32),
        greedy=np.zeros(n, bool),
        context=np.arange(1, n + 1, dtype=np.int32),
        weights=np.ones(n),
        greedy_excluding=np.zeros(n, bool),
    )
    content = encode_response(response)
    assert content["context"] == [[1, n]]
    assert not {"weights", "greedy_excluding"} & set(content)


REQUESTS = st.lists(
    st.builds(Score, TEXT.map(lambda text: text * 3), TEXT)
    | st.builds(Generate, TEXT.map(lambda text: text * 3), st.just(5), st.tuples(TEXT))
    | st.builds(Generate, TEXT, st.just(5), temperature=st.just(0.7), top_k=st.integers(1, 50))
    | st.builds(Rolling, TEXT),
    max_size=5,
)


@given(REQUESTS, TEXT, st.sets(st.integers(0, 4)))
def test_requests_are_decoded_as_encoded(
    requests: list[Any], beginning: str, scorer: set[int]
) -> None:
    encoded = json.loads(json.dumps(encode_requests(requests, beginning, scorer)))
    expected: list[dict[str, Any]] = []
    for position, request in enumerate(requests):
        expected.append({"scorer": True} if position in scorer else {})
        if isinstance(request, Score):
            expected[-1] |= {"context": request.context, "continuation": request.continuation}
        elif isinstance(request, Generate):
            expected[-1] |= {"prompt": request.prompt, "max_new_tokens": 5}
            expected[-1] |= {"stop": list(request.stop)}
            if request.temperature:
                expected[-1] |= {"temperature": 0.7, "top_k": request.top_k, "top_p": 1.0}
    assert decode_requests(encoded, beginning) == expected


def test_a_context_is_written_once() -> None:
    """Neither the choices of a sample nor the samples of a run repeat what they begin with."""
    examples, context = "Q: 1 + 1 A: two\n" * 9, "a long passage, then the question:"
    requests = [Score(f"{examples}{context}", f" {choice}") for choice in "abcd"]
    encoded = encode_requests(requests, examples)
    assert encoded[0] == {"same": len(examples), "context": context, "continuation": " a"}
    whole = len(examples) + len(context)
    assert encoded[1:] == [
        {"same": whole, "context": "", "continuation": f" {choice}"} for choice in "bcd"
    ]
    assert encode_requests([Rolling("a book " * 9999)]) == [{}]
