"""YAML as plain data: what a file of somebody else may say."""

import re
from typing import Any

import yaml

_FLOAT = re.compile(r"(?i)([-+]?(\d+\.\d*|\.\d+|\d+(?=e))(e[-+]?\d+)?|[-+]?\.inf|\.nan)$")

_DEEPEST = 100


class PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without tags and aliases: null, true, numbers, strings, lists and mappings.

    Raises:
        RecursionError: if it is nested deeper than anybody writes.
    """

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse a tag or an alias; read anything else."""
        event = self.peek_event()
        tag = getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent) or tag is not None:
            what = f"an alias (*{event.anchor:.60})" if tag is None else f"a tag ({tag:.60})"
            raise yaml.MarkedYAMLError(
                problem=f"{what}, which is not read", problem_mark=event.start_mark
            )
        if self._depth == _DEEPEST:  # the time to read it grows with the square of the depth
            raise RecursionError(f"it is nested deeper than {_DEEPEST} levels")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


# A date is text, and 1e-3 is a number (YAML 1.2).
PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, shape) for tag, shape in shapes if not tag.endswith((":timestamp", ":float"))]
    for first, shapes in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
PlainLoader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))
