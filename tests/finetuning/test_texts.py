"""Training files: what is read of them, and what is said of those that cannot be used."""

import json
from pathlib import Path

import pytest

from gpt2eval.errors import DataError, UsageError
from gpt2eval.finetuning.options import FinetuneOptions
from gpt2eval.finetuning.texts import read_examples, training_files
from gpt2eval.naming import unescaped


def options(**more):
    return FinetuneOptions(model="demo-base", train=("x",), output="y", **more)


def read(path, **more):
    return [
        (example.prompt, example.completion, example.text)
        for example in read_examples([path], options(**more))
    ]


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_text_file_is_one_text(tmp_path):
    path = tmp_path / "book.txt"
    path.write_text("One.\n\nTwo {three}.\n", encoding="utf-8")
    assert read(path) == [("", "One.\n\nTwo {three}.\n", True)]


def test_the_form_of_the_first_line_says_what_is_learned(tmp_path):
    pairs = lines(
        tmp_path / "a.jsonl", {"prompt": "Q", "completion": " A"}, {"prompt": "", "completion": "B"}
    )
    assert read(pairs) == [("Q", " A", False), ("", "B", False)]
    texts = lines(tmp_path / "b.jsonl", {"text": "One"}, {"text": "Two", "id": 7})
    assert read(texts) == [("", "One", True), ("", "Two", True)]


def test_templates_put_fields_in_as_they_are(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"question": "1 {x} 2?", "answer": 3})
    given = {"prompt": r"Q: {question}\nA{{}}:", "completion": " {answer}"}
    assert read(path, **given) == [("Q: 1 {x} 2?\nA{}:", " 3", False)]


def test_escapes_of_a_command_line():
    assert unescaped(r"a\nb\tc\\nd\x") == "a\nb\tc\\nd\\x"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ('{"prompt": "a", "completion": " b"}\n{"prompt": "c"\n', "line 2: not valid JSON"),
        ('{"prompt": "a", "completion": " b"}\n["c"]\n', "line 2: holds a JSON list"),
        ('{"prompt": "a", "completion": " b"}\n\n{"prompt": "c"}\n', "line 3: field 'completion'"),
        ('{"question": "a"}\n', "line 1: expected the fields prompt and completion, or text"),
        ('{"prompt": "a", "completion": ""}\n', "line 1: the completion is empty"),
        ('{"prompt": ["a"], "completion": "b"}\n', r"line 1: field 'prompt' holds \[\"a\"\]"),
        ('{"prompt": "\\ud800", "completion": "b"}\n', "half a surrogate pair"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(tmp_path, content, message):
    path = tmp_path / "train.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read(path)


def test_a_template_with_a_field_that_is_missing(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"question": "a", "answer": "b"}, {"question": "c"})
    with pytest.raises(DataError, match="line 2: field 'answer' is missing; found question"):
        read(path, prompt="{question}", completion="{answer}")


@pytest.mark.parametrize("template", ["{a.__class__}", "{a[0]}", "{a!r}", "{a:>9}", "{", "{}"])
def test_a_template_has_plain_fields_only(tmp_path, template):
    path = lines(tmp_path / "a.jsonl", {"a": "b"})
    with pytest.raises(UsageError, match=r"expected text with \{field\} in it"):
        read(path, completion=template)


def test_files_are_named_by_path_or_glob(tmp_path):
    for name in ("b.txt", "a.txt", "c.jsonl"):
        (tmp_path / name).write_text("x")
    named = [str(tmp_path / "c.jsonl"), str(tmp_path / "*.txt"), str(tmp_path / "a.txt")]
    assert [path.name for path in training_files(named)] == ["c.jsonl", "a.txt", "b.txt"]
    with pytest.raises(DataError, match="matches no file"):
        training_files([str(tmp_path / "*.md")])
    with pytest.raises(DataError, match="does not exist"):
        training_files([str(tmp_path / "d.txt")])
    with pytest.raises(DataError, match="is a directory; name its files"):
        training_files([str(tmp_path)])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "--steps 0: expected a whole number of at least 1"),
        ({"steps": 3, "epochs": 1.0}, "exclude each other"),
        ({"learning_rate": float("nan")}, "--learning-rate nan"),
        ({"prompt": "{a}"}, "needs a --completion-template"),
        ({"patience": 2}, "--patience 2 needs an --eval-task"),
        ({"no_merge": True}, "--no-merge needs --lora RANK"),
        ({"device": "cuda:1"}, "--device 'cuda:1': expected auto or cpu"),
        ({"warmup": -1.0}, "--warmup -1.0"),
        ({"schedule": "cosin"}, "--schedule 'cosin': expected one of linear, cosine"),
    ],
)
def test_values_out_of_range(given, message):
    with pytest.raises(UsageError, match=message):
        options(**given)
