"""Requests and responses as JSON: how they stand in a record, and back."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from gpt2eval.types import Embedded, Generate, Generated, Record, Request, Response, Score, Scored

_SAMPLING = ("temperature", "top_k", "top_p")  # of a Generate, where it is not greedy
_WORTH = 16  # shared characters from which on it is shorter to count them


def encode_response(response: Response) -> dict[str, Any]:
    """A response as JSON: arrays as lists, flags as a string of 0 and 1, contexts run-length.

    A vector is the base64 of its float32 values, little-endian: their bytes and a third.
    """
    if isinstance(response, Generated):
        return {
            "type": "generated",
            "text": response.text,
            "prediction": response.prediction,
            "stopped": response.stopped,
            "truncated": response.truncated,
            "tokens": response.tokens.tolist(),
            "logprobs": _shortest(response.logprobs),
        }
    if isinstance(response, Embedded):
        return {
            "type": "embedded",
            "truncated": response.truncated,
            "tokens": response.tokens.tolist(),
            "vector": base64.b64encode(response.vector.astype("<f4").tobytes()).decode("ascii"),
        }
    content: dict[str, Any] = {
        "type": "scored",
        "truncated": response.truncated,
        "tokens": response.tokens.tolist(),
        "logprobs": _shortest(response.logprobs),
        "greedy": _flags(response.greedy),
        "context": _runs(response.context.tolist()),
    }
    if (response.greedy_excluding != response.greedy).any():
        content["greedy_excluding"] = _flags(response.greedy_excluding)
    if (response.weights != 1).any():
        content["weights"] = response.weights.tolist()
    return content


def decode_response(content: Mapping[str, Any]) -> Response:
    """The inverse of `encode_response`."""
    import numpy as np

    tokens = np.asarray(content["tokens"], dtype=np.int32)
    if content["type"] == "embedded":
        vector = np.frombuffer(base64.b64decode(content["vector"], validate=True), dtype="<f4")
        return Embedded(vector.astype(np.float32), tokens, truncated=content["truncated"])
    log_probs = np.asarray(content["logprobs"], dtype=np.float32)
    if content["type"] == "generated":
        return Generated(
            text=content["text"],
            tokens=tokens,
            logprobs=log_probs,
            stopped=content["stopped"],
            truncated=content["truncated"],
            prediction=content["prediction"],
        )
    greedy = np.array([flag == "1" for flag in content["greedy"]], dtype=bool)
    excluding = content.get("greedy_excluding", content["greedy"])
    context = [start + i for start, count in content["context"] for i in range(count)]
    return Scored(
        tokens=tokens,
        logprobs=log_probs,
        greedy=greedy,
        context=np.asarray(context, dtype=np.int32),
        weights=np.asarray(content.get("weights", [1.0] * len(tokens)), dtype=np.float64),
        greedy_excluding=np.array([flag == "1" for flag in excluding], dtype=bool),
        truncated=content["truncated"],
    )


def _shortest(values: Any) -> list[float]:
    """float32 values by their shortest decimal form, which reads back to the same float32."""
    return [float(text) for text in values.astype(str)]


def _flags(values: Any) -> str:
    return "".join("1" if value else "0" for value in values.tolist())


def _runs(values: Sequence[int]) -> list[list[int]]:
    """1,2,3,1,2 -> [[1, 3], [1, 2]]: start and length of each stretch that rises by one."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][0] + runs[-1][1]:
            runs[-1][1] += 1
        else:
            runs.append([value, 1])
    return runs


def encode_requests(
    requests: Sequence[Request], beginning: str = "", scorer: Collection[int] = ()
) -> list[dict[str, Any]]:
    """The texts of what was asked, one JSON object a request.

    A Score has "context" and "continuation", a Generate "prompt" and how it is to be continued, a
    Rolling and an Embed nothing: the tokens of the response say the text, which may be a book. What
    context or prompt begins with as the one before it did is not repeated: "same" counts its
    characters.

    beginning  what stands before the first: the text that all samples of the run begin with
    scorer     positions of the requests that a protocol's `followup` makes; they say so
    """
    encoded: list[dict[str, Any]] = []
    before = beginning
    for position, request in enumerate(requests):
        content: dict[str, Any] = {"scorer": True} if position in scorer else {}
        if isinstance(request, (Score, Generate)):
            text = request.context if isinstance(request, Score) else request.prompt
            same = len(common_beginning([text, before]))
            if same >= _WORTH:
                content["same"] = same
            key = "context" if isinstance(request, Score) else "prompt"
            content[key] = text[content.get("same", 0) :]
            before = text
        if isinstance(request, Score):
            content["continuation"] = request.continuation
        if isinstance(request, Generate):
            content |= {"max_new_tokens": request.max_new_tokens, "stop": list(request.stop)}
            if request.temperature:
                content |= {key: getattr(request, key) for key in _SAMPLING}
        encoded.append(content)
    return encoded


def decode_requests(
    asked: Sequence[Mapping[str, Any]], beginning: str = ""
) -> list[dict[str, Any]]:
    """The inverse of `encode_requests`, with every text whole and without "same"."""
    decoded: list[dict[str, Any]] = []
    before = beginning
    for content in asked:
        whole = {key: value for key, value in content.items() if key != "same"}
        for key in ("context", "prompt"):
            if key in whole:
                before = whole[key] = before[: content.get("same", 0)] + whole[key]
        decoded.append(whole)
    return decoded


def common_beginning(texts: Sequence[str]) -> str:
    """The characters that all the texts begin with."""
    if not texts:
        return ""
    first, last = min(texts), max(texts)  # the two that differ earliest
    pairs = zip(first, last, strict=False)
    return first[: next((i for i, (one, other) in enumerate(pairs) if one != other), len(first))]


def own_responses(record: Record) -> list[Mapping[str, Any]]:
    """The responses of the checkpoint itself, without those of the scorer about them."""
    if not any("scorer" in about for about in record.asked):
        return list(record.responses)
    asked = [*record.asked, *({} for _ in record.responses[len(record.asked) :])]
    pairs = zip(record.responses, asked, strict=True)
    return [response for response, about in pairs if "scorer" not in about]
