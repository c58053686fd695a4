"""A tiny data directory in the layout of the real one, for tests that must not need a download.

All sentences are our own. Every file has the features of the real file that have broken readers:
curly quotes, line breaks inside a passage, double spaces, a target after a line break, passages
longer than a small model or of one word, a formula that looks like a heading, a Unicode line
separator, a bare "&" in SGML.
"""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

PAGES = (
    (
        " = Harbour of Saltmere = ",
        " ",
        " The Harbour of Saltmere is a small fishing harbour on the west coast , built in 1893 by "
        "the engineer Ada Thorne . It is 4 @.@ 5 metres deep and can hold 1 @,@ 200 boats . ",
        " ",
        " = = History = = ",
        " ",
        ' The first pier was a wooden one ; it burned down in a storm @-@ driven fire . " We will '
        "build it again , and we will build it of stone , \" Thorne 's brother wrote ( in a letter "
        "to the town council ) . The players ' club paid for the light . ",
        " ",
        " = = = The light = = = ",
        " ",
        " The light can be seen from 20 miles away , and it has been lit every night since . ",
        " ",
    ),
    (
        " = Zürich weather bell = ",
        " ",
        " The weather bell of Zürich [ sic ] rang whenever the temperature fell below 0 ° C ; its "
        "keeper , Günther Öztürk , was paid 3 francs a day . It was melted in 1917 . ",
        " = 2 volts and a current I = ",
        " 4 amperes were measured when the bell was tied to a battery in 1911 . Was it a joke ? No "
        "one knows ! ",
        " ",
    ),
    (
        " = Lark ( board game ) = ",
        " ",
        " Lark is a board game for two , played with 24 stones : twelve white and twelve black . "
        "The winner is the player who first has no stone left . In 1972 the Lark Society had 310 "
        "members in 12 countries ; in 1990 it had 45 . ",
        " ",
        " = = Rules = = ",
        " ",
        " A stone moves one field forwards , never back . A stone that has reached the last row is "
        "a lark , and may fly . The rules are printed on the back of the board , where they can be "
        "read by both players at any time , and they have not been changed since 1931 . ",
        " ",
    ),
)

RARE_WORDS = ("Saltmere", "Thorne", "Günther", "Öztürk", "Lark")

LAMBADA = (
    "The keeper took the heavy key from its hook and went down the stairs. At the door he stopped, "
    "listened to the sea, and then, very slowly, he turned the key",
    "“Did you bring the lantern?” she asked.\n\n“No,” he said. “I thought you’d bring it.” They "
    "stood in the dark and laughed, and neither of them had a lantern",
    "'You never told me about your brother,' said Ines.\n\nTom looked at his hands. 'There is not "
    "much to tell. He went to sea when I was nine, and we had one letter.' He smiled. 'I have it "
    "still. I can read it to you, if you want to hear the letter",
    "Three stones were left on the board, two white and one black. He had played this game with "
    "his father every winter, and he knew that nobody ever won with one black  stone",
    "She opened the box, and there it was, wrapped in newspaper: the small glass ship.\n\nShip",
    "He had looked for the dog all morning, in the garden, in the lane and behind the church. When "
    "he came home it lay on the step, wet and happy.\n dog",
    "At the café on the corner they had two cups of coffee, as they did every Sunday, and then she "
    "said that she would not come again, because they were going to close the café",
    "The boat was called Ann. " * 24 + "When the storm was over, nobody in the town could find Ann",
    "It wasn't the first time that the bell had rung by itself, and the people of the village "
    "no longer came out of their houses; it would stop, they said, and it did, the old bell",
    "My grandmother kept bees. She said that you must tell them everything: who was born, who was "
    "married, who had died. When she died I went out and told the bees",
    "She asked him about the key twice, and twice he said that he did not know what it was for",
    "Goodbye",
)

LAMBADA_PLAIN = (
    "the keeper took the heavy key from its hook and went down the stairs . at the door he stopped "
    ", listened to the sea , and then , very slowly , he turned the key",
    "`` did you bring the lantern ? '' she asked . `` no , '' he said . `` i thought you 'd bring "
    "it . '' they stood in the dark and laughed , and neither of them had a lantern",
    "three stones were left on the board , two white and one black . he had played this game with "
    "his father every winter , and he knew that nobody ever won with one black stone",
    "the boat was called ann . " * 24 + "when the storm was over , nobody in the town could find "
    "ann",
    "it was n't the first time that the bell had rung by itself , and the people of the village no "
    "longer came out of their houses ; it would stop , they said , and it did , the old bell",
    "my grandmother kept bees . she said that you must tell them everything : who was born , who "
    "was married , who had died . when she died i went out and told the bees",
)

ARTICLES = (
    (
        "(Saltmere) The town council of Saltmere voted on Tuesday to repair the old pier. The work "
        'will begin in May and will cost 1.2 million pounds. "It is about time," said the mayor, '
        "Mr. J. Hale. The pier has been closed since a storm broke its last ten metres.",
        "The council of Saltmere voted to repair the pier .\nThe pier has been closed since a "
        "storm .",
    ),
    (
        "By . Mary Quill . A dog that was lost for three years has come home.  Pip, a brown "
        "terrier, walked into the kitchen of the Adams family on Sunday morning.\n\n"
        "“We didn’t believe it,” said Ruth Adams.\u2028“He went straight to his bowl.”",
        "Pip the terrier was lost for three years .\nThe dog walked into the kitchen of the Adams "
        "family on Sunday .\nRuth Adams: 'We didn't believe it'",
    ),
    (
        "The Lark Society will meet for the last time. " * 30 + "Only nine members are left, and "
        "the youngest of them is 71. The board games will go to the museum of the town.",
        "The Lark Society meets for the last time .\nIts board games go to the museum .",
    ),
    (
        "A bell that rang by itself has been explained, after more than a hundred years. The cause "
        "was a family of owls: they slept in the tower, and pulled the rope when they left at "
        "night. Was anybody afraid? No!",
        "The bell rang by itself because of owls in the tower .",
    ),
)

PAIRS = (
    ("A man is reading a book in a garden.", "Un homme lit un livre dans un jardin."),
    ("Two girls are running along the beach.", "Deux filles courent le long de la plage."),
    ("The dog is asleep under the table.", "Le chien dort sous la table."),
    ("A woman in a red coat is waiting for the bus.", "Une femme en manteau rouge attend le bus."),
    ("Did the children see the boat?", "Les enfants ont-ils vu le bateau\u00a0?"),
    ("The café has been closed since last summer.", "Le café est fermé depuis l'été dernier."),
    (
        'The mayor said: "It is about time," and left.',
        "Le maire a dit\u00a0: «\u00a0Il est temps\u00a0», puis il est parti.",
    ),
    ("Hale & Sons sell stone to three towns.", "Hale & Fils vendent des pierres à trois villes."),
    ("Three old men are playing a game.", "Trois vieux hommes jouent à un jeu."),
)


def wiki_text(*, long: bool = False) -> str:
    """The pages as in wiki.test.raw: a blank line before the first, each line ends in a space.

    long: with a page for each passage and article, several thousand tokens in all.
    """
    others = [article for article, _ in ARTICLES] + list(LAMBADA) if long else []
    added = [
        (f" = Page {number} = ", *(f" {line} " if line else " " for line in text.split("\n")))
        for number, text in enumerate(others)
    ]
    return " \n" + "".join(line + "\n" for page in [*PAGES, *added] for line in (*page, " "))


def write_data(directory: Path, *, long: bool = False) -> Path:
    """Fill a directory with all files that the tasks read."""
    directory = Path(directory)
    raw = wiki_text(long=long)
    closed = " ".join("<unk>" if word in RARE_WORDS else word for word in raw.split(" "))
    write(directory / "wikitext2/wiki.test.raw", raw)
    write(directory / "wikitext2/wiki.test.tokens", closed)
    write_jsonl(directory / "lambada/lambada_test.jsonl", [{"text": text} for text in LAMBADA])
    write(
        directory / "lambada/lambada_test_plain_text.txt",
        "".join(line + "\n" for line in LAMBADA_PLAIN),
    )
    write_cnn_dm(directory / "cnn_dm/test.csv")
    write_jsonl(
        directory / "xsum/xsum_test.jsonl",
        [
            {"document": article, "summary": summary.split("\n")[0], "id": str(20_000_000 + place)}
            for place, (article, summary) in enumerate(ARTICLES)
        ],
    )
    for kind, tag in (("src", "srcset"), ("ref", "refset")):
        for language, place in (("en", 0), ("fr", 1)):
            write(
                directory / f"wmt14/newstest2014-fren-{kind}.{language}.sgm",
                sgm([pair[place] for pair in PAIRS], tag, language),
            )
    for language, place in (("en", 0), ("fr", 1)):
        path = directory / f"multi30k/test_2016_flickr.{language}.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(pair[place] + "\n" for pair in PAIRS)
        path.write_bytes(gzip.compress(lines.encode(), mtime=0))
    return directory


def write(path: Path, text: str) -> None:
    """Write text as it is: UTF-8, no translation of line ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def write_jsonl(path: Path, rows: list[dict[str, str]]) -> None:
    """One JSON object a line."""
    write(path, "".join(json.dumps(row) + "\n" for row in rows))


def write_cnn_dm(path: Path) -> None:
    """article, highlights, id; quoted where needed, line breaks inside the fields."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["article", "highlights", "id"])
        for place, (article, highlights) in enumerate(ARTICLES):
            writer.writerow([article, highlights, f"{place:040x}"])


def sgm(sentences: list[str], tag: str, language: str) -> str:
    """The segments of a WMT test set, in two documents that number their segments from 1."""
    source = 'srclang="any"' if tag == "srcset" else f'trglang="{language}" srclang="any"'
    half = len(sentences) // 2
    lines = [f'<{tag} setid="newstest2014" {source}>']
    for name, part in (("1-toy", sentences[:half]), ("2-toy", sentences[half:])):
        lines.append(f'<doc docid="{name}" genre="news" origlang="{language}">')
        lines += [f'<seg id="{place}">{text}</seg>' for place, text in enumerate(part, 1)]
        lines.append("</doc>")
    return "\n".join([*lines, f"</{tag}>", ""])


def training_text() -> list[str]:
    """What a small test model learns by heart, so that its output has words in it."""
    wiki = wiki_text()
    summaries = [f"{article}\nTL;DR: {summary}" for article, summary in ARTICLES]
    pairs = [f"{a} = {b}\n{b} = {a}" for a, b in PAIRS]
    return [wiki, *LAMBADA, *LAMBADA_PLAIN, *summaries, *pairs]
