"""Which steps a selection names: ``a``, ``a+``, ``+a``, ``a++``, ``*b``, ``b*``.

Owns that grammar, as a pure function. ``+`` before a name adds the steps it depends on, one step away
for each ``+``; ``*`` adds all of them; after a name, those that depend on it. A graph's name means all
that is in it.
"""

__all__ = ["select"]


def select(clauses, upstream):
    """``(selected, unknown)``: the set of selected names, and the list of names that do not exist.

    ``clauses`` is a list of strings; ``upstream`` maps each name to the names it depends on.
    """
    downstream = {name: set() for name in upstream}
    for name, others in upstream.items():
        for other in others:
            downstream[other].add(name)
    selected, unknown = set(), []
    for clause in clauses:
        before, name, after = _parse(clause)
        found = {one for one in upstream if one == name or one.startswith(name + ".")}
        if name == "" and clause.strip() == "*":
            found = set(upstream)
        if not found:
            unknown.append(name or clause)
        selected |= _reach(found, upstream, before) | _reach(found, downstream, after)
    return selected, unknown


def _parse(clause):
    """(steps upstream, name, steps downstream) of one clause; None for all."""
    text = clause.strip()
    name = text.lstrip("+*")
    head, name = text[: len(text) - len(name)], name.rstrip("+*")
    tail = text[len(head) + len(name) :]
    return None if "*" in head else len(head), name, None if "*" in tail else len(tail)


def _reach(names, links, distance):
    """``names`` and what is reached from them over ``links`` in at most ``distance`` steps."""
    found, edge = set(names), set(names)
    while edge and distance != 0:
        edge = {other for name in edge for other in links[name]} - found
        found |= edge
        if distance is not None:
            distance -= 1
    return found
