from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval.errors import TaskError
from gpt2eval.metrics import first_sentence, first_sentences, split_sentences, text_of
from tests.metrics.answers import generated, scored

SPLITS = [
    ("He left. She stayed.", ["He left.", "She stayed."]),
    ("Why? Because! And so… Well.", ["Why?", "Because!", "And so…", "Well."]),
    ("Really?! Yes.", ["Really?!", "Yes."]),
    ("One line\nand another.\n\n\nThird", ["One line", "and another.", "Third"]),
    ("No end", ["No end"]),
    ("", []),
    (" \n ", []),
    ("... And then it rained.", ["...", "And then it rained."]),
    # the next word decides
    ("Yahoo! said so. Google did not.", ["Yahoo! said so.", "Google did not."]),
    ("Well... no. Never.", ["Well... no.", "Never."]),
    # quotes and brackets
    ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
    ('"Stop!" he said. "Why?" She ran.', ['"Stop!" he said.', '"Why?"', "She ran."]),
    ("It rained. “So what?” Nobody knew.", ["It rained.", "“So what?”", "Nobody knew."]),
    ("It rained. (It often does.) We left.", ["It rained.", "(It often does.)", "We left."]),
    ("Il dit « Oui. » Elle rit !", ["Il dit « Oui. »", "Elle rit !"]),
    ("Il dit : « Oui.\u00a0»", ["Il dit : « Oui.\u00a0»"]),
    (
        "«\u00a0Pourquoi\u00a0?\u00a0», dit-il. Rien.",
        ["«\u00a0Pourquoi\u00a0?\u00a0», dit-il.", "Rien."],
    ),
    ("Bonjour ! Comment ça va ? Bien.", ["Bonjour !", "Comment ça va ?", "Bien."]),
    # numbers
    (
        "It cost 3.5 million. Or 4.5. Police smiled.",
        ["It cost 3.5 million.", "Or 4.5.", "Police smiled."],
    ),
    ("1. Open the door. 2. Close it.", ["1. Open the door.", "2. Close it."]),
    ("It happened in 1984. Nobody cared.", ["It happened in 1984.", "Nobody cared."]),
    (
        "See No. 5 and vol. 2. No. She did not.",
        ["See No. 5 and vol. 2.", "No.", "She did not."],
    ),
    (
        "He came on Jan. 5. He left in Feb. Nobody saw.",
        ["He came on Jan. 5.", "He left in Feb.", "Nobody saw."],
    ),
    # titles, initials, short forms
    (
        "Mr. Smith met Dr. No. They spoke, e.g. French.",
        ["Mr. Smith met Dr. No.", "They spoke, e.g. French."],
    ),
    ("J. R. R. Tolkien and George W. Bush met.", ["J. R. R. Tolkien and George W. Bush met."]),
    ("A. A. Milne wrote it. I read it.", ["A. A. Milne wrote it.", "I read it."]),
    ("So did I. She left.", ["So did I.", "She left."]),
    ("M. Dupont est là. Il attend.", ["M. Dupont est là.", "Il attend."]),
    (
        "The U.S. Army left the U.S. The war was over.",
        ["The U.S. Army left the U.S.", "The war was over."],
    ),
    (
        "At 5 p.m. Monday he met Acme Inc. He sold.",
        ["At 5 p.m. Monday he met Acme Inc.", "He sold."],
    ),
    ("(Ph.D. Jones is in.) Good.", ["(Ph.D. Jones is in.)", "Good."]),
    ("(CNN)U.S. President Obama spoke.", ["(CNN)U.S. President Obama spoke."]),
    ("From mid-Jan. 3 to 4. It was 5.", ["From mid-Jan. 3 to 4.", "It was 5."]),
    # no white space, no boundary
    ("See www.example.com.Then go.", ["See www.example.com.Then go."]),
]


@pytest.mark.parametrize(("text", "sentences"), SPLITS)
def test_split_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(st.text(alphabet='ab A.!?…\n"»(1’', max_size=40))
def test_splitting_only_moves_white_space(text: str) -> None:
    sentences = split_sentences(text)
    assert "".join("".join(sentences).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() != "" for sentence in sentences)


def test_first_sentences_stand_one_a_line() -> None:
    assert first_sentences("One. Two.\nThree! Four?", 3) == "One.\nTwo.\nThree!"
    assert first_sentences("One.", 3) == "One."
    assert first_sentences("", 3) == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (" Le chat dort. Il rêve.", "Le chat dort."),
        (" Le chat dort\nThe dog = le chien", "Le chat dort"),
        ("\nThe dog = le chien", ""),
        ("", ""),
        ("Il a dit oui !\r\nEt puis non", "Il a dit oui !"),
    ],
)
def test_first_sentence(text: str, sentence: str) -> None:
    assert first_sentence(text) == sentence


def test_text_of_reads_the_prediction() -> None:
    assert text_of([generated("scored")]) == "scored"


@pytest.mark.parametrize("responses", [[], [scored([-1.0])], [generated("a"), generated("b")]])
def test_text_of_wants_one_generation(responses: list[object]) -> None:
    with pytest.raises(TaskError, match="one Generate request"):
        text_of(responses)  # type: ignore[arg-type]
