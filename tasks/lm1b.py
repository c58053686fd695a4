"""One Billion Words: sentences of newspapers in random order (Chelba et al. 2013).

https://arxiv.org/abs/1312.3005. The test set is `news.en.heldout-00000-of-00050` of the archive:
tokenised sentences, one a line, none of them related to its neighbours.
"""

from collections.abc import Iterable, Iterator

from gpt2eval import Dataset, Protocol, Rolling, Sample, Task, data, metrics, recipes

BIBTEX = """
@misc{chelba2013,
  author = {Chelba, Ciprian and Mikolov, Tomas and Schuster, Mike and Ge, Qi and Brants,
    Thorsten and Koehn, Phillipp and Robinson, Tony},
  title = {One Billion Word Benchmark for Measuring Progress in Statistical Language Modeling},
  note = {arXiv:1312.3005},
  year = {2013},
  url = {https://arxiv.org/abs/1312.3005},
}
"""

# The tokenised sentence as ordinary English, and the inverse.
detokenize, tokenize = recipes.invertible(
    recipes.swap_quotes,
    recipes.swap_space(r"(?<=[(\[])( ?)(?=[\w\"'$£€#])"),  # after an opening bracket
    recipes.swap_space(r"(?<=[\w.!?%\"'])( ?)(?=[)\]])"),  # before a closing bracket
    recipes.swap_space(r"(?<=[\w)\]\"'%])( ?)(?=[,;:.!?](?:[ \"')\]]|$))"),  # before punctuation
    recipes.swap_space(r"(?<=\w)( ?)(?=n't\b)"),
    recipes.swap_space(r"(?<=[\w.])( ?)(?='(?:s|m|d|re|ve|ll)\b)"),
    recipes.swap_space(r"(?<=s)( ?)(?='(?: |$))"),  # the genitive of a plural
    recipes.swap_space(r"(?<=[$£€#])( ?)(?=\d)"),
    recipes.swap_space(r"(?<=\d)( ?)(?=%)"),
)


def sentences(rows: Iterable[data.Row]) -> Iterator[Sample]:
    """A sample a sentence."""
    lines = [str(row["text"]) for row in rows]
    units = [[*line.split(), "\n"] for line in lines]
    for number, (line, words, nats) in enumerate(
        zip(lines, units, recipes.unigram_nats(units), strict=True), 1
    ):
        yield Sample(
            id=str(number),
            fields={
                "text": detokenize(line) + "\n",
                "words+eos": len(words),
                "unigram_nats": nats,
            },
        )


def concatenated(rows: Iterable[data.Row]) -> Iterator[Sample]:
    """The file as one text."""
    return recipes.stretches_of_lines(rows, detokenize, "\n", end="\n")


HELDOUT = Dataset(
    files=(("lm1b/news.en.heldout-00000-of-00050",),),
    read=data.read_lines,
)
WORD_PERPLEXITY = metrics.perplexity(
    "word_perplexity", "words and line ends", lambda sample: sample.fields["words+eos"]
)

LM1B = Task(
    name="lm1b",
    version=1,
    summary="sentences of newspapers in random order, language modelling",
    source="Chelba et al. 2013, https://arxiv.org/abs/1312.3005",
    bibtex=BIBTEX,
    groups=("gpt2-paper",),
    protocols=(
        Protocol(
            name="paper",
            summary="GPT-2 paper (compatible): each sentence alone, per word and line end",
            detail=(
                "Each sentence is de-tokenised by rules that can be undone exactly and read after"
                " <|endoftext|>; its line end is predicted too, in the place of the <eos> of the"
                " data. The log-likelihood is divided by the words of the tokenised sentence plus"
                " one. The sentences are shuffled, so one says nothing about the next; whether the"
                " paper read them alone is not known, see @concatenated."
            ),
            dataset=HELDOUT,
            samples=sentences,
            requests=lambda sample: [Rolling(sample.fields["text"])],
            metrics=(WORD_PERPLEXITY,),
            baselines={recipes.UNIGRAM: recipes.unigram},
            options={
                "detokenizer": "invertible",
                "context": "sentence",
                "sentence end": "\\n",
                "prefix": "<|endoftext|>",
            },
        ),
        Protocol(
            name="concatenated",
            summary="the file as one text, stride 32, per word and line end",
            detail=(
                "As @paper, but the file is read as one text, a sentence a line, in full windows"
                " that advance by 32 tokens. The sentences before tell the model at least what kind"
                " of text it is, and that a line holds one sentence."
            ),
            dataset=HELDOUT,
            samples=concatenated,
            requests=lambda sample: recipes.stretch(sample, "sliding", 32),
            metrics=(WORD_PERPLEXITY,),
            baselines={recipes.UNIGRAM: recipes.unigram},
            options={
                "detokenizer": "invertible",
                "context": "file",
                "stride": 32,
                "prefix": "<|endoftext|>",
            },
        ),
    ),
)
