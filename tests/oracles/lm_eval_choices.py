"""lm-eval's multiple-choice tasks on the files that ours read; the rows are made here, apart."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.oracles.lm_eval_oracle import LmEvalResult, run_lm_eval

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One of lm-eval's tasks, our protocol for it, and what each calls its metrics.

    rows   data directory -> lm-eval's rows
    more   settings of the task that differ from lm-eval's file
    """

    task: str
    file: str
    ours: str
    rows: Callable[[Path], Rows]
    metrics: dict[str, str]
    more: dict[str, Any]


def lines(path: Path) -> list[str]:
    return path.read_text("utf-8").rstrip("\n").split("\n")


def hellaswag_jsonl(data: Path) -> Rows:
    return [json.loads(line) for line in lines(data / "hellaswag/hellaswag_val.jsonl")]


def hellaswag_text(data: Path) -> Rows:
    """The text as it stands, for a task without `process_docs`."""
    import bz2

    packed = (data / "hellaswag/hellaswag_val_full.txt.bz2").read_bytes()
    text = bz2.decompress(packed).decode().rstrip("\n").split("\n")
    return [
        {"query": text[i], "label": int(text[i + 1]), "choices": text[i + 2 : i + 6]}
        for i in range(0, len(text), 6)
    ]


def piqa(data: Path) -> Rows:
    questions = [json.loads(line) for line in lines(data / "piqa/valid.jsonl")]
    labels = [int(line) for line in lines(data / "piqa/valid-labels.lst")]
    return [{**row, "label": label} for row, label in zip(questions, labels, strict=True)]


def copa(data: Path, file: str = "copa-test.xml") -> Rows:
    return [
        {
            "premise": item.findtext("p"),
            "choice1": item.findtext("a1"),
            "choice2": item.findtext("a2"),
            "question": item.attrib["asks-for"],
            "label": int(item.attrib["most-plausible-alternative"]) - 1,
        }
        for item in ET.parse(data / "copa" / file).getroot()
    ]


def wsc273(data: Path) -> Rows:
    rows = []
    for schema in list(ET.parse(data / "winograd/WSCollection.xml").getroot())[:273]:
        left, pronoun, right = (
            " ".join((schema.findtext(f"text/{tag}") or "").split())
            for tag in ("txt1", "pron", "txt2")
        )
        before = f"{left} " if left else ""
        rows.append(
            {
                "text": f"{before}{pronoun}{'' if right[0] in '.,;' else ' '}{right}",
                "pronoun": pronoun,
                "pronoun_loc": len(before),
                "options": [" ".join((a.text or "").split()) for a in schema.iter("answer")],
                "label": "AB".index((schema.findtext("correctAnswer") or "").strip()[0]),
            }
        )
    return rows


def write_blimp(data: Path, target: Path, pairs: int) -> Path:
    """A data directory with the first pairs of each paradigm that is a case, at `target`."""
    path = target / "blimp/BLiMP.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for paradigm in PARADIGMS:
            rows = blimp(data, paradigm)[:pairs]
            archive.writestr(f"data/{paradigm}.jsonl", "".join(json.dumps(r) + "\n" for r in rows))
    return target


def blimp(data: Path, paradigm: str) -> Rows:
    with zipfile.ZipFile(data / "blimp/BLiMP.zip") as archive:
        text = archive.read(f"data/{paradigm}.jsonl").decode().rstrip("\n")
    return [json.loads(line) for line in text.split("\n")]


def sst2(data: Path, file: str = "dev.tsv") -> Rows:
    pairs = [line.split("\t") for line in lines(data / "sst2" / file)]
    return [{"sentence": sentence, "label": int(label)} for label, sentence in pairs]


ACC = {"accuracy": "acc"}
NORM = {**ACC, "accuracy_norm": "acc_norm"}
ALL = {**NORM, "accuracy_bytes": "acc_bytes"}
PMI = {**ACC, "accuracy_pmi": "acc_mutual_info"}


def measured(*names: str) -> dict[str, Any]:
    """The setting that makes lm-eval report these metrics."""
    return {
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in names
        ]
    }


# One of each term of linguistics that BLiMP has, and a second one that is among our samples.
PARADIGMS = (
    "anaphor_gender_agreement",
    "animate_subject_trans",
    "causative",
    "determiner_noun_agreement_with_adj_irregular_1",
    "distractor_agreement_relational_noun",
    "ellipsis_n_bar_1",
    "existential_there_quantifiers_1",
    "irregular_past_participle_verbs",
    "left_branch_island_simple_question",
    "npi_present_1",
    "principle_A_c_command",
    "tough_vs_raising_1",
    "wh_questions_subject_gap",
    "wh_vs_that_with_gap",
)

CASES = {
    "hellaswag": Case(
        "hellaswag",
        "hellaswag/hellaswag.yaml",
        "hellaswag@lm-eval",
        hellaswag_jsonl,
        ALL,
        measured("acc", "acc_norm", "acc_bytes"),
    ),
    "hellaswag-text": Case(
        "hellaswag",
        "hellaswag/hellaswag.yaml",
        "hellaswag@lm-eval",
        hellaswag_text,
        NORM,
        {"process_docs": None},
    ),
    "piqa": Case("piqa", "piqa/piqa.yaml", "piqa@lm-eval", piqa, NORM, {}),
    "copa": Case("copa", "super_glue/copa/default.yaml", "copa@lm-eval", copa, ACC, {}),
    "copa-pmi": Case(
        "copa",
        "super_glue/copa/default.yaml",
        "copa@pmi",
        copa,
        PMI,
        # The task's choices begin with a space already.
        {"target_delimiter": "", **measured("acc", "acc_mutual_info")},
    ),
    "wsc273": Case("wsc273", "wsc273/default.yaml", "winograd@lm-eval", wsc273, ACC, {}),
    "wsc273-one-space": Case(
        "wsc273", "wsc273/default.yaml", "winograd@partial", wsc273, ACC, {"target_delimiter": ""}
    ),
    "sst2": Case(
        "sst2",
        "glue/sst2/default.yaml",
        "sst2@lm-eval",
        sst2,
        PMI,
        measured("acc", "acc_mutual_info"),
    ),
    **{
        f"blimp-{name}": Case(
            "blimp",
            f"blimp/{name}.yaml",
            "blimp@lm-eval",
            partial(blimp, paradigm=name),
            {f"accuracy/{name}": "acc"},
            {},
        )
        for name in PARADIGMS
    },
}


def run(
    case: Case, checkpoint: Path, data: Path, scratch: Path, limit: int | None = None
) -> LmEvalResult:
    """lm-eval on the case's rows."""
    return run_lm_eval(
        checkpoint, case.task, case.file, case.rows(data), scratch, limit=limit, settings=case.more
    )


def run_fewshot(
    case: Case, checkpoint: Path, data: Path, scratch: Path, examples: Sequence[dict[str, Any]]
) -> LmEvalResult:
    """lm-eval with these examples, in this order, before every question."""
    settings = {
        **case.more,
        "num_fewshot": len(examples),
        "fewshot_config": {"sampler": "first_n", "samples": list(examples)},
    }
    return run_lm_eval(
        checkpoint, case.task, case.file, case.rows(data), scratch, settings=settings
    )
