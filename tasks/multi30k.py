"""Multi30k: captions of pictures in English and French, test set of 2016 (Elliott et al. 2017).

https://github.com/multi30k/dataset. Prompted like WMT 2014, with caption pairs written for
gpt2eval.
"""

from gpt2eval import Dataset, Task, data, recipes

BIBTEX = r"""
@inproceedings{elliott2016,
  author = {Elliott, Desmond and Frank, Stella and Sima'an, Khalil and Specia, Lucia},
  title = {{Multi30K}: Multilingual {English-German} Image Descriptions},
  booktitle = {Proceedings of the 5th Workshop on Vision and Language},
  pages = {70--74},
  year = {2016},
  url = {https://aclanthology.org/W16-3210},
}
@inproceedings{elliott2017,
  author = {Elliott, Desmond and Frank, Stella and Barrault, Lo{\"\i}c and Bougares, Fethi and
    Specia, Lucia},
  title = {Findings of the Second Shared Task on Multimodal Machine Translation and Multilingual
    Image Description},
  booktitle = {Proceedings of WMT 2017},
  pages = {215--233},
  year = {2017},
  url = {https://aclanthology.org/W17-4718},
}
"""

KNOWN = {
    "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9": "test_2016_flickr, English",
    "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90": "test_2016_flickr, French",
}


def task(direction: tuple[str, str]) -> Task:
    """One direction of the 1,000 captions."""
    source, target = direction
    return Task(
        name=f"multi30k_{source}_{target}",
        version=1,
        summary=f"translation of picture captions, {source} to {target}",
        source="Elliott et al. 2017, https://aclanthology.org/W17-4718",
        bibtex=BIBTEX,
        protocols=(
            recipes.translation(
                "paper",
                "as WMT 2014 in the GPT-2 paper, on captions",
                Dataset(
                    files=(
                        (
                            f"multi30k/test_2016_flickr.{source}.gz",
                            f"multi30k/test_2016_flickr.{target}.gz",
                        ),
                        (
                            f"multi30k/test_2016_flickr.{source}",
                            f"multi30k/test_2016_flickr.{target}",
                        ),
                    ),
                    read=lambda paths: data.read_parallel(paths, direction),
                    known=KNOWN,
                ),
                direction,
                data.bundled_directory() / "multi30k" / "examples.tsv",
                detail=(
                    "Five fixed example pairs, one a line, then the caption and `=`; greedy, 128"
                    " tokens at most; the first sentence or line of the output. BLEU and chrF2 by"
                    " sacrebleu."
                ),
            ),
        ),
    )


MULTI30K_FR_EN = task(("fr", "en"))
MULTI30K_EN_FR = task(("en", "fr"))
