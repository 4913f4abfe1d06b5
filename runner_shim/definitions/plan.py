"""What a composed graph is to run: its nodes with their definitions, and where each input comes from.

Owns the records that composition keeps beside the snapshot's data, which has names alone. Decides
nothing: ``runner_shim.execution`` does. Nothing of it is in a snapshot.
"""

__all__ = ["Constant", "GraphInput", "Node", "NodeOutput", "Plan", "Several"]


class Constant:
    """A value that the body itself gives."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


class NodeOutput:
    """The output ``output`` of the node ``node`` of the same graph."""

    __slots__ = ("node", "output")

    def __init__(self, node, output):
        self.node = node
        self.output = output


class GraphInput:
    """The input ``name`` of the graph itself."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name


class Several:
    """Several sources: the input gets a list of their values, or a dict where there are ``keys``."""

    __slots__ = ("keys", "sources")

    def __init__(self, sources, keys=None):
        self.sources = sources
        self.keys = keys


class Node:
    """One call in a body: ``inputs`` are sources by name, ``after`` sources without data."""

    __slots__ = ("after", "definition", "inputs", "name")

    def __init__(self, name, definition, inputs, after):
        self.name = name
        self.definition = definition
        self.inputs = inputs
        self.after = after


class Plan:
    """The nodes of one body in the order of their calls, which is topological.

    ``outputs`` are sources by name, None for an output without one.
    """

    __slots__ = ("nodes", "outputs")

    def __init__(self):
        self.nodes = []
        self.outputs = {}
