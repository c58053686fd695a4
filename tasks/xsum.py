"""XSum: the one sentence that sums up a BBC article (Narayan et al. 2018).

https://arxiv.org/abs/1808.08745. Prompted as the GPT-2 paper prompts for CNN/DailyMail.
"""

from gpt2eval import Dataset, Hub, Task, data, recipes

BIBTEX = """
@inproceedings{narayan2018,
  author = {Narayan, Shashi and Cohen, Shay B. and Lapata, Mirella},
  title = {Don't Give Me the Details, Just the Summary! Topic-Aware Convolutional Neural
    Networks for Extreme Summarization},
  booktitle = {Proceedings of EMNLP 2018},
  pages = {1797--1807},
  year = {2018},
  url = {https://arxiv.org/abs/1808.08745},
}
"""

XSUM = Task(
    name="xsum",
    version=1,
    summary="one-sentence summaries of BBC articles",
    source="Narayan et al. 2018, https://arxiv.org/abs/1808.08745",
    bibtex=BIBTEX,
    protocols=(
        recipes.summarization(
            "tldr-greedy",
            "TL;DR:, 100 tokens greedily, first sentence",
            Dataset(
                files=(("xsum/xsum_test.jsonl",), ("xsum/xsum_test_1000.jsonl",)),
                read=lambda paths: data.read_jsonl(paths, "document", "summary"),
                hub=Hub("EdinburghNLP/xsum"),
                known={
                    "d824400a3d422550d016e15599806196600932bc6109e00ab97be3044426c052": (
                        "1,000 of the 11,334 articles of the test set"
                    )
                },
            ),
            ("document", "summary"),
            sentences=1,
            detail=(
                "The article, a new line and `TL;DR:`; 100 tokens, greedily; the first sentence of"
                " them against the one of the reference. Articles too long for the model lose"
                " their beginning and are counted."
            ),
        ),
    ),
)
