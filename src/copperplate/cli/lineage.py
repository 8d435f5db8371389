"""Lineage on a terminal: what was made from what, one line each."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

KEY_CHARS: Final = 12


def tree_lines(nodes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The nodes of a purge as an indented tree: the beginning of the key, the kind, the operation and the bytes.

    A node whose parent is not among them stands at the left.
    """
    known = {node["key"] for node in nodes}
    below = defaultdict(list)
    for node in nodes:
        below[node["parent_key"] if node["parent_key"] in known else None].append(node)
    met = set[str]()
    left = [(0, node) for node in reversed(below[None])]
    while left:
        depth, node = left.pop()
        met.add(node["key"])
        yield _line(depth, node)
        left += [(depth + 1, child) for child in reversed(below[node["key"]]) if child["key"] not in met]
    # Where somebody declared a circle, nothing of it stands at the left.
    yield from (_line(0, node) for node in nodes if node["key"] not in met)


def _line(depth: int, node: Mapping[str, Any]) -> str:
    made = f"{node['kind']} {node['operation']}" if node["operation"] else str(node["kind"])
    return f"{'  ' * depth}{node['key'][:KEY_CHARS]}  {made}  {node['bytes']:,} bytes"
