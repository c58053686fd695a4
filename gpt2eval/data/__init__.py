"""Where rows come from: bundled samples, a directory, or the Hugging Face hub.

A Dataset lists every place one table of rows can be read from; `load` reads it from the place the
user chose and says exactly what was read. The readers turn the public file formats into rows with
the columns the hub uses, so that a task is written once.
"""

from gpt2eval.data.dataset import Dataset, Hub, Loaded, Row, listed
from gpt2eval.data.files import read_content, read_tail, read_text, read_zip
from gpt2eval.data.hub import hub_of, hub_tables
from gpt2eval.data.loading import UNKNOWN_FILE, bundled_directory, lacking, load
from gpt2eval.data.parallel import read_parallel, read_sgml
from gpt2eval.data.rows import convert_rows, filled, gold, strings
from gpt2eval.data.tables import parse_jsonl, read_csv, read_json, read_jsonl, read_lines
from gpt2eval.data.xml import read_xml

__all__ = [
    "UNKNOWN_FILE",
    "Dataset",
    "Hub",
    "Loaded",
    "Row",
    "bundled_directory",
    "convert_rows",
    "filled",
    "gold",
    "hub_of",
    "hub_tables",
    "lacking",
    "listed",
    "load",
    "parse_jsonl",
    "read_content",
    "read_csv",
    "read_json",
    "read_jsonl",
    "read_lines",
    "read_parallel",
    "read_sgml",
    "read_tail",
    "read_text",
    "read_xml",
    "read_zip",
    "strings",
]
