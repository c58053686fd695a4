"""XML from strangers."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from gpt2eval.data.files import read_content
from gpt2eval.errors import DataError


def read_xml(path: Path) -> Element:
    """The root of an XML file, in whatever encoding it declares.

    Benchmark files need no entities of their own, and those can make a small file huge or read
    another one: a file that declares or uses one is refused. A document type that only names a DTD
    is passed over; the DTD is not read.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(name: str, *_more: object) -> None:
        line = parser.CurrentLineNumber
        raise DataError(f"{path}, line {line}: entity {name!r}; expected XML without own entities")

    parser.EntityDeclHandler = refuse
    parser.SkippedEntityHandler = refuse
    try:
        parser.Parse(read_content(path), True)
    except (expat.ExpatError, LookupError, TypeError, ValueError) as error:  # unknown encodings too
        raise DataError(f"{path}: not well-formed XML ({error})") from error
    return builder.close()
