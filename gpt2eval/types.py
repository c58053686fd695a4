"""The nouns that flow through the house, as plain data.

Sample -> Request -> Response -> Record -> Estimate -> Result. Nothing here computes, and nothing
here imports a heavy package, so that reports and comparisons can be made from files alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sample:
    """One item of a benchmark: what is asked, and what counts as right.

    id          unique within the task, stable between runs
    fields      what the task's own functions read (texts, word counts, ...)
    references  gold texts of a generation task
    group       samples of one group are resampled together (sentences of one document);
                empty: the sample stands alone
    """

    id: str
    fields: Mapping[str, Any]
    references: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """Ask for log p(continuation | context), token by token.

    The two are tokenised together and cut at the length of the tokenised context, as
    lm-evaluation-harness does (`TemplateLM._encode_pair`): white space at the end of the context
    moves to the continuation, and an empty context becomes `<|endoftext|>`.

    exclude: words that may not be the prediction at the first token of the continuation; they only
    change `Scored.greedy_excluding`.
    """

    context: str
    continuation: str
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rolling:
    """Ask for the log-probability of every token of a text that may be longer than the model.

    text        the whole stream that is tokenised and cut into windows
    start, end  characters of the stream that belong to this request; `end=None` is the end.
                Requests over one stream are computed in one pass.
    windows     "disjoint"  lm-evaluation-harness: `<|endoftext|>` first, each window sees one token
                            of the one before, the last is moved back so that it is full
                "hf-docs"   the perplexity guide of transformers: no prefix, windows begin every
                            `stride` tokens, the first token of each goes unscored unless an
                            earlier window covered it; windows are weighted as the guide does
                "sliding"   `<|endoftext|>` first, full windows that advance by `stride` tokens,
                            every token scored once with at least n_ctx - stride of context
    stride      tokens between windows; needed for "hf-docs" and "sliding"
    """

    text: str
    start: int = 0
    end: int | None = None
    windows: Literal["disjoint", "hf-docs", "sliding"] = "disjoint"
    stride: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Generate:
    """Ask for a continuation of a prompt.

    temperature 0 is greedy decoding. Otherwise temperature, top_k (0: off) and top_p (1: off) are
    applied in that order, as in transformers. Sampling depends on the run's seed and on the
    request alone, never on the batch. Generation ends after max_new_tokens, at `<|endoftext|>`, or
    at the first of the `stop` strings, which is cut off.

    repetition_penalty  divides the logits of tokens that prompt or text hold already, or multiplies
                        them where they are negative, before all else; as in transformers (1: off)
    sample              which of several texts after one prompt; each is drawn by itself
    """

    prompt: str
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    sample: int = 0

    def __repr__(self) -> str:
        """What draws and runs are known by: fields that came later count where they say something.

        So a request of an earlier version is drawn the same, and its runs are found again.
        """
        later = {"repetition_penalty": 1.0, "sample": 0}
        shown = [
            f"{name}={value!r}"
            for name in self.__dataclass_fields__
            if (value := getattr(self, name)) != later.get(name, ...)
        ]
        return f"Generate({', '.join(shown)})"


@dataclass(frozen=True, slots=True)
class Embed:
    """Ask for a text as a vector: the last hidden state at its last token.

    The state is what the language-model head reads, after the final layer norm. Nothing stands
    before the text; one that is longer than the model is cut at its end.
    """

    text: str


Request = Score | Rolling | Generate | Embed


@dataclass(frozen=True, slots=True)
class Scored:
    """The answer to Score and Rolling; all arrays have one entry a scored token.

    tokens            token ids, int32
    logprobs          natural-log probabilities, float32
    greedy            whether the token was the arg-max, bool
    context           number of tokens it was conditioned on, int32
    weights           weight of each token in the mean (1 but for "hf-docs" windows), float64
    greedy_excluding  `greedy` with the excluded words out of the competition, bool; equal to
                      `greedy` where nothing was excluded
    truncated         tokens cut from the left of the context because the model is shorter
    """

    tokens: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    greedy: NDArray[np.bool_]
    context: NDArray[np.int32]
    weights: NDArray[np.float64]
    greedy_excluding: NDArray[np.bool_]
    truncated: int = 0


@dataclass(frozen=True, slots=True)
class Generated:
    """The answer to Generate.

    text        what the model wrote, without the stop string
    tokens      the generated token ids, those of the stop string included, int32
    logprobs    natural-log probability of each under the model (temperature 1, no cut), float32
    stopped     "stop" (a stop string), "eos" (`<|endoftext|>`) or "length"
    truncated   tokens cut from the left of the prompt
    prediction  the part of `text` that is scored, set by the protocol's `extract`
    """

    text: str
    tokens: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    stopped: Literal["stop", "eos", "length"]
    truncated: int = 0
    prediction: str = ""


@dataclass(frozen=True, slots=True)
class Embedded:
    """The answer to Embed.

    vector     hidden state at the last of the tokens, float32 [width of the model]
    tokens     the token ids that were read, int32
    truncated  tokens cut from the right
    """

    vector: NDArray[np.float32]
    tokens: NDArray[np.int32]
    truncated: int = 0


Response = Scored | Generated | Embedded


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of one sample: one line of records.jsonl.

    statistics  metric name -> the sample's statistics, floats
    responses   one JSON object a request, see `results.encode_response`
    references  gold texts, kept so that outputs can be scored again by other tools
    error       why the sample could not be scored; empty when it was
    asked       what each response answers, see `results.encode_requests`
    choices     texts of the answers to choose from, where there are any
    gold        index of the right one among them

    Runs of earlier versions have no `asked`, `choices` and `gold`.
    """

    id: str
    group: str
    statistics: Mapping[str, Sequence[float]]
    responses: Sequence[Mapping[str, Any]] = ()
    references: Sequence[str] = ()
    error: str = ""
    asked: Sequence[Mapping[str, Any]] = ()
    choices: Sequence[str] = ()
    gold: int | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with what is needed to read it.

    low, high    bounds of the interval at `level`; None where there is nothing to resample
    method       how the interval was made ("wilson", "bootstrap over 62 groups, ...")
    n            samples behind the value
    unit         "perplexity", "bits", "fraction", "points" ...
    denominator  what the sum was divided by, with its size: "241335 words"
    higher_is_better  the direction of better; None where neither is: the perplexity of what a
                 model wrote is best near that of what people wrote
    part         the part of the samples that the value is over; empty: all of them
    note         what a reader has to know besides: that there are too few samples for it
    """

    value: float
    low: float | None
    high: float | None
    level: float
    method: str
    n: int
    unit: str
    denominator: str
    higher_is_better: bool | None
    signature: str = ""
    part: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One checkpoint on one task@protocol: the content of a result.json.

    The mappings have the keys that DESIGN.md section 5 lists; `metrics` and each entry of
    `baselines` (model-free systems such as Lede-3, scored on the same samples) map metric names to
    Estimates. `path` is the run directory, which also holds records.jsonl.
    """

    checkpoint: Mapping[str, Any]
    task: Mapping[str, Any]
    data: Mapping[str, Any]
    run: Mapping[str, Any]
    metrics: Mapping[str, Estimate]
    ledger: Mapping[str, int]
    signature: str
    baselines: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    path: Path | None = None

    @property
    def name(self) -> str:
        """`task@protocol`."""
        return f"{self.task['name']}@{self.task['protocol']}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two checkpoints on one metric of one task@protocol, over the samples both have.

    task, metric      "lambada@openai", "accuracy"; `part` as in Estimate
    baseline          label of the checkpoint that is compared with
    candidate         label of the checkpoint that is compared
    baseline_value    the metric over the compared samples, in `unit`
    candidate_value   the same
    difference        candidate_value - baseline_value
    low, high         interval of the difference at `level`; None where nothing can be resampled
    test              what the p-value comes from ("exact McNemar test", ...), or why there is none
    p                 two-sided p-value; None where no test applies
    p_corrected       p after `correction` over the family of comparisons
    effect            effect size, named by `effect_name`; None where it is not defined
    smallest          smallest difference that this n shows four times in five (power 0.8)
    n, units          samples compared, and independent units among them (groups, or seeds)
    wins, ties, losses  units on which the candidate is better, equal, worse
    note              what a reader has to know ("1,200 samples that both have, of 1,267")
    baseline_spread, candidate_spread  standard deviation over seeds, where variants are compared
    """

    task: str
    metric: str
    baseline: str
    candidate: str
    unit: str
    higher_is_better: bool | None
    baseline_value: float
    candidate_value: float
    difference: float
    low: float | None
    high: float | None
    level: float
    test: str
    p: float | None
    p_corrected: float | None
    correction: str
    effect: float | None
    effect_name: str
    smallest: float | None
    n: int
    units: int
    wins: int
    ties: int
    losses: int
    part: str = ""
    note: str = ""
    baseline_spread: float | None = None
    candidate_spread: float | None = None

    def significant(self, alpha: float = 0.05) -> bool:
        """Whether the corrected p-value is below `alpha`."""
        return self.p_corrected is not None and self.p_corrected < alpha


@dataclass(frozen=True, slots=True)
class Split:
    """One metric of a checkpoint on kinds of samples: "all", "clean" and "overlapping" ones.

    Clean samples are those that a training corpus does not hold; see `gpt2eval overlap`. A kind
    that no sample is of is not there.
    """

    task: str
    checkpoint: str
    metric: str
    estimates: Mapping[str, Estimate]
