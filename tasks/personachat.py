"""PersonaChat: small talk of people who were given a character to play (Zhang et al. 2018).

https://arxiv.org/abs/1801.07243. 1,000 conversations and 7,801 replies, the validation set of
ConvAI2. The character of the one who replies stands before the conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt2eval import DataError, Dataset, Task, data, recipes

BIBTEX = """
@inproceedings{zhang2018,
  author = {Zhang, Saizheng and Dinan, Emily and Urbanek, Jack and Szlam, Arthur and Kiela,
    Douwe and Weston, Jason},
  title = {Personalizing Dialogue Agents: {I} have a dog, do you have pets too?},
  booktitle = {Proceedings of ACL 2018},
  pages = {2204--2213},
  year = {2018},
  url = {https://arxiv.org/abs/1801.07243},
}
"""


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """Conversations from a list of {"meta": [line, ...], "dialogue": [[said, reply], ...]}."""
    for path in paths:
        for number, row in enumerate(data.read_json(path, kind=list), 1):
            place = f"{path}, conversation {number}"
            try:
                turns = [turn for said, reply in row["dialogue"] for turn in (said, reply)]
                character = row["meta"]
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(
                    f"{place}: expected `meta`, a list of lines, and `dialogue`, a list of pairs"
                    f" ({error!r})"
                ) from error
            data.strings(character, f"{place}: the list of lines in `meta`")
            data.strings(turns, f"{place}: the list of turns")
            yield {
                "id": str(number),
                "background": "\n".join(character) + "\n\n",
                "turns": [turn.strip() for turn in turns],
                "replies": range(1, len(turns), 2),
            }


PERSONACHAT = Task(
    name="personachat",
    version=1,
    summary="replies of people who play a character",
    source="Zhang et al. 2018, https://arxiv.org/abs/1801.07243",
    bibtex=BIBTEX,
    groups=("dialogue",),
    protocols=recipes.dialogue(
        Dataset(
            files=(("personachat/fsb_persona_test.json",),),
            read=read,
            known={
                "8069d3f2e973f8be692b1e9a14743b3bf243911ff487534fcbf7d1b7efe76cd6": (
                    "validation set of ConvAI2, 1,000 conversations"
                )
            },
        )
    ),
)
