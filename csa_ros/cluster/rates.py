"""How fast the nodes of a cluster are, in words."""

from collections.abc import Sequence

from csa_ros.cluster.board import NodeWork

# More would not fit on a line.
_MOST_NAMED = 3


def by_node(nodes: Sequence[NodeWork]) -> str:
    """Return what stands behind the rate of all: that of each node, or of the extremes of many."""
    if len(nodes) < 2:
        return ''
    if len(nodes) <= _MOST_NAMED:
        return ' (' + ', '.join(f'{node.node} {node.rate:.1f}' for node in nodes) + ')'
    ordered = sorted(nodes, key=lambda node: node.rate)
    slowest, fastest = ordered[0], ordered[-1]
    return (f' ({len(nodes)} nodes: {slowest.node} {slowest.rate:.1f} to '
            f'{fastest.node} {fastest.rate:.1f})')


def lines(nodes: Sequence[NodeWork]) -> list[str]:
    """Return a line for each node: what it has done, and how fast."""
    return [f'{node.node}: {node.images} images, {node.rate:.1f} a second' for node in nodes]
