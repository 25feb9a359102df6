"""Draw which data goes for which purpose to whom: a graph, and its forms as SVG, Mermaid and JSON.

Nodes stand in three columns: categories, purposes, recipients. An edge that policies allow and nothing has
gone along yet is there too, and so is what no policy speaks of: a map that left it out would be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from tidegate.domain.category import is_personal, is_special
from tidegate.privacy import words
from tidegate.privacy.processing import Processing

Column = Literal["category", "purpose", "recipient"]
Kind = Literal["plain", "special", "unlisted", "ungoverned"]

_COLUMNS: Final[tuple[Column, ...]] = ("category", "purpose", "recipient")
_HEADINGS: Final = ("Data", "Purpose", "Recipient")
_UNKNOWN: Final = "not listed"

_WIDTH, _NODE_WIDTH, _NODE_HEIGHT, _GAP, _TOP = 1000, 226, 44, 14, 46
_LABEL_MAX: Final = 30
_DETAIL_MAX: Final = 38


@dataclass(frozen=True, slots=True)
class Node:
    """A category, a purpose or a recipient. `detail` is told below its name."""

    id: str
    column: Column
    name: str
    detail: str = ""
    kind: Kind = "plain"


@dataclass(slots=True)
class Edge:
    """What goes from one node to another; `calls` is 0 where it only may."""

    source: str
    target: str
    calls: int = 0
    kind: Kind = "plain"


@dataclass(slots=True)
class FlowMap:
    """The graph."""

    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    edges: dict[tuple[str, str], Edge] = field(default_factory=dict[tuple[str, str], Edge])

    def add(self, node: Node) -> str:
        """Put a node in; one that is there stays as it is, unless this one is worth a warning."""
        known = self.nodes.get(node.id)
        if known is None or (known.kind == "plain" and node.kind != "plain"):
            self.nodes[node.id] = node
        return node.id

    def connect(self, source: str, target: str, calls: int, kind: Kind = "plain") -> None:
        """Put an edge in, or add to the one that is there."""
        edge = self.edges.setdefault((source, target), Edge(source, target, 0, kind))
        edge.calls += calls
        if edge.kind == "plain":
            edge.kind = kind


def flow_map(processings: Iterable[Processing]) -> FlowMap:
    """Make the graph of some clients' processing."""
    found = FlowMap()
    for one in processings:
        _add_activities(found, one)
        for unlisted in one.unlisted:
            data = found.add(Node("category:", "category", _UNKNOWN, "no policy", "unlisted"))
            purpose = found.add(Node("purpose:", "purpose", _UNKNOWN, "no policy", "unlisted"))
            to = found.add(_recipient(unlisted.provider, unlisted.title, ""))
            found.connect(data, purpose, unlisted.calls, "unlisted")
            found.connect(purpose, to, unlisted.calls, "unlisted")
    return found


def _add_activities(found: FlowMap, processing: Processing) -> None:
    for activity in processing.activities:
        detail = ", ".join(activity.legal_bases).replace("_", " ")
        purpose = found.add(
            Node(f"purpose:{activity.purpose}", "purpose", activity.purpose, detail)
        )
        for one in activity.recipients:
            governed = one.agreements or not one.has_personal
            kind: Kind = "plain" if governed else "ungoverned"
            regions = ", ".join(one.regions)
            to = found.add(_recipient(one.provider, one.title, regions, kind))
            found.connect(purpose, to, one.calls, kind)
            for name in dict.fromkeys((*one.sent, *one.may)):
                category = found.add(_category(name))
                calls = one.calls if name in one.sent else 0
                found.connect(category, purpose, calls, "special" if is_special(name) else "plain")


def _category(name: str) -> Node:
    if is_special(name):
        return Node(f"category:{name}", "category", name, "special category", "special")
    return Node(f"category:{name}", "category", name, "" if is_personal(name) else "not personal")


def _recipient(name: str, title: str, regions: str, kind: Kind = "plain") -> Node:
    detail = "no agreement in force" if kind == "ungoverned" else regions
    return Node(f"recipient:{name}", "recipient", title, detail, kind)


def as_json(graph: FlowMap) -> dict[str, Any]:
    """Give nodes and edges as JSON has them."""
    return {
        "nodes": [
            {"id": n.id, "column": n.column, "name": n.name, "detail": n.detail, "kind": n.kind}
            for n in graph.nodes.values()
        ],
        "edges": [
            {"from": e.source, "to": e.target, "calls": e.calls, "kind": e.kind}
            for e in graph.edges.values()
        ],
    }


def as_mermaid(graph: FlowMap) -> str:
    """Write a Mermaid flowchart; names are quoted, and hold nothing that Mermaid would read."""
    numbers = {id_: f"n{number}" for number, id_ in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for column, heading in zip(_COLUMNS, _HEADINGS, strict=True):
        lines.append(f"  subgraph {heading}")
        lines += [
            f'    {numbers[node.id]}["{_quoted(node)}"]:::{node.kind}'
            for node in graph.nodes.values()
            if node.column == column
        ]
        lines.append("  end")
    for edge in graph.edges.values():
        arrow = "-->" if edge.calls else "-.->"
        label = f"|{edge.calls:,} calls|" if edge.calls else ""
        lines.append(f"  {numbers[edge.source]} {arrow}{label} {numbers[edge.target]}")
    lines += [
        "  classDef plain fill:#eaf3f6,stroke:#0b5c73,color:#1b2733",
        "  classDef special fill:#fbe9ee,stroke:#9b1c3b,color:#1b2733",
        "  classDef unlisted fill:#fdf5e8,stroke:#d99a3a,color:#1b2733",
        "  classDef ungoverned fill:#fdf5e8,stroke:#8a4b08,color:#1b2733",
    ]
    return "\n".join(lines) + "\n"


def _quoted(node: Node) -> str:
    text = f"{node.name}\n{node.detail}" if node.detail else node.name
    # Mermaid's own entities: `#` and the code point. Whatever is no letter, digit or space becomes one.
    return "".join(c if c.isalnum() or c in " .-_" else f"#{ord(c)};" for c in text)


@dataclass(frozen=True, slots=True)
class Box:
    """Where a node is drawn, in units of the picture."""

    node: Node
    x: int
    y: float
    label: str
    detail: str
    width: int = _NODE_WIDTH
    height: int = _NODE_HEIGHT


@dataclass(frozen=True, slots=True)
class Line:
    """Where an edge is drawn: an SVG path, and how thick."""

    edge: Edge
    path: str
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A graph laid out."""

    width: int
    height: float
    headings: tuple[tuple[str, int], ...]
    boxes: tuple[Box, ...]
    lines: tuple[Line, ...]


def picture(graph: FlowMap) -> Picture:
    """Lay a graph out; a node stands at the middle of those it is connected to on its left."""
    columns = {
        column: sorted(
            (node for node in graph.nodes.values() if node.column == column),
            key=lambda node: (node.kind == "unlisted", node.name),
        )
        for column in _COLUMNS
    }
    tallest = max((len(nodes) for nodes in columns.values()), default=0)
    height = _TOP + max(tallest, 1) * (_NODE_HEIGHT + _GAP)
    boxes: dict[str, Box] = {}
    for number, column in enumerate(_COLUMNS):
        nodes = _by_neighbours(columns[column], graph, boxes) if number else columns[column]
        room = (height - _TOP) / max(len(nodes), 1)
        x = number * (_WIDTH - _NODE_WIDTH) // 2
        for place, node in enumerate(nodes):
            y = _TOP + room * place + (room - _NODE_HEIGHT) / 2
            label = node.name if column == "recipient" else words.category(node.name)
            boxes[node.id] = Box(
                node, x, y, _cut(label, _LABEL_MAX), _cut(node.detail, _DETAIL_MAX)
            )
    most = max((edge.calls for edge in graph.edges.values()), default=0)
    return Picture(
        _WIDTH,
        height,
        tuple(
            (heading, number * (_WIDTH - _NODE_WIDTH) // 2)
            for number, heading in enumerate(_HEADINGS)
        ),
        tuple(boxes.values()),
        tuple(_line(edge, boxes, most) for edge in graph.edges.values()),
    )


def _by_neighbours(nodes: Sequence[Node], graph: FlowMap, boxes: dict[str, Box]) -> list[Node]:
    def middle(node: Node) -> float:
        left = [boxes[source].y for source, target in graph.edges if target == node.id]
        return sum(left) / len(left) if left else 0.0

    return sorted(nodes, key=middle)


def _line(edge: Edge, boxes: dict[str, Box], most: int) -> Line:
    start, end = boxes[edge.source], boxes[edge.target]
    x1, y1 = start.x + start.width, start.y + start.height / 2
    x2, y2 = end.x, end.y + end.height / 2
    bend = (x2 - x1) / 2
    path = f"M{x1},{y1:.1f} C{x1 + bend:.0f},{y1:.1f} {x2 - bend:.0f},{y2:.1f} {x2},{y2:.1f}"
    share = math.log1p(edge.calls) / math.log1p(most) if most else 0.0
    name = f"{start.label} → {end.label}"
    told = f"{edge.calls:,} calls" if edge.calls else "allowed, nothing sent so far"
    return Line(edge, path, 1.2 + 5 * share, f"{name}: {told}")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
