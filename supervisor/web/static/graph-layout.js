// Where the items of a graph stand. Runs as a worker, so that a large graph does not hold up its page.
//
// A message {graph} is the graph as /graph has it; {open, number} asks where all is while the groups in `open`
// (places in the list of items) are unfolded. The answer has boxes in pixels, outer groups first, and edges
// as curves. Each open group is laid out alone, by dagre, and is then one box in the group that it is in; what
// one looks like while the same is open in it is kept.

import { Graph, layout } from "./vendor/dagre.esm.js";

const GAP = 16; // between nodes, and around what is in a group
const HEAD = 26; // the title of an open group
const BETWEEN = 56; // layers
const LINE = 14;
const CHARACTER = 6.7; // wide, at most, in the font of the drawing
const BOLD = 1.12; // times as wide
const NARROW = 120;
const WIDE = 230;
const SHAPE = 1.7; // width to height of what has no order of its own
const PRECISE = 40; // nodes: with more, dagre's better way to find layers takes too long
const MOST = 1500; // nodes and bends in one part: with more, edges over several layers are drawn beside it

let items, edges, members, kept;

onmessage = ({ data }) => {
  if (data.graph) take(data.graph);
  if (data.open) postMessage({ number: data.number, ...placed(new Set(data.open)) });
};

function take(graph) {
  ({ items, edges } = graph);
  kept = new Map();
  members = new Map([[-1, []]]);
  items.forEach((item, at) => {
    if (item.is_group) members.set(at, []);
  });
  items.forEach((item, at) => members.get(item.parent ?? -1).push(at));
}

// The groups around an item, the outermost first, and the item itself.
function wayTo(at) {
  const way = [at];
  for (let up = items[at].parent; up !== undefined; up = items[up].parent) way.unshift(up);
  return way;
}

function placed(open) {
  const started = performance.now();
  // Each edge is laid out where its ends part: between two members of one group, or of the whole.
  const within = new Map();
  const drawn = new Map();
  for (const [from, to, output, input] of edges) {
    const [one, other] = [wayTo(from), wayTo(to)];
    let depth = 0;
    while (depth < one.length && depth < other.length && one[depth] === other[depth]) depth++;
    if (depth === one.length || depth === other.length) continue;
    const group = depth ? one[depth - 1] : -1;
    if (!within.has(group)) within.set(group, new Map());
    within.get(group).set(`${one[depth]} ${other[depth]}`, [one[depth], other[depth]]);
    const [a, b] = [shownOf(one, open), shownOf(other, open)];
    if (a === b) continue;
    // The parts of a folded graph are not to be seen, and neither are those of an asset.
    const ends = [a === from ? output : "", b === to ? input : ""];
    const key = [a, b, ...ends].join(" ");
    const known = drawn.get(key);
    if (known) known.count++;
    else drawn.set(key, { from: a, to: b, ends, count: 1, path: `${one[depth]} ${other[depth]}`, group, straight: one[depth] === a && other[depth] === b });
  }
  const whole = arranged(-1, open, within);
  const boxes = [];
  const offsets = new Map();
  collect(whole, -1, 0, 0, 0, open, boxes, offsets);
  const byItem = new Map(boxes.map((box) => [box.at, box]));
  const curves = [];
  for (const one of drawn.values()) {
    const [a, b] = [byItem.get(one.from), byItem.get(one.to)];
    const { x, y, bends } = offsets.get(one.group);
    const points = (one.straight && bends.get(one.path)) || [];
    const start = [a.x + a.w, heightOf(a, "outputs", one.ends[0])];
    const end = [b.x, heightOf(b, "inputs", one.ends[1])];
    curves.push({ from: one.from, to: one.to, count: one.count, points: [start, ...points.map(([px, py]) => [px + x, py + y]), end].flat() });
  }
  return { boxes, edges: curves, width: whole.w, height: whole.h, took: performance.now() - started };
}

// The item itself, or the outermost folded group that it is in.
function shownOf(way, open) {
  for (const at of way) if (items[at].is_group && !open.has(at)) return at;
  return way.at(-1);
}

function heightOf(box, side, name) {
  const item = items[box.at];
  const row = name && !box.open ? (item[side] ?? []).findIndex((port) => port.name === name) : -1;
  return row < 0 ? box.y + (box.open ? HEAD : box.h) / 2 : box.y + textHeight(item) + LINE * (row + 0.5);
}

function textHeight(item) {
  return 12 + LINE * (1 + item.lines.length);
}

function sizeOf(at) {
  const item = items[at];
  const ports = (side) => item[side] ?? [];
  const wide = (list) => Math.max(0, ...list.map((one) => one.name.length + (one.type ? one.type.length + 2 : 0)));
  const letters = Math.max((item.title.length + (item.is_group ? 3 : 0)) * BOLD, ...item.lines.map((line) => line.length * 0.9), wide(ports("inputs")) + wide(ports("outputs")) + 3);
  const rows = Math.max(ports("inputs").length, ports("outputs").length);
  return {
    w: Math.min(Math.max(letters * CHARACTER + 18, NARROW), rows ? WIDE * 1.3 : WIDE),
    h: textHeight(item) + (rows ? rows * LINE + 4 : 0),
  };
}

function arranged(group, open, within) {
  const key = `${group}:${[...open].filter((at) => isIn(at, group)).sort()}`;
  const known = kept.get(key);
  if (known) return known;
  const inside = new Map();
  const size = new Map();
  for (const at of members.get(group)) {
    if (items[at].is_group && open.has(at)) {
      const inner = arranged(at, open, within);
      inside.set(at, inner);
      size.set(at, { w: Math.max(inner.w + 2 * GAP, titleWidth(items[at])), h: inner.h + HEAD + GAP + 6 });
    } else {
      size.set(at, sizeOf(at));
    }
  }
  const found = packed(parts(members.get(group), [...(within.get(group) ?? new Map()).values()]).map((part) => laidOut(part, size)));
  const made = { ...found, inside, size };
  kept.set(key, made);
  return made;
}

function titleWidth(item) {
  return (item.title.length + 2 + item.lines.join(" ").length) * CHARACTER + 40;
}

function isIn(at, group) {
  if (group < 0) return true;
  for (let up = at; up !== undefined; up = items[up].parent) if (up === group) return true;
  return false;
}

// What hangs together, each with its edges.
function parts(nodes, pairs) {
  const near = new Map(nodes.map((at) => [at, []]));
  for (const [a, b] of pairs) {
    near.get(a).push(b);
    near.get(b).push(a);
  }
  const partOf = new Map();
  const found = [];
  for (const first of nodes) {
    if (partOf.has(first)) continue;
    const part = { nodes: [], pairs: [] };
    const waiting = [first];
    partOf.set(first, part);
    while (waiting.length) {
      const at = waiting.pop();
      part.nodes.push(at);
      for (const other of near.get(at)) {
        if (partOf.has(other)) continue;
        partOf.set(other, part);
        waiting.push(other);
      }
    }
    found.push(part);
  }
  for (const pair of pairs) partOf.get(pair[0]).pairs.push(pair);
  return found;
}

function laidOut({ nodes, pairs }, size) {
  if (nodes.length === 1) {
    const { w, h } = size.get(nodes[0]);
    return { w, h, places: new Map([[nodes[0], { x: 0, y: 0 }]]), bends: new Map() };
  }
  const graph = new Graph();
  graph.setGraph({ rankdir: "LR", nodesep: GAP, ranksep: BETWEEN, edgesep: 8, ranker: nodes.length > PRECISE ? "longest-path" : "network-simplex" });
  for (const at of nodes.toSorted((a, b) => a - b)) graph.setNode(String(at), { width: size.get(at).w, height: size.get(at).h });
  for (const [a, b] of bounded(nodes, pairs)) graph.setEdge(String(a), String(b), {});
  layout(graph);
  const places = new Map();
  for (const at of nodes) {
    const node = graph.node(String(at));
    places.set(at, { x: node.x - node.width / 2, y: node.y - node.height / 2 });
  }
  const bends = new Map();
  // Its first and last point are on the boxes, where the drawing has its own.
  for (const { v, w } of graph.edges()) bends.set(`${v} ${w}`, graph.edge(v, w).points.slice(1, -1).map(({ x, y }) => [x, y]));
  const { width, height } = graph.graph();
  return { w: width, h: height, places, bends };
}

// The edges that dagre is given: all, or where that would take it too long those between neighbouring layers.
function bounded(nodes, pairs) {
  const after = new Map(nodes.map((at) => [at, []]));
  const waiting = new Map(nodes.map((at) => [at, 0]));
  for (const [a, b] of pairs) {
    after.get(b).push(a);
    waiting.set(a, waiting.get(a) + 1);
  }
  const rank = new Map(nodes.map((at) => [at, 0]));
  const ready = nodes.filter((at) => !waiting.get(at));
  while (ready.length) {
    const at = ready.pop();
    for (const before of after.get(at)) {
      rank.set(before, Math.min(rank.get(before), rank.get(at) - 1));
      waiting.set(before, waiting.get(before) - 1);
      if (!waiting.get(before)) ready.push(before);
    }
  }
  const length = ([a, b]) => Math.abs(rank.get(b) - rank.get(a));
  const cost = nodes.length + pairs.reduce((sum, pair) => sum + length(pair) - 1, 0);
  return cost <= MOST ? pairs : pairs.filter((pair) => length(pair) <= 1);
}

// Parts that have nothing to do with each other, in rows, the largest first.
function packed(found) {
  const order = found.toSorted((a, b) => b.h * b.w - a.h * a.w);
  const area = order.reduce((sum, { w, h }) => sum + (w + GAP) * (h + GAP), 0);
  const across = Math.max(Math.sqrt(area * SHAPE), ...order.map(({ w }) => w));
  const made = { w: 0, h: 0, places: new Map(), bends: new Map() };
  let [x, y, high] = [0, 0, 0];
  for (const { w, h, places, bends } of order) {
    if (x && x + w > across) {
      y += high + GAP;
      x = high = 0;
    }
    for (const [at, place] of places) made.places.set(at, { x: place.x + x, y: place.y + y });
    for (const [key, points] of bends) made.bends.set(key, points.map(([px, py]) => [px + x, py + y]));
    made.w = Math.max(made.w, x + w);
    made.h = Math.max(made.h, y + h);
    high = Math.max(high, h);
    x += w + GAP;
  }
  return made;
}

function collect(made, group, x, y, depth, open, boxes, offsets) {
  offsets.set(group, { x, y, bends: made.bends });
  for (const [at, place] of made.places) {
    const { w, h } = made.size.get(at);
    const inner = made.inside.get(at);
    boxes.push({ at, x: x + place.x, y: y + place.y, w, h, depth, open: Boolean(inner) });
    if (inner) collect(inner, at, x + place.x + GAP, y + place.y + HEAD, depth + 1, open, boxes, offsets);
  }
}
