"""The recipe of the two bundled demo checkpoints.

``demo-base`` is a GPT-2 of 3.4 million parameters trained from scratch on English prose, with its own
byte-level BPE. ``demo-tuned`` is the same model after fine-tuning on translation and on summaries. The pair is
what a first report compares, so the two have to differ where a benchmark looks, and both have to be
small enough to live in the repository.

The whole recipe runs on one CPU core in a little over an hour::

    python -m gpt2eval.demo.train --shared DIR --output DIR

``--shared`` holds the training text: ``train/*.txt`` (novels), ``train/wiki_split_*.tsv``, ``train/fra-eng.zip``,
``data/multi30k/train.{en,fr}.gz`` and ``data/wikitext2/wiki.valid.raw``. No test file is opened.
"""

import argparse
import gzip
import json
import math
import random
import re
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

END = "<|endoftext|>"
VOCAB_SIZE = 4096
CONTEXT = 512
IGNORED = -100  # the label that cross_entropy leaves out
SEED = 1

Document = list[tuple[str, bool]]  # (text, whether its tokens are learned) in reading order


@dataclass(frozen=True)
class Stage:
    """How long and how fast one of the two trainings goes. A step is always 4,096 tokens."""

    steps: int
    learning_rate: float
    warmup: int
    short_until: int  # before this step rows are 256 tokens: a fifth faster, and positions 256+ catch up later


STAGES = {
    "base": Stage(steps=2300, learning_rate=2.5e-3, warmup=100, short_until=1200),
    "tuned": Stage(steps=1100, learning_rate=1.5e-3, warmup=50, short_until=0),
}
TOKENS_PER_STEP = 4096


# --- reading the sources ----------------------------------------------------------------------------------


def read_novel(path: Path) -> list[str]:
    """Paragraphs of a novel, each on one line.

    Some of the files are hard-wrapped and some hold a paragraph a line. In a wrapped file a blank line ends
    a paragraph, and so does a line clearly shorter than the rest, since not all files have blank lines.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
    lengths = sorted(len(line) for line in lines if line)
    wrap_width = lengths[int(0.99 * len(lengths))]
    paragraphs, current = [], ""
    for line in lines:
        current = f"{current} {line}".strip()
        if current and (wrap_width > 100 or len(line) < 0.75 * wrap_width):
            paragraphs.append(re.sub(r"\s+", " ", current))
            current = ""
    return paragraphs + [current] if current else paragraphs


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


# --- two styles of English --------------------------------------------------------------------------------


def detokenise(text: str) -> str:
    """Tokenised text as it would be printed: ``a " b " , 1 @,@ 000`` becomes ``a "b", 1,000``."""
    text = re.sub(r" @([-,.])@ ", r"\1", text)
    text = re.sub(r'" ([^"\n]*?) "', r'"\1"', text)
    text = re.sub(r" ([,.;:!?)\]%])(?!\d)", r"\1", text)
    text = re.sub(r"([(\[$£]) ", r"\1", text)
    return re.sub(r" ('s|'re|'ve|'ll|'d|'m|n't|')\b", r"\1", text).strip(" ")


def wikify(text: str) -> str:
    """Tokenised text in the spacing of WikiText: hyphens and number separators become ``@-@`` and ``@,@``."""
    text = re.sub(r"(?<=\w)-(?=\w)", " @-@ ", text)
    return " " + re.sub(r"(?<=\d)([,.])(?=\d)", r" @\1@ ", text) + " "


# --- documents --------------------------------------------------------------------------------------------


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

    ``held_out`` maps a name to documents that neither stage learns from: the end of each novel, the last
    articles of the WikiText validation file, and caption pairs of the Multi30k validation split.
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
        ends = [paragraph for paragraphs in novels for paragraph in paragraphs[int(0.97 * len(paragraphs)) :]]
        validation = read_multi30k(shared / "data" / "multi30k", "val")[:300]
        self.held_out: dict[str, list[Document]] = {
            "novels": [[("\n".join(ends), True)]],
            "wikitext": [[(article, True)] for article in articles[-6:]],
            "translation": self.translations(validation, 8),
        }

    def plain(self) -> list[Document]:
        """Text to model as it stands: novels, Wikipedia in both spacings, and a little French.

        The French is there so that the tokenizer and the model know the letters and the common words; the
        base model never sees a translation.
        """
        texts = [text for paragraphs in self.novels for text in grouped(paragraphs, 8000)]
        texts += grouped([detokenise(whole) for whole, _ in self.wiki_split], 1000)
        texts += grouped([wikify(split) for _, split in self.wiki_split], 1000)
        texts += self.articles + [detokenise(article) for article in self.articles]
        texts += grouped([french for _, french in self.tatoeba[:40000]], 1000)
        return [[(text, True)] for text in texts]

    def translations(self, pairs: list[tuple[str, str]], longest: int) -> list[Document]:
        """Runs of up to ``longest`` lines ``source = target``, each run in one direction, each pair in both.

        Only the targets are learned: the next source does not follow from the lines before it.
        """
        documents = []
        for direction in (1, -1):
            rest = self.random.sample(pairs, len(pairs))
            while rest:
                count = self.random.randint(3, longest)
                document = []
                for source, target in (pair[::direction] for pair in rest[:count]):
                    document += [(f"{source} =", False), (f" {target}\n", True)]
                documents.append(document)
                rest = rest[count:]
        return documents

    def summaries(self) -> list[Document]:
        """Passages followed by ``TL;DR:`` and a pseudo-summary, since no summaries are among the sources.

        The summary of a passage is its first sentences; that of a pair of short sentences is the one long
        sentence with the same content. Only the summary is learned.
        """
        paragraphs = [text for novel in self.novels for text in novel]
        paragraphs += [line for article in self.articles for line in detokenise(article).split("\n") if "=" not in line]
        passages = grouped([text.strip() for text in paragraphs if text.strip()], 700)
        passages = self.random.sample([text for text in passages if len(text) < 1500], 1400)
        passages += grouped([detokenise(split) for _, split in self.wiki_split], 700, " ")[:600]
        pairs = [(text, self.lede(text)) for text in passages]
        pairs += [(detokenise(split), detokenise(whole)) for whole, split in self.wiki_split[:2500]]
        return [[(f"{text}\nTL;DR:", False), (f" {summary}", True)] for text, summary in pairs]

    def lede(self, text: str) -> str:
        """The first sentences of the text, up to a random length of 10 to 45 words."""
        wanted, words = self.random.randint(10, 45), []
        for sentence in re.split(r"""(?:(?<=[.!?])|(?<=[.!?]["']))\s+(?=["']?[A-Z])""", text):
            words += sentence.split()
            if len(words) >= wanted:
                break
        return " ".join(words)

    def tuning(self) -> list[Document]:
        """The fine-tuning mixture by tokens: over half translation, a quarter summaries, the rest plain text."""
        documents = self.translations(self.captions[:24000], 12)
        documents += self.translations(self.tatoeba[40000:50000], 16)
        documents += self.translations(self.captions[24000:] + self.tatoeba[50000:53000], 12)
        return documents + self.summaries() + self.random.sample(self.plain(), 1200)


# --- tokens -----------------------------------------------------------------------------------------------


def train_tokenizer(documents: list[Document], folder: Path) -> GPT2TokenizerFast:
    """Learn a byte-level BPE and save it in the files GPT-2 has; ``<|endoftext|>`` is the last id, as there.

    It learns from the captions too, so that the words of the fine-tuning are not in crumbs.
    """
    bpe = ByteLevelBPETokenizer()
    texts = (text for document in documents for text, _ in document)
    bpe.train_from_iterator(texts, vocab_size=VOCAB_SIZE - 1, show_progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    bpe.save_model(str(folder))
    (folder / "tokenizer.json").unlink(missing_ok=True)  # of an earlier run: it would be read instead
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8")) | {END: VOCAB_SIZE - 1}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    tokenizer = GPT2TokenizerFast.from_pretrained(folder, model_max_length=CONTEXT)
    tokenizer.save_pretrained(folder)
    return tokenizer


def encode(documents: list[Document], tokenizer: GPT2TokenizerFast) -> list[tuple[list[int], list[int]]]:
    """Token ids and labels of each document, closed by ``<|endoftext|>``."""
    pieces = [text for document in documents for text, _ in document]
    ids_of_pieces = iter(tokenizer(pieces, verbose=False)["input_ids"])
    encoded = []
    for document in documents:
        ids, labels = [], []
        for _, learned in document:
            piece = next(ids_of_pieces)
            ids += piece
            labels += piece if learned else [IGNORED] * len(piece)
        encoded.append((ids + [tokenizer.eos_token_id], labels + [tokenizer.eos_token_id]))
    return encoded


def pack(encoded: list[tuple[list[int], list[int]]], whole: bool) -> torch.Tensor:
    """Rows of ``CONTEXT`` tokens, int64 [rows, 2, CONTEXT]: ids and labels.

    Plain text is one stream cut anywhere. With ``whole`` every document keeps its beginning, so that a
    row starts as a prompt does; one that does not fit into the rest of a row opens the next, and the tail
    of a document longer than a row is lost.
    """
    end = encoded[0][0][-1]
    ids, labels = [], []
    for document_ids, document_labels in encoded:
        room = -len(ids) % CONTEXT
        if whole and len(document_ids) > room:
            ids += [end] * room
            labels += [IGNORED] * room
            room = CONTEXT
        ids += document_ids[:room] if whole else document_ids
        labels += document_labels[:room] if whole else document_labels
    rows = len(ids) // CONTEXT
    return torch.tensor([ids[: rows * CONTEXT], labels[: rows * CONTEXT]]).view(2, rows, CONTEXT).transpose(0, 1)


def batches(encoded: list[tuple[list[int], list[int]]], whole: bool) -> Iterator[torch.Tensor]:
    """Batches of 4,096 tokens for ever; each pass shuffles the documents anew and packs them into other rows."""
    shuffler = random.Random(SEED)
    size = TOKENS_PER_STEP // CONTEXT
    while True:
        shuffler.shuffle(encoded)
        rows = pack(encoded, whole)
        order = list(range(len(rows)))
        shuffler.shuffle(order)
        for start in range(0, len(order) - size + 1, size):
            yield rows[order[start : start + size]]


# --- training ---------------------------------------------------------------------------------------------


def new_model(end: int) -> GPT2LMHeadModel:
    """An untrained model; no dropout, since two passes over the text cannot overfit it."""
    torch.manual_seed(SEED)
    config = GPT2Config(
        vocab_size=VOCAB_SIZE,
        n_positions=CONTEXT,
        n_embd=224,
        n_layer=4,
        n_head=7,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=end,
        eos_token_id=end,
    )
    return GPT2LMHeadModel(config)


def loss_of(model: GPT2LMHeadModel, batch: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood, in nats, of the learned tokens of a batch [rows, 2, length]."""
    ids, labels = batch.unbind(1)
    with torch.autocast("cpu", torch.bfloat16):  # twice as fast as float32 where the processor has it
        logits = model(input_ids=ids, use_cache=False).logits
    return cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED)


def learning_rate_at(step: int, stage: Stage) -> float:
    """Linear warm-up, then half a cosine down to a twentieth of the peak."""
    if step < stage.warmup:
        return stage.learning_rate * (step + 1) / stage.warmup
    progress = (step - stage.warmup) / (stage.steps - stage.warmup)
    return stage.learning_rate * (0.05 + 0.95 * (1 + math.cos(math.pi * progress)) / 2)


def save(model: GPT2LMHeadModel, tokenizer: GPT2TokenizerFast, folder: Path) -> None:
    """Write the checkpoint in half precision; the tokenizer travels with it, in GPT-2's files and in one."""
    half = GPT2LMHeadModel(model.config).half()
    half.load_state_dict(model.state_dict())
    half.generation_config.update(bos_token_id=tokenizer.eos_token_id, eos_token_id=tokenizer.eos_token_id)
    half.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def train(
    model: GPT2LMHeadModel,
    tokenizer: GPT2TokenizerFast,
    corpus: Corpus,
    stage: Stage,
    documents: list[Document],
    folder: Path,
    whole: bool,
) -> None:
    """Run one stage and leave its checkpoint in ``folder``, its log beside it.

    The checkpoint is rewritten every 250 steps, so that a run that is stopped leaves its last state.
    """
    held_out = {name: pack(encode(texts, tokenizer), False)[:16] for name, texts in corpus.held_out.items()}
    matrices = [weight for weight in model.parameters() if weight.dim() == 2]
    vectors = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=stage.learning_rate, betas=(0.9, 0.95), fused=True)
    stream = batches(encode(documents, tokenizer), whole)
    started = time.monotonic()
    with folder.with_suffix(".jsonl").open("w", encoding="utf-8") as log:
        for step in range(stage.steps):
            batch = next(stream)
            if step < stage.short_until:
                batch = batch.unflatten(2, (2, -1)).transpose(1, 2).flatten(0, 1)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, stage)
            loss = loss_of(model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            done = step + 1
            if done % 50 == 0 or done == stage.steps:
                row = {"step": done, "seconds": round(time.monotonic() - started), "loss": round(loss.item(), 4)}
                with torch.no_grad():
                    row |= {name: round(loss_of(model, rows).item(), 4) for name, rows in held_out.items()}
                print(json.dumps(row), file=log, flush=True)
            if done % 250 == 0 or done == stage.steps:
                save(model, tokenizer, folder)


def main() -> None:
    """Make one of the checkpoints or both."""
    parser = argparse.ArgumentParser(description="Train the bundled demo checkpoints.")
    parser.add_argument("--shared", type=Path, required=True, help="folder with the training text")
    parser.add_argument("--output", type=Path, required=True, help="where demo-base and demo-tuned are written")
    parser.add_argument("--stage", choices=STAGES, help="only this stage; tuned starts from OUTPUT/demo-base")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order, so that a second run gives the same weights
    corpus = Corpus(arguments.shared)
    base, tuned = arguments.output / "demo-base", arguments.output / "demo-tuned"
    if arguments.stage != "tuned":
        documents = corpus.plain()
        tokenizer = train_tokenizer(documents + corpus.translations(corpus.captions, 12), base)
        model = new_model(tokenizer.eos_token_id)
        train(model, tokenizer, corpus, STAGES["base"], documents, base, whole=False)
    if arguments.stage != "base":
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = GPT2LMHeadModel.from_pretrained(base, dtype=torch.float32)
        train(model, tokenizer, corpus, STAGES["tuned"], corpus.tuning(), tuned, whole=True)


if __name__ == "__main__":
    main()
