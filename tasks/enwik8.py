"""enwik8: the first hundred million bytes of the English Wikipedia's XML, of 2006 (Mahoney).

http://mattmahoney.net/dc/textdata.html. Everybody trains on the first 90 million bytes and tests
on the last five; the paper does not say so, but compares with numbers of that split.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt2eval import Dataset, Task, data, recipes

BIBTEX = """
@misc{mahoney2011,
  author = {Mahoney, Matt},
  title = {About the Test Data},
  year = {2011},
  url = {http://mattmahoney.net/dc/textdata.html},
}
"""

MILLIONS = 5


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """The last five million bytes of the file, or of the one in the archive."""
    for path in paths:
        yield {"text": data.read_tail(path, MILLIONS * 1_000_000)}


TEST = Dataset(files=(("enwik8/enwik8",), ("enwik8/enwik8.zip",), ("enwik8/enwik8.gz",)), read=read)

ENWIK8 = Task(
    name="enwik8",
    version=1,
    summary="XML of Wikipedia, language modelling by the byte",
    source="Mahoney 2011, http://mattmahoney.net/dc/textdata.html",
    bibtex=BIBTEX,
    groups=("gpt2-paper",),
    protocols=recipes.characters(
        TEST,
        "bytes",
        MILLIONS,
        "The test split as one text, mark-up and escapes as they are, in full windows that"
        " advance by 32 tokens. The log-likelihood of the tokens is divided by bytes, so"
        " checkpoints with other tokenizers can be compared. Some 50,000 windows:"
        " @stride-512 comes close at a sixteenth of the work. The paper gives"
        " neither its split nor its stride.",
    ),
)
