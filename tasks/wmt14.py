"""WMT 2014 French-English, newstest2014, both ways (Bojar et al. 2014).

https://www.statmt.org/wmt14/. Prompted as in the GPT-2 paper, section 3.7, with example pairs
written for gpt2eval: the paper says neither which pairs it used nor how many. lm-evaluation-harness
asks without examples and names the languages.
"""

from collections.abc import Iterable, Iterator

from gpt2eval import (
    Dataset,
    Generate,
    Hub,
    Protocol,
    Request,
    Sample,
    Task,
    data,
    metrics,
    recipes,
)

BIBTEX = r"""
@inproceedings{bojar2014,
  author = {Bojar, Ond{\v{r}}ej and Buck, Christian and Federmann, Christian and Haddow, Barry
    and Koehn, Philipp and others},
  title = {Findings of the 2014 Workshop on Statistical Machine Translation},
  booktitle = {Proceedings of WMT 2014},
  pages = {12--58},
  year = {2014},
  url = {https://aclanthology.org/W14-3302},
}
"""

KNOWN = {
    "c73727c954e92396eb3eed1b2730804a77130c1c3a8bc6a3f5646766fc92a8eb": "newstest2014, English",
    "c57025c8a338c642fe3ad0206ddc75d258a5584e1d470b75f37af2fb666d7e93": "newstest2014, French",
    "5521ed9b1d07763c7e8d7ddfc0fda269cd114612a6283bd3836979ea4dd10a26": "newstest2014, English",
    "31f98dd65e89ee6d7c3de9b72709a7e4d3f28171e8c2a81802e11cf6b36f25ed": "newstest2014, French",
}


def newstest2014(direction: tuple[str, str]) -> Dataset:
    """newstest2014 with this source and target side."""
    source, target = direction
    return Dataset(
        files=(
            (
                f"wmt14/newstest2014-fren-src.{source}.sgm",
                f"wmt14/newstest2014-fren-ref.{target}.sgm",
            ),
        ),
        read=lambda paths: data.read_sgml(paths, direction),
        hub=Hub("wmt/wmt14", "fr-en", convert=lambda row: row["translation"]),
        known=KNOWN,
    )


LANGUAGES = {"en": "English", "fr": "French"}


def lm_eval_protocol(direction: tuple[str, str]) -> Protocol:
    """lm-evaluation-harness's `wmt14-en-fr` or `wmt14-fr-en`."""
    source, target = direction
    prompt = f"{LANGUAGES[source]} phrase: {{}}\n{LANGUAGES[target]} phrase:"
    twin = f"wmt14-{source}-{target}"

    def samples(rows: Iterable[data.Row]) -> Iterator[Sample]:
        for number, row in enumerate(rows, 1):
            own = row.get("id")
            yield Sample(
                id=str(number if own in (None, "") else own),
                fields={"source": row[source]},
                references=(row[target],),
                group=row.get("document", ""),
            )

    def requests(sample: Sample) -> list[Request]:
        return [Generate(prompt.format(sample.fields["source"]), 256, stop=("\n",))]

    return Protocol(
        name="lm-eval",
        lm_eval=twin,
        summary=f"as lm-eval's {twin}: no examples, greedy, the first line",
        detail=(
            "The sentence after the name of its language, no examples; the first line of at most"
            " 256 tokens. BLEU and chrF2 by sacrebleu, as lm-eval's bleu and chrf; it has ter too."
            " A model that was never told what a translation is seldom gives one."
        ),
        dataset=newstest2014(direction),
        samples=samples,
        requests=requests,
        metrics=(metrics.bleu(), metrics.chrf()),
        options={
            "prompt": prompt.format("sentence").replace("\n", "\\n"),
            "max_new_tokens": 256,
            "decoding": "greedy",
            "scored": "first line",
        },
    )


def task(direction: tuple[str, str]) -> Task:
    """One direction."""
    source, target = direction
    return Task(
        name=f"wmt14_{source}_{target}",
        version=1,
        summary=f"translation of news, {source} to {target}",
        source="Bojar et al. 2014, https://www.statmt.org/wmt14/",
        bibtex=BIBTEX,
        groups=("core", "gpt2-paper"),
        protocols=(
            recipes.translation(
                "paper",
                "GPT-2 paper: example pairs sentence = sentence, greedy, first sentence",
                newstest2014(direction),
                direction,
                data.bundled_directory() / "wmt14" / "examples.tsv",
                detail=(
                    "Five fixed example pairs, one a line, then the sentence and `=`; greedy, 128"
                    " tokens at most; the first sentence or line of the output. BLEU and chrF2 by"
                    " sacrebleu over all 3,003 segments; documents are resampled. The paper gives"
                    " neither pairs nor a BLEU script, so its value is for orientation."
                ),
            ),
            lm_eval_protocol(direction),
        ),
    )


WMT14_FR_EN = task(("fr", "en"))
WMT14_EN_FR = task(("en", "fr"))
