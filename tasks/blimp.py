"""BLiMP: whether a model finds a grammatical sentence likelier than one that barely differs.

Warstadt et al. 2020, https://arxiv.org/abs/1912.00582: 67 paradigms of 1,000 pairs. Needs no
prompt, and every paradigm has a number of its own in the files of a result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from gpt2eval import (
    DataError,
    Dataset,
    Hub,
    Protocol,
    Request,
    Sample,
    Score,
    Task,
    data,
    metrics,
    recipes,
)

BIBTEX = """
@article{warstadt2020,
  author = {Warstadt, Alex and Parrish, Alicia and Liu, Haokun and Mohananey, Anhad and Peng,
    Wei and Wang, Sheng-Fu and Bowman, Samuel R.},
  title = {{BLiMP}: The Benchmark of Linguistic Minimal Pairs for {E}nglish},
  journal = {Transactions of the Association for Computational Linguistics},
  volume = {8},
  pages = {377--392},
  year = {2020},
  url = {https://arxiv.org/abs/1912.00582},
}
"""

PARADIGMS = tuple(
    """
    adjunct_island anaphor_gender_agreement anaphor_number_agreement animate_subject_passive
    animate_subject_trans causative complex_NP_island
    coordinate_structure_constraint_complex_left_branch
    coordinate_structure_constraint_object_extraction determiner_noun_agreement_1
    determiner_noun_agreement_2 determiner_noun_agreement_irregular_1
    determiner_noun_agreement_irregular_2 determiner_noun_agreement_with_adj_2
    determiner_noun_agreement_with_adj_irregular_1 determiner_noun_agreement_with_adj_irregular_2
    determiner_noun_agreement_with_adjective_1 distractor_agreement_relational_noun
    distractor_agreement_relative_clause drop_argument ellipsis_n_bar_1 ellipsis_n_bar_2
    existential_there_object_raising existential_there_quantifiers_1
    existential_there_quantifiers_2 existential_there_subject_raising expletive_it_object_raising
    inchoative intransitive irregular_past_participle_adjectives irregular_past_participle_verbs
    irregular_plural_subject_verb_agreement_1 irregular_plural_subject_verb_agreement_2
    left_branch_island_echo_question left_branch_island_simple_question
    matrix_question_npi_licensor_present npi_present_1 npi_present_2 only_npi_licensor_present
    only_npi_scope passive_1 passive_2 principle_A_c_command principle_A_case_1 principle_A_case_2
    principle_A_domain_1 principle_A_domain_2 principle_A_domain_3 principle_A_reconstruction
    regular_plural_subject_verb_agreement_1 regular_plural_subject_verb_agreement_2
    sentential_negation_npi_licensor_present sentential_negation_npi_scope
    sentential_subject_island superlative_quantifiers_1 superlative_quantifiers_2
    tough_vs_raising_1 tough_vs_raising_2 transitive wh_island wh_questions_object_gap
    wh_questions_subject_gap wh_questions_subject_gap_long_distance wh_vs_that_no_gap
    wh_vs_that_no_gap_long_distance wh_vs_that_with_gap wh_vs_that_with_gap_long_distance
    """.split()
)
COLUMNS = ("sentence_good", "sentence_bad", "UID")


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """The archive of the authors, or the JSONL files in it, sorted by paradigm."""
    if paths[0].suffix != ".zip":
        yield from data.read_jsonl(paths, *COLUMNS)
        return
    for name, text in sorted(data.read_zip(paths[0], ".jsonl")):
        yield from data.parse_jsonl(text, f"{paths[0]}, {name}", *COLUMNS)


def samples(rows: Iterable[data.Row]) -> Iterator[Sample]:
    """The good sentence comes first; a sample knows how many pairs its paradigm has."""
    rows = list(rows)
    sizes = Counter(row["UID"] for row in rows)
    if unknown := set(sizes) - set(PARADIGMS):
        raise DataError(f"BLiMP: unknown paradigm {min(unknown)!r}; expected the 67 of the paper")
    numbers: Counter[str] = Counter()
    for row in rows:
        paradigm = row["UID"]
        numbers[paradigm] += 1
        yield recipes.choice_sample(
            f"{paradigm}/{numbers[paradigm]}",
            (row["sentence_good"], row["sentence_bad"]),
            0,
            paradigm=paradigm,
            size=sizes[paradigm],
        )


def requests(sample: Sample, before: str) -> list[Request]:
    """Both sentences whole, after `<|endoftext|>`."""
    return [Score("", before + sentence) for sentence in sample.fields["choices"]]


def of_paradigm(sample: Sample, name: str) -> bool:
    """Whether a pair belongs to the paradigm."""
    return bool(sample.fields["paradigm"] == name)


PAIRS = Dataset(
    files=(("blimp/BLiMP.zip",), tuple(f"blimp/data/{name}.jsonl" for name in PARADIGMS)),
    read=read,
    hub=Hub("nyu-mll/blimp", PARADIGMS, "train"),
    known={
        "172a1a714d72e72a89e8384dd531483f3d0f8a9aee3d33dccaf7992d8cecbb73": (
            "the authors' BLiMP.zip, 67 paradigms of 1,000 pairs"
        )
    },
)
ACCURACY = metrics.choice_accuracy(per="pairs")
SCORES = (
    metrics.macro(ACCURACY, lambda sample: float(sample.fields["size"]), "paradigms"),
    ACCURACY,
    *(metrics.part(ACCURACY, name, partial(of_paradigm, name=name)) for name in PARADIGMS),
)


def protocol(name: str, summary: str, before: str, detail: str, lm_eval: str = "") -> Protocol:
    """One way to write a sentence down."""
    return Protocol(
        name=name,
        summary=summary,
        detail=detail,
        dataset=PAIRS,
        samples=samples,
        requests=partial(requests, before=before),
        metrics=SCORES,
        baselines={"chance": recipes.chance},
        options={"before": "space" if before else "nothing"},
        lm_eval=lm_eval,
    )


BLIMP = Task(
    name="blimp",
    version=1,
    summary="minimal pairs: the grammatical sentence is the likelier one",
    source="Warstadt et al. 2020, https://arxiv.org/abs/1912.00582",
    bibtex=BIBTEX,
    groups=("understanding",),
    protocols=(
        protocol(
            "lm-eval",
            "as lm-eval's blimp: whole sentences with a space before them",
            " ",
            "A pair is right when the good sentence has the higher log-probability, after"
            " `<|endoftext|>` and a space, as in lm-eval. accuracy_macro is the mean over the"
            " paradigms, lm-eval's number for the group; it weighs a pair by one over the pairs of"
            " its paradigm in the file, so that on a subset of the pairs it estimates that mean."
            " accuracy/NAME is the accuracy on one paradigm.",
            lm_eval="blimp",
        ),
        protocol(
            "sentence",
            "whole sentences as they stand",
            "",
            "As @lm-eval without the space, which GPT-2 never saw at the beginning of a text.",
        ),
    ),
)
