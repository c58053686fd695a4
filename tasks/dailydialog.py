"""DailyDialog: conversations that people write to practise a language (Li et al. 2017).

https://arxiv.org/abs/1710.03957. 1,000 conversations and 6,740 replies in the test set.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from gpt2eval import DataError, Dataset, Task, data, recipes

BIBTEX = """
@inproceedings{li2017,
  author = {Li, Yanran and Su, Hui and Shen, Xiaoyu and Li, Wenjie and Cao, Ziqiang and Niu,
    Shuzi},
  title = {{DailyDialog}: A Manually Labelled Multi-turn Dialogue Dataset},
  booktitle = {Proceedings of IJCNLP 2017},
  pages = {986--995},
  year = {2017},
  url = {https://arxiv.org/abs/1710.03957},
}
"""


def read(paths: Sequence[Path]) -> Iterator[data.Row]:
    """Conversations from lines {"dialogue": [{"text": turn}, ...]}."""
    for number, row in enumerate(data.read_jsonl(paths), 1):
        place = f"{paths[0]}, conversation {number}"
        try:
            turns = [turn["text"] for turn in row["dialogue"]]
        except (KeyError, TypeError) as error:
            raise DataError(f"{place}: expected a list of turns with a text ({error!r})") from error
        turns = [turn.strip() for turn in data.filled(turns, f"{place}: the list of turns")]
        yield {
            "id": str(number),
            "background": "",
            "turns": turns,
            "replies": range(1, len(turns)),
        }


DAILYDIALOG = Task(
    name="dailydialog",
    version=1,
    summary="replies in everyday conversations",
    source="Li et al. 2017, https://arxiv.org/abs/1710.03957",
    bibtex=BIBTEX,
    groups=("dialogue",),
    protocols=recipes.dialogue(
        Dataset(
            files=(("dailydialog/test.json",),),
            read=read,
            known={
                "9fae2df356dda7ddb12f388cc38e47befc7b24c0e554b81e55068a6d1429884f": (
                    "test set, 1,000 conversations"
                )
            },
        )
    ),
)
