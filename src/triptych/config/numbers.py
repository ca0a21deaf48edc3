"""YAML whose numbers are those that people expect."""

from __future__ import annotations

import re
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """PyYAML's loader with YAML 1.2's numbers.

    YAML 1.1, which PyYAML reads, takes 010 for 8, 1:30 for 90 and 1e-3 for text. Here the first two are text, which no
    number of the configuration accepts, and 1e-3 is a number.
    """


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":int", ":float"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9_]*)$"), list("-+0123456789"))
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?
        |\.[0-9]+([eE][-+]?[0-9]+)?
        |\.(inf|Inf|INF))$
        |\.(nan|NaN|NAN)$""",
        re.VERBOSE,
    ),
    list("-+.0123456789"),
)


def read_yaml(text: str) -> Any:
    """Return the content of a YAML document.

    Raises:
        yaml.YAMLError: it is none.

    >>> read_yaml("[10, 010, 1:30, 1e-3, .5]")
    [10, '010', '1:30', 0.001, 0.5]
    """
    return yaml.load(text, Loader)  # noqa: S506 - a safe loader
