"""CNN/DailyMail: summaries of news articles (See et al. 2017, version 3.0.0, not anonymised).

https://arxiv.org/abs/1704.04368. Prompt and decoding are those of the GPT-2 paper, section 3.6.
The "ROUGE-L" of the literature on this set is `rougeLsum` here.
"""

from gpt2eval import Dataset, Hub, Task, data, recipes

BIBTEX = """
@inproceedings{see2017,
  author = {See, Abigail and Liu, Peter J. and Manning, Christopher D.},
  title = {Get To The Point: Summarization with Pointer-Generator Networks},
  booktitle = {Proceedings of ACL 2017},
  pages = {1073--1083},
  year = {2017},
  url = {https://arxiv.org/abs/1704.04368},
}
"""

ARTICLES = Dataset(
    files=(("cnn_dm/test.csv",), ("cnn_dailymail/test.csv",)),
    read=lambda paths: data.read_csv(paths, "article", "highlights"),
    hub=Hub("abisee/cnn_dailymail", "3.0.0"),
    known={
        "3edb880801a800da0f9413fc01bb0fe99b81ae46b06d16e22fe334bc8b95ae17": (
            "500 of the 11,490 articles of the test set"
        )
    },
)

CNN_DAILYMAIL = Task(
    name="cnn_dailymail",
    version=1,
    summary="summaries of news articles",
    source="See et al. 2017, https://arxiv.org/abs/1704.04368",
    bibtex=BIBTEX,
    groups=("core", "gpt2-paper"),
    protocols=(
        recipes.summarization(
            "tldr",
            "GPT-2 paper: TL;DR:, 100 tokens by top-k 2, first three sentences",
            ARTICLES,
            ("article", "highlights"),
            sentences=3,
            top_k=2,
            detail=(
                "The article, a new line and `TL;DR:`; 100 tokens sampled from the two likeliest;"
                " the first three sentences of them, one a line, against the highlights. Articles"
                " too long for the model lose their beginning and are counted. ROUGE F1 averaged"
                " over articles; `rouge_average` is the mean of rouge1, rouge2 and rougeLsum, the"
                " paper's AVG. Sampled: run several --seed to see the spread."
            ),
        ),
        recipes.summarization(
            "tldr-greedy",
            "TL;DR:, 100 tokens greedily, first three sentences",
            ARTICLES,
            ("article", "highlights"),
            sentences=3,
            detail="As @tldr with greedy decoding: one text a checkpoint, no seed.",
        ),
    ),
)
