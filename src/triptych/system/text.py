"""Names and messages from outside, made inert for the program that shows them."""

from __future__ import annotations

import re

from triptych.errors import escape_controls

# What a spreadsheet takes for the start of a formula.
FORMULA = ("=", "+", "-", "@")


def escape_markdown(text: str) -> str:
    r"""Return a text that Markdown shows as it is, in one line: no link, picture, table cell or element.

    >>> print(escape_markdown("![a](http://b) <c>"))
    !\[a\](http://b) &lt;c>
    """
    return re.sub(r"([\\`*\[\]|])", r"\\\1", escape_controls(text)).replace("<", "&lt;")


def escape_formula(text: str) -> str:
    """Return a text that a spreadsheet does not compute: with an apostrophe before what would be a formula.

    >>> escape_formula("=1+1"), escape_formula("ants/1.jpg")
    ("'=1+1", 'ants/1.jpg')
    """
    text = escape_controls(text)
    return f"'{text}" if text.startswith(FORMULA) else text
