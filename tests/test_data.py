"""Readers give back what was written, and say where a file is wrong."""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2eval import data
from gpt2eval.data import Dataset, Hub
from gpt2eval.errors import DataError

# Everything that some notion of "line" breaks at, although a benchmark file does not.
ODD = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\ufeff\u00a0\x00&<>\"'\\,; \t"
TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from(ODD), max_size=20)
LINE = TEXT.map(lambda text: text.replace("\n", "").rstrip("\r"))
ROWS = st.lists(st.fixed_dictionaries({"a": TEXT, "b": TEXT}), max_size=6)
SEGMENT = TEXT.map(lambda text: text.replace("\n", " "))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One directory for all examples of a property."""
    return tmp_path_factory.mktemp("data")


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# ---- what is written is read --------------------------------------------------------------------


@given(TEXT)
def test_text(folder: Path, text: str) -> None:
    expected = text.removeprefix("\ufeff")
    assert data.read_text(write(folder / "text.txt", text)) == expected
    assert data.read_text(write(folder / "text.gz", gzip.compress(text.encode()))) == expected


@given(st.lists(LINE, min_size=1), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_lines(folder: Path, lines: list[str], end: str, closed: bool) -> None:
    lines[-1] += "" if closed else "x"  # an open last line that is empty is none
    lines[0] = lines[0].removeprefix("\ufeff")
    path = write(folder / "lines.txt", "\ufeff" + end.join(lines) + (end if closed else ""))
    assert [row["text"] for row in data.read_lines([path])] == lines


@given(ROWS, st.booleans())
def test_jsonl(folder: Path, rows: list[dict[str, str]], ascii_only: bool) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)
    path = write(folder / "rows.jsonl", lines)
    assert list(data.read_jsonl([path], "a", "b")) == rows
    assert list(data.read_jsonl([path, path], "a")) == rows * 2


@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
def test_csv(folder: Path, rows: list[dict[str, str]], end: str, quoting: int) -> None:
    if any("\r" in value for row in rows for value in row.values()):
        quoting = csv.QUOTE_ALL  # Python's writer leaves a lone "\r" bare before 3.13
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["a", "b"], lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
        writer.writeheader()
        writer.writerows(rows)
    assert list(data.read_csv([folder / "rows.csv"], "a", "b")) == rows


def test_byte_order_mark(tmp_path: Path) -> None:
    """As spreadsheets write it: part of the encoding, not of the first column's name."""
    path = write(tmp_path / "rows.csv", "\ufeffa,b\n1,2\n")
    assert list(data.read_csv([path], "a", "b")) == [{"a": "1", "b": "2"}]
    path = write(tmp_path / "rows.jsonl", '\ufeff{"a": "x"}\n')
    assert list(data.read_jsonl([path], "a")) == [{"a": "x"}]


@given(st.lists(st.tuples(LINE.map(lambda line: line.removeprefix("\ufeff")), LINE), min_size=1))
def test_parallel(folder: Path, pairs: list[tuple[str, str]]) -> None:
    paths = [folder / "p.en.gz", folder / "p.fr.gz"]
    for place, path in enumerate(paths):
        path.write_bytes(gzip.compress("".join(f"{pair[place]}\n" for pair in pairs).encode()))
    rows = list(data.read_parallel(paths, ("en", "fr")))
    assert [(row["en"], row["fr"]) for row in rows] == pairs
    assert [row["id"] for row in rows] == [str(n) for n in range(1, len(pairs) + 1)]


def sgml(documents: dict[str, list[str]], escape: Callable[[str], str]) -> str:
    lines = ['<refset setid="test" srclang="any" trglang="en">']
    for name, segments in documents.items():
        lines.append(f'<DOC sysid="ref" docid="{name}" genre="news">\n<hl>')
        lines += [f'<seg id="{n}"> {escape(text)} </seg>' for n, text in enumerate(segments, 1)]
        lines.append("</hl>\n</DOC>")
    return "\n".join([*lines, "</refset>", ""])


def escaped(text: str) -> str:
    for character, entity in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot"), ("'", "apos")):
        text = text.replace(character, f"&{entity};")
    return text


@given(st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), st.lists(SEGMENT), min_size=1))
def test_sgml(folder: Path, documents: dict[str, list[str]]) -> None:
    path = write(folder / "s.sgm", sgml(documents, escaped))
    rows = list(data.read_sgml([path, path], ("en", "fr")))
    folded = [" ".join(text.split()) for segments in documents.values() for text in segments]
    assert [row["en"] for row in rows] == [row["fr"] for row in rows] == folded
    assert [row["id"] for row in rows] == [
        f"{name}/{n}" for name, segments in documents.items() for n in range(1, len(segments) + 1)
    ]
    assert {row["document"] for row in rows} == {name for name, segs in documents.items() if segs}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Hale & Sons", "Hale & Sons"),  # bare, as in newstest2014
        ("AT&T &amp; co", "AT&T & co"),
        ("&amp;lt;", "&lt;"),  # unescaped once
        ("a\u00a0: b\t c", "a : b c"),
        ("&eacute;", "&eacute;"),
        ("", ""),
    ],
)
def test_sgml_entities(tmp_path: Path, written: str, read: str) -> None:
    path = write(tmp_path / "s.sgm", f'<doc docid="d">\n<seg id="1">{written}</seg>\n</doc>\n')
    (row,) = data.read_sgml([path, path], ("en", "fr"))
    assert row["en"] == read


@pytest.mark.parametrize(
    "lines",
    [
        (
            "<DOC genre='news' docid='d' sysid=x>",
            "<SEG n='1' id=1>a</SEG>",
            '<seg ID = "2">b</seg>',
        ),
        ('<doc docid = "d">', "<seg>a</seg>", "<seg >b</seg >"),
        ("<doc docid=d>", '<seg id="1">a</seg><seg id="2">b</seg>'),
    ],
)
def test_sgml_written_in_other_ways(tmp_path: Path, lines: tuple[str, ...]) -> None:
    """Order and quoting of attributes and case do not matter; without ids, segments are counted."""
    path = write(tmp_path / "s.sgm", "\n".join(lines))
    rows = list(data.read_sgml([path, path], ("en", "fr")))
    assert [(row["id"], row["en"]) for row in rows] == [("d/1", "a"), ("d/2", "b")]


# ---- what is wrong with a file ------------------------------------------------------------------

JSONL_ERRORS = [
    ('{"a": "x"}\n{"a": \n', r"rows\.jsonl, line 2: not valid JSON"),
    ('{"a": "x"}\n\n["a"]\n', r"rows\.jsonl, line 3: holds a JSON list; expected an object"),
    ('{"a": "x"}\n{"b": "x"}\n', r"line 2: column 'a' is missing; expected a, found b"),
    ('{"a": 3}\n', r"line 1: column 'a' holds 3; expected a string"),
    ('{"a": null}\n', r"line 1: column 'a' is missing"),
    ("{}\n", r"line 1: column 'a' is missing; expected a, found none"),
    ("[" * 100_000 + "\n", r"line 1: not valid JSON"),
    ('{"a": "\\ud83d"}\n', r"line 1: column 'a' holds half a surrogate pair"),
]


@pytest.mark.parametrize(("content", "message"), JSONL_ERRORS)
def test_bad_jsonl(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "rows.jsonl", content)
    with pytest.raises(DataError, match=message):
        list(data.read_jsonl([path], "a"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a,b\n1,2\n3\n",
            r"rows\.csv, line 3: column 'b' is missing; expected a and b, found a, b",
        ),
        ("x,y\n1,2\n", r"line 2: column 'a' is missing; expected a and b, found x, y"),
        ("a,b\n1,2\n3,4, five\n", r"line 3: more fields than the header's 2; .* quotes"),
        ('a,b\n1,"2\n3,4\n', r"rows\.csv, line \d: not valid CSV \(unexpected end of data"),
        ('a,b\n1,"2"3\n', r"rows\.csv, line 2: not valid CSV"),
    ],
)
def test_bad_csv(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "rows.csv", content)
    with pytest.raises(DataError, match=message):
        list(data.read_csv([path], "a", "b"))


def test_csv_field_of_a_million_letters(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.csv", f"a\n{'x' * 1_000_000}\n")
    assert [len(row["a"]) for row in data.read_csv([path], "a")] == [1_000_000]


@pytest.mark.parametrize("name", ["x.txt", "x.gz"])
def test_not_utf8(tmp_path: Path, name: str) -> None:
    content = "un\ndeux\ntrois\u00e9\n".encode("latin-1")
    path = write(tmp_path / name, gzip.compress(content) if name == "x.gz" else content)
    with pytest.raises(DataError, match=rf"{name}, line 3: byte 0xe9 is not UTF-8; .*iconv"):
        data.read_text(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"plain text",
        lambda content: content[:-9],
        lambda content: content[:20],
        lambda content: content[:15] + bytes([content[15] ^ 0xFF]) + content[16:],
        lambda content: content[:-6] + b"\0\0" + content[-4:],
        lambda content: b"\x1f\x8b\x08\x00" + b"\xff" * 40,
    ],
)
def test_bad_gzip(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = write(tmp_path / "x.gz", damage(gzip.compress(bytes(range(65, 91)) * 20)))
    with pytest.raises(DataError, match=r"x\.gz(, line 1: | cannot be read: )"):
        data.read_text(path)


@given(drawn=st.data())
def test_any_damage_to_gzip(folder: Path, drawn: st.DataObject) -> None:
    """The text or a DataError, never anything else."""
    content = bytearray(gzip.compress(b"The keeper counted the ships.\n" * 5))
    for _ in range(3):
        content[drawn.draw(st.integers(0, len(content) - 1))] = drawn.draw(st.integers(0, 255))
    try:
        assert isinstance(data.read_text(write(folder / "damaged.gz", bytes(content))), str)
    except DataError:
        return


def test_gzip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MAX_UNPACKED", 1000)
    path = write(tmp_path / "x.gz", gzip.compress(b"0" * 1001))
    with pytest.raises(DataError, match=r"unpacks to more than 1000 bytes"):
        data.read_text(path)
    assert len(data.read_text(write(path, gzip.compress(b"0" * 1000)))) == 1000


def test_lengths_that_differ(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.en", "1\n2\n3\n"), write(tmp_path / "a.fr", "1\n2\n")]
    with pytest.raises(DataError, match=r"a\.en has 3 lines, .*a\.fr has 2; expected as many"):
        list(data.read_parallel(paths, ("en", "fr")))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"d": ["a", "b"]}, {"d": ["a"]}, r"has 2 segments, .* has 1"),
        ({"d": ["a"]}, {"e": ["a"]}, r"not aligned: .*\('d', '1'\) against \('e', '1'\)"),
    ],
)
def test_sgml_that_does_not_align(
    tmp_path: Path, first: dict[str, list[str]], second: dict[str, list[str]], message: str
) -> None:
    paths = [
        write(tmp_path / "a.sgm", sgml(first, escaped)),
        write(tmp_path / "b.sgm", sgml(second, escaped)),
    ]
    with pytest.raises(DataError, match=message):
        list(data.read_sgml(paths, ("en", "fr")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '<doc docid="d">\n<seg id="1">a</seg>\n<seg id="1">b</seg>\n',
            r"s\.sgm, line 3: document 'd' has two segments '1'; expected each once",
        ),
        # Dropped on both sides, it would go unnoticed.
        ('<doc docid="d">\n<seg id="1">a\nb</seg>\n', r"s\.sgm, line 2: a segment without an end"),
        ('<doc docid="d">\n<seg>a</seg>\n<seg id="1">b</seg>\n', r"two segments '1'"),
    ],
)
def test_bad_sgml(tmp_path: Path, content: str, message: str) -> None:
    path = write(tmp_path / "s.sgm", content)
    with pytest.raises(DataError, match=message):
        list(data.read_sgml([path, path], ("en", "fr")))


# ---- load ---------------------------------------------------------------------------------------

CONTENT = "one\ntwo\n"
DIGEST = hashlib.sha256(CONTENT.encode()).hexdigest()


def dataset(*files: tuple[str, ...], **more: Any) -> Dataset:
    return Dataset(files=files or (("set/a.txt",),), read=data.read_lines, **more)


def test_rows_and_provenance(tmp_path: Path) -> None:
    write(tmp_path / "set/a.txt", CONTENT)
    loaded = data.load(dataset(), tmp_path)
    assert loaded.rows == ({"text": "one"}, {"text": "two"})
    assert loaded.provenance == {
        "source": "directory",
        "files": {"set/a.txt": DIGEST},
        "sha256": DIGEST,
        "verdict": "no digest on record",
    }


@pytest.mark.parametrize(
    ("known", "verdict"),
    [
        ({DIGEST: "the official file"}, "the official file"),
        ({"0" * 64: "the official file"}, "unknown file: its sha256 is not on record"),
    ],
)
def test_verdict(tmp_path: Path, known: dict[str, str], verdict: str) -> None:
    write(tmp_path / "set/a.txt", CONTENT)
    assert data.load(dataset(known=known), tmp_path).provenance["verdict"] == verdict


def test_verdict_needs_every_file(tmp_path: Path) -> None:
    write(tmp_path / "a", CONTENT)
    write(tmp_path / "b", "other\n")
    known = {DIGEST: "the official file"}
    loaded = data.load(dataset(("a", "b"), known=known), tmp_path)
    assert loaded.provenance["verdict"].startswith("unknown file")
    assert loaded.provenance["sha256"] not in loaded.provenance["files"].values()


def test_bundled_data_are_no_benchmark() -> None:
    """Even a bundled file whose digest is known."""
    files = (("lambada/lambada_test.jsonl",),)
    path = data.bundled_directory() / files[0][0]
    known = {hashlib.sha256(path.read_bytes()).hexdigest(): "official"}
    loaded = data.load(dataset(*files, known=known), "bundled")
    assert loaded.provenance["verdict"] == "sample texts of gpt2eval"
    assert loaded.provenance["source"] == "bundled"


def test_best_alternative_first(tmp_path: Path) -> None:
    table = dataset(("a", "b"), ("c",))
    write(tmp_path / "a", "a\n")
    write(tmp_path / "c", "c\n")
    assert list(data.load(table, tmp_path).provenance["files"]) == ["c"]
    write(tmp_path / "b", "b\n")
    assert list(data.load(table, tmp_path).provenance["files"]) == ["a", "b"]


def test_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a", "a\n")
    with pytest.raises(DataError, match=r"lacks b \(or c \+ d\); put the file there"):
        data.load(dataset(("a", "b"), ("c", "d")), tmp_path)


def test_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere' does not exist; expected .*set/a\.txt"):
        data.load(dataset(), tmp_path / "nowhere")


def test_file_for_a_directory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.txt' is a file; expected a directory with set/a\.txt"):
        data.load(dataset(), write(tmp_path / "a.txt", CONTENT))


def test_empty_file(tmp_path: Path) -> None:
    write(tmp_path / "set/a.txt", "")
    with pytest.raises(DataError, match=r"a\.txt holds no rows; expected at least one"):
        data.load(dataset(), tmp_path)


def test_no_hub() -> None:
    with pytest.raises(DataError, match=r"set/a\.txt is not on the hub.*--data"):
        data.load(dataset(), "hub")


def test_hub_without_network() -> None:
    with pytest.raises(DataError, match=r"no-such/set.*\n.*hf download.*\n.*--data DIR") as caught:
        data.load(dataset(hub=Hub("no-such/set", "plain")), "hub", offline=True)
    assert "no-such/set (plain), split test" in str(caught.value)


# ---- packed and marked-up files, rows in another form -------------------------------------------


def test_bz2_is_unpacked_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.bz2"
    path.write_bytes(bz2.compress("zwölf".encode()))
    assert data.read_text(path) == "zwölf"
    monkeypatch.setattr(data, "MAX_UNPACKED", 5)
    with pytest.raises(DataError, match=r"a\.bz2 unpacks to more than 5 bytes"):
        data.read_text(path)
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"a\.bz2 cannot be read"):
        data.read_text(path)


def archive(path: Path, **files: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name.replace("__", "/").replace("dot", "."), content)
    return path


def test_zip_gives_the_files_that_are_asked_for(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", data__bdotjsonl=b"1", data__adottxt=b"2", cdotjsonl=b"3")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("__MACOSX/data/._b.jsonl", b"\xff")
    assert list(data.read_zip(path, ".jsonl")) == [("data/b.jsonl", "1"), ("c.jsonl", "3")]


def test_zip_is_bounded_over_all_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "a.zip", adottxt=b"x" * 60, bdottxt=b"x" * 60)
    monkeypatch.setattr(data, "MAX_UNPACKED", 120)
    assert len(list(data.read_zip(path, ".txt"))) == 2
    monkeypatch.setattr(data, "MAX_UNPACKED", 119)
    with pytest.raises(DataError, match=r"a\.zip unpacks to more than 119 bytes"):
        list(data.read_zip(path, ".txt"))


def test_zip_that_is_damaged_or_not_utf8(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", adottxt=b"good\n\xff")
    with pytest.raises(DataError, match=r"a\.zip, a\.txt, line 2: byte 0xff is not UTF-8"):
        list(data.read_zip(path, ".txt"))
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"a\.zip cannot be read"):
        list(data.read_zip(path, ".txt"))


def test_xml_in_the_encoding_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE a SYSTEM "a.dtd">\n'
        '<a><b c="d">Zoë &amp; &#233;</b></a>'.encode("latin-1")
    )
    (child,) = data.read_xml(path)
    assert (child.tag, child.attrib, child.text) == ("b", {"c": "d"}, "Zoë & é")


@pytest.mark.parametrize(
    "content",
    [
        '<!DOCTYPE a [<!ENTITY e "text">]><a>&e;</a>',
        '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
        '<!DOCTYPE a [<!ENTITY % e SYSTEM "http://localhost/e"> %e;]><a/>',
        '<!DOCTYPE a SYSTEM "a.dtd"><a>&e;</a>',
        '<!DOCTYPE a [<!ENTITY l "ha"><!ENTITY m "&l;&l;&l;&l;">]><a>&m;</a>',
    ],
)
def test_xml_with_entities_of_its_own_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(content, "utf-8")
    with pytest.raises(DataError, match=r"a\.xml, line 1: entity '[elm]'; expected XML without"):
        data.read_xml(path)


@pytest.mark.parametrize(
    "content",
    [
        *("", "<a>", "<a></b>", "<a>&e;</a>", "text"),
        '<?xml version="1.0" encoding="none-such"?><a/>',
        '<?xml version="1.0" encoding="rot13"?><a/>',
    ],
)
def test_xml_that_is_not_well_formed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(content, "utf-8")
    with pytest.raises(DataError, match=r"a\.xml: not well-formed XML"):
        data.read_xml(path)


def test_csv_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('"1","a, b"\n"2","c"\n', "utf-8")
    rows = list(data.read_csv([path], "n", "text", header=False))
    assert rows == [{"n": "1", "text": "a, b"}, {"n": "2", "text": "c"}]
    path.write_text('"1"\n', "utf-8")
    with pytest.raises(DataError, match=r"line 1: column 'text' is missing"):
        list(data.read_csv([path], "n", "text", header=False))


@pytest.mark.parametrize(
    ("value", "first", "index"), [(0, 0, 0), ("2", 0, 2), (1, 1, 0), (" 3 ", 1, 2)]
)
def test_gold_label(value: object, first: int, index: int) -> None:
    assert data.gold(value, 3, first) == index


@pytest.mark.parametrize("value", [3, -1, "-1", "", "a", None, 1.0, True, "1.0", "²", [1]])
def test_gold_label_that_is_none(value: object) -> None:
    message = f"gold label {re.escape(repr(value))}; expected a whole number from 0 to 2"
    with pytest.raises(DataError, match=message):
        data.gold(value, 3)


def test_rows_that_cannot_be_converted_are_named() -> None:
    def convert(row: data.Row) -> data.Row:
        return {"x": data.gold(row["x"], 2)}

    rows = [{"x": 1}, {"x": 2}]
    with pytest.raises(DataError, match=r"file\.txt, row 2: gold label 2; expected"):
        list(data.convert_rows(rows, convert, "file.txt"))
    with pytest.raises(DataError, match=r"file\.txt, row 1: .*KeyError\('x'\)\); found columns: y"):
        list(data.convert_rows([{"y": 1}], convert, "file.txt"))


def test_hub_reads_as_text() -> None:
    assert str(data.Hub("o/n")) == "o/n"
    assert str(data.Hub("o/n", "c")) == "o/n (c)"
    assert str(data.Hub("o/n", ("c", "d", "e"))) == "o/n (c and 2 more)"
    assert data.Hub("o/n").configs == (None,)


def test_hub_rows_of_several_configurations(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, each converted, the bad one named."""
    import datasets

    asked = []

    def load_dataset(id: str, name: str, **options: Any) -> Any:
        asked.append((id, name, options["split"]))
        return datasets.Dataset.from_list([{"n": f"{name}1"}, {"n": f"{name}2"}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    hub = Hub("o/n", ("a", "b"), "train", lambda row: {"N": row["n"].upper()})
    loaded = data.load(dataset(hub=hub), "hub", offline=True)
    assert asked == [("o/n", "a", "train"), ("o/n", "b", "train")]
    assert [row["N"] for row in loaded.rows] == ["A1", "A2", "B1", "B2"]
    assert loaded.provenance["config"] == ("a", "b")
    bad = Hub("o/n", "a", "train", lambda row: {"N": data.gold(row["n"][1], 2)})
    with pytest.raises(DataError, match=r"data set o/n \(a\), split train, row 2: gold label '2'"):
        data.load(dataset(hub=bad), "hub", offline=True)


def test_branch_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch is what is asked for, and the commit it stands at is what is recorded."""
    import datasets
    import huggingface_hub

    asked: dict[str, Any] = {}

    class Info:
        sha = "c0ffee"

    class Api:
        def dataset_info(self, name: str, *, revision: str | None, timeout: int) -> Info:
            asked["info"] = (name, revision)
            return Info()

    def load_dataset(name: str, config: str | None, *, revision: str, **_: Any) -> list[Any]:
        asked["rows"] = (name, config, revision)
        return [{"sentence": "a b"}]

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    hub = Hub("some/set", "plain", branch="refs/convert/parquet")
    loaded = data.load(dataset(hub=hub), "hub")
    assert asked["info"] == ("some/set", "refs/convert/parquet")
    assert asked["rows"] == ("some/set", "plain", "c0ffee")
    assert loaded.provenance["revision"] == "c0ffee"
    data.load(dataset(hub=hub), "hub", offline=True)
    assert asked["rows"] == ("some/set", "plain", "refs/convert/parquet")


@pytest.mark.parametrize("value", [[], "text", None, [1], ["a", None]])
def test_lists_of_strings(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"a": "x", "b": value}))
    with pytest.raises(DataError, match=r"line 1: column 'b' is .*; expected a list of one string"):
        list(data.read_jsonl([path], "a", lists=["b"]))


def test_json_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text("{}")
    assert data.read_json(path, kind=dict) == {}
    with pytest.raises(DataError, match=r"rows\.json: holds a JSON dict; expected a list"):
        data.read_json(path, kind=list)
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="not valid JSON"):
        data.read_json(path, kind=list)
