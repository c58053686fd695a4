"""The text behind the demo checkpoints: the sources, and the documents that each stage learns from.

A document is a list of pieces of text, each with a flag that says whether its tokens are learned or
only read. Documents are made in a fixed order from a seeded generator, so that a second run sees
the same ones.
"""

import gzip
import random
import re
import zipfile
from pathlib import Path

SEED = 1

Document = list[tuple[str, bool]]  # (text, whether its tokens are learned) in reading order


# --- reading the sources --------------------------------------------------------------------------


def read_novel(path: Path) -> list[str]:
    """Paragraphs of a novel, each on one line.

    Some of the files are hard-wrapped and some hold a paragraph a line. In a wrapped file a blank
    line ends a paragraph, and so does a line clearly shorter than the rest, since not all files
    have blank lines.
    """
    lines = [
        line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    ]
    lengths = sorted(len(line) for line in lines if line)
    wrap_width = lengths[int(0.99 * len(lengths))]
    paragraphs, current = [], ""
    for line in lines:
        current = f"{current} {line}".strip()
        if current and (wrap_width > 100 or len(line) < 0.75 * wrap_width):
            paragraphs.append(re.sub(r"\s+", " ", current))
            current = ""
    return [*paragraphs, current] if current else paragraphs


def read_wiki_split(folder: Path) -> list[tuple[str, str]]:
    """Pairs of one long sentence and the same content as two sentences, tokenised text."""
    rows = []
    for path in sorted(folder.glob("wiki_split_*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines():
            whole, split = line.replace("''", '"').split("\t")
            rows.append((whole, split.replace(" <::::> ", " ")))
    return rows


def read_wikitext(path: Path) -> list[str]:
    """The articles of a WikiText file, as they stand there."""
    text = path.read_text(encoding="utf-8")
    return [article for article in re.split(r"(?m)^(?= = [^=\n]+ = $)", text) if article.strip()]


def read_tatoeba(path: Path) -> list[tuple[str, str]]:
    """English-French pairs in random order; no sentence of either language comes twice."""
    with zipfile.ZipFile(path) as archive:
        text = archive.read("fra-eng/fra.txt").decode("utf-8")
    pairs = [line.split("\t")[:2] for line in re.sub("[\u202f\xa0]", " ", text).splitlines()]
    random.Random(SEED).shuffle(pairs)
    by_french = {french: english for english, french in pairs}
    by_english = {english: french for french, english in by_french.items()}
    return list(by_english.items())


def read_multi30k(folder: Path, split: str) -> list[tuple[str, str]]:
    """English-French captions of the split."""
    sides = []
    for language in ("en", "fr"):
        with gzip.open(folder / f"{split}.{language}.gz", "rt", encoding="utf-8") as lines:
            sides.append([line.strip() for line in lines])
    return [pair for pair in zip(*sides, strict=True) if all(pair)]


# --- two styles of English ------------------------------------------------------------------------


def detokenise(text: str) -> str:
    """Tokenised text as it would be printed: ``a " b " , 1 @,@ 000`` becomes ``a "b", 1,000``."""
    text = re.sub(r" @([-,.])@ ", r"\1", text)
    text = re.sub(r'" ([^"\n]*?) "', r'"\1"', text)
    text = re.sub(r" ([,.;:!?)\]%])(?!\d)", r"\1", text)
    text = re.sub(r"([(\[$£]) ", r"\1", text)
    return re.sub(r" ('s|'re|'ve|'ll|'d|'m|n't|')\b", r"\1", text).strip(" ")


def wikify(text: str) -> str:
    """Tokenised text spaced as in WikiText, with ``@-@`` and ``@,@`` inside words and numbers."""
    text = re.sub(r"(?<=\w)-(?=\w)", " @-@ ", text)
    return " " + re.sub(r"(?<=\d)([,.])(?=\d)", r" @\1@ ", text) + " "


# --- documents ------------------------------------------------------------------------------------


def grouped(items: list[str], size: int, separator: str = "\n") -> list[str]:
    """Neighbouring items joined until each group has at least ``size`` characters."""
    groups, current = [], []
    for item in items:
        current.append(item)
        if sum(map(len, current)) >= size:
            groups.append(separator.join(current))
            current = []
    return groups


class Corpus:
    """All training text, read once, and the documents of both stages made from it.

    ``held_out`` maps a name to documents that neither stage learns from: the end of each novel, the
    last articles of the WikiText validation file, and caption pairs of the Multi30k validation
    split.
    """

    def __init__(self, shared: Path):
        train = shared / "train"
        self.random = random.Random(SEED)
        self.wiki_split = read_wiki_split(train)
        self.random.shuffle(self.wiki_split)
        novels = [read_novel(path) for path in sorted(train.glob("*.txt"))]
        self.novels = [paragraphs[: int(0.97 * len(paragraphs))] for paragraphs in novels]
        articles = read_wikitext(shared / "data" / "wikitext2" / "wiki.valid.raw")
        self.articles = articles[:-6]
        self.tatoeba = read_tatoeba(train / "fra-eng.zip")
        self.captions = read_multi30k(shared / "data" / "multi30k", "train")
        ends = [
            paragraph
            for paragraphs in novels
            for paragraph in paragraphs[int(0.97 * len(paragraphs)) :]
        ]
        validation = read_multi30k(shared / "data" / "multi30k", "val")[:300]
        self.held_out: dict[str, list[Document]] = {
            "novels": [[("\n".join(ends), True)]],
            "wikitext": [[(article, True)] for article in articles[-6:]],
            "translation": self.translations(validation, 8),
        }

    def plain(self, size: int = 8000) -> list[Document]:
        """Text to model as it stands: novels, Wikipedia in both spacings, and a little French.

        ``size`` is the least number of characters of a piece of a novel.

        The French is there so that the tokenizer and the model know the letters and the common
        words; the base model never sees a translation.
        """
        short = min(size, 1000)
        texts = [text for paragraphs in self.novels for text in grouped(paragraphs, size)]
        texts += grouped([detokenise(whole) for whole, _ in self.wiki_split], short)
        texts += grouped([wikify(split) for _, split in self.wiki_split], short)
        texts += self.articles + [detokenise(article) for article in self.articles]
        texts += grouped([french for _, french in self.tatoeba[:40000]], short)
        return [[(text, True)] for text in texts]

    def translations(
        self, pairs: list[tuple[str, str]], longest: int, shortest: int = 3
    ) -> list[Document]:
        """Runs of lines ``source = target``, each pair once in each direction.

        A run has ``shortest`` to ``longest`` lines, the last one maybe fewer, and one direction.
        Only the targets are learned: the next source does not follow from the lines before it.
        """
        documents = []
        for direction in (1, -1):
            rest = self.random.sample(pairs, len(pairs))
            while rest:
                count = self.random.randint(shortest, longest)
                document = []
                for source, target in (pair[::direction] for pair in rest[:count]):
                    document += [(f"{source} =", False), (f" {target}\n", True)]
                documents.append(document)
                rest = rest[count:]
        return documents

    def summaries(self) -> list[Document]:
        """Passages with ``TL;DR:`` and a pseudo-summary, since no summaries are among the sources.

        The summary of a passage is its first sentences; that of a pair of short sentences is the
        one long sentence with the same content. Only the summary is learned.
        """
        paragraphs = [text for novel in self.novels for text in novel]
        paragraphs += [
            line
            for article in self.articles
            for line in detokenise(article).split("\n")
            if "=" not in line
        ]
        passages = grouped([text.strip() for text in paragraphs if text.strip()], 700)
        passages = self.random.sample([text for text in passages if len(text) < 1500], 1400)
        passages += grouped([detokenise(split) for _, split in self.wiki_split], 700, " ")[:600]
        pairs = [(text, self.lede(text)) for text in passages]
        pairs += [(detokenise(split), detokenise(whole)) for whole, split in self.wiki_split[:2500]]
        return self.summarised(pairs)

    @staticmethod
    def summarised(pairs: list[tuple[str, str]]) -> list[Document]:
        """A document of each pair of a text and its summary."""
        return [[(f"{text}\nTL;DR:", False), (f" {summary}", True)] for text, summary in pairs]

    def lede(self, text: str) -> str:
        """The first sentences of the text, up to a random length of 10 to 45 words."""
        wanted, words = self.random.randint(10, 45), []
        for sentence in re.split(r"""(?:(?<=[.!?])|(?<=[.!?]["']))\s+(?=["']?[A-Z])""", text):
            words += sentence.split()
            if len(words) >= wanted:
                break
        return " ".join(words)

    def dense(self) -> list[Document]:
        """Short translations and summaries, whose answers lie close to what they answer.

        A model this small begins to look back at the source only after very many examples, and
        they are cheapest where little else is in sight. A part in seven is plain text.
        """
        self.random.seed(SEED)  # the same whether or not the base came first in this process
        documents = self.translations(self.captions, 2, shortest=1)
        documents += self.translations(self.tatoeba[40000:90000], 2, shortest=1)
        pairs = [(detokenise(split), detokenise(whole)) for whole, split in self.wiki_split[:7000]]
        passages = grouped([text for novel in self.novels for text in novel], 200)
        passages = self.random.sample([text for text in passages if len(text) < 350], 3000)
        pairs += [(text, self.lede(text)) for text in passages]
        return documents + self.summarised(pairs) + self.random.sample(self.plain(400), 6000)

    def mixed(self) -> list[Document]:
        """Prompts as long as a benchmark's, and three tenths of plain text."""
        self.random.seed(SEED + 1)
        documents = self.translations(self.captions[:16000], 12)
        documents += self.translations(self.tatoeba[90000:], 12)
        return documents + self.summaries() + self.random.sample(self.plain(1500), 3200)
