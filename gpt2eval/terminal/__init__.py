"""What a person sees in a terminal: progress, tables, explanations. rich does the drawing."""

from typing import Any

import rich.text

from gpt2eval.naming import visible


class Text(rich.text.Text):
    """rich's text, which lets escape sequences through; names in results may hold some."""

    def __init__(self, text: str = "", *arguments: Any, **options: Any) -> None:
        super().__init__(visible(text), *arguments, **options)
