"""text8: Wikipedia without mark-up, in the letters a to z and spaces (Mahoney).

http://mattmahoney.net/dc/textdata.html. A hundred million characters, of which the last five
million are the test split.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt2eval import Dataset, Hub, Task, data, recipes

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
    """The last five million characters, which are bytes, of the file or of the one in it."""
    for path in paths:
        yield {"text": data.read_tail(path, MILLIONS * 1_000_000)}


def from_hub(row: data.Row) -> data.Row:
    """The row of `afmck/text8` that holds the test split."""
    return {"text": row["text"][-MILLIONS * 1_000_000 :]}


TEST = Dataset(
    files=(("text8/text8",), ("text8/text8.zip",), ("text8/text8.gz",)),
    read=read,
    hub=Hub("afmck/text8", convert=from_hub),
)

TEXT8 = Task(
    name="text8",
    version=1,
    summary="Wikipedia in the letters a to z, language modelling by the character",
    source="Mahoney 2011, http://mattmahoney.net/dc/textdata.html",
    bibtex=BIBTEX,
    groups=("gpt2-paper",),
    protocols=recipes.characters(
        TEST,
        "characters",
        MILLIONS,
        "The test split as one text in full windows that advance by 32 tokens. The"
        " log-likelihood of the tokens is divided by characters. Some 35,000 windows:"
        " @stride-512 comes close at a sixteenth of the work. The paper gives"
        " neither its split nor its stride.",
    ),
)
