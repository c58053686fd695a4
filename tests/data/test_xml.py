"""XML, and what strangers put into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpt2eval import data
from gpt2eval.errors import DataError


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
