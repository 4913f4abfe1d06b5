// The picture of a graph on its canvas, as much of it as its size allows to be read. Owns no state but how
// wide letters are. Only what is in the window is drawn, each kind of thing in one go.

const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif';
const READABLE = 0.3; // scale from which names are drawn
const IN_DETAIL = 0.65; // and what stands below them
const SMALLEST = 9.5; // pixels that a name has, where it has room
const SMALL = 10.5;
const LINE = 14;

export function palette(element) {
  const style = getComputedStyle(element);
  const found = {};
  for (const name of ["ground", "raised", "sunken", "line", "strong-line", "text", "dim", "link", "mark", "focus"]) found[name] = style.getPropertyValue(`--${name}`).trim();
  return found;
}

export function drawn(canvas, view, colours) {
  const { clientWidth: width, clientHeight: height } = canvas.parentElement;
  const dense = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * dense) || canvas.height !== Math.round(height * dense)) {
    canvas.width = Math.round(width * dense);
    canvas.height = Math.round(height * dense);
  }
  const context = canvas.getContext("2d");
  context.setTransform(dense, 0, 0, dense, 0, 0);
  context.clearRect(0, 0, width, height);
  if (!view.shown) return;
  const { scale, x, y } = view;
  context.setTransform(dense * scale, 0, 0, dense * scale, dense * x, dense * y);
  const window = { left: -x / scale, top: -y / scale, right: (width - x) / scale, bottom: (height - y) / scale };
  const seen = view.boxes.filter((box) => box.x <= window.right && box.x + box.w >= window.left && box.y <= window.bottom && box.y + box.h >= window.top);
  const near = view.lineage();
  const open = seen.filter((box) => box.open);
  groups(context, open, colours, scale);
  edges(context, view, window, near, colours, scale);
  nodes(context, seen.filter((box) => !box.open), view, near, colours, scale);
  titles(context, open, colours, scale);
}

function groups(context, boxes, colours, scale) {
  context.lineWidth = Math.max(1, 0.7 / scale);
  for (const box of boxes) {
    context.fillStyle = box.depth % 2 ? colours.ground : colours.sunken;
    context.strokeStyle = colours.line;
    outline(context, box, 8);
    context.fill();
    context.stroke();
  }
}

// The titles of open groups keep a size that can be read, where there is room for them.
function titles(context, boxes, colours, scale) {
  const larger = Math.max(1, 0.85 / scale);
  context.textBaseline = "alphabetic";
  for (const box of boxes) {
    if (box.w / larger < 60 || box.h / larger < 22) continue;
    const title = `▾ ${box.item.title}`;
    const cut = fitted(context, title, box.w - 16 * larger, 12 * larger, true);
    const used = widthOf(context, cut, 12 * larger, true) + 8 * larger;
    const rest = box.item.lines.join(" · ");
    const wide = widthOf(context, rest, 11 * larger);
    const more = cut === title && wide < box.w - used - 16 * larger;
    if (larger > 1.3) {
      // It stands over what is in the group then.
      context.globalAlpha = 0.85;
      context.fillStyle = box.depth % 2 ? colours.ground : colours.sunken;
      context.fillRect(box.x + 4 * larger, box.y + 4 * larger, used + (more ? wide + 12 * larger : 4 * larger), 18 * larger);
      context.globalAlpha = 1;
    }
    context.font = `${11 * larger}px ${FONT}`;
    context.fillStyle = colours.dim;
    if (more) context.fillText(rest, box.x + used + 8 * larger, box.y + 17 * larger);
    context.font = `600 ${12 * larger}px ${FONT}`;
    context.fillStyle = colours.text;
    context.fillText(cut, box.x + 8 * larger, box.y + 17 * larger);
  }
}

function edges(context, view, window, near, colours, scale) {
  const [strong, quiet] = [[], []];
  for (const edge of view.edges) {
    const { points } = edge;
    edge.box ??= bounds(points);
    const { box } = edge;
    if (box.left > window.right || box.right < window.left || box.top > window.bottom || box.bottom < window.top) continue;
    (near && near.has(edge.from) && near.has(edge.to) ? strong : quiet).push(edge);
  }
  context.globalAlpha = near ? 0.25 : quiet.length > 400 ? 0.55 : 1;
  lines(context, quiet, colours["strong-line"], Math.max(1, 0.6 / scale), scale);
  context.globalAlpha = 1;
  lines(context, strong, colours.link, Math.max(1.6, 1.2 / scale), scale);
}

function lines(context, found, colour, width, scale) {
  context.strokeStyle = context.fillStyle = colour;
  const widths = new Map();
  for (const edge of found) {
    const wide = width * (edge.count > 1 ? 1 + Math.min(Math.log2(edge.count) / 3, 1.5) : 1);
    if (!widths.has(wide)) widths.set(wide, []);
    widths.get(wide).push(edge);
  }
  for (const [wide, some] of widths) {
    context.lineWidth = wide;
    context.beginPath();
    for (const { points } of some) curve(context, points);
    context.stroke();
  }
  if (scale < 0.25) return;
  context.beginPath();
  for (const { points } of found) {
    const [x, y] = points.slice(-2);
    context.moveTo(x, y);
    context.lineTo(x - 7, y - 3.5);
    context.lineTo(x - 7, y + 3.5);
  }
  context.fill();
}

function curve(context, points) {
  let [x, y] = points;
  context.moveTo(x, y);
  for (let n = 2; n < points.length; n += 2) {
    const [toX, toY] = [points[n], points[n + 1]];
    // Backwards, it leaves and comes in with a bow.
    const bow = toX > x + 10 ? (toX - x) / 2 : 40;
    context.bezierCurveTo(x + bow, y, toX - bow, toY, toX, toY);
    [x, y] = [toX, toY];
  }
}

function bounds(points) {
  const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (let n = 0; n < points.length; n += 2) {
    box.left = Math.min(box.left, points[n] - 40);
    box.right = Math.max(box.right, points[n] + 40);
    box.top = Math.min(box.top, points[n + 1]);
    box.bottom = Math.max(box.bottom, points[n + 1]);
  }
  return box;
}

function nodes(context, boxes, view, near, colours, scale) {
  const marked = view.marked?.at;
  const matching = matchesIn(view);
  const kinds = new Map();
  for (const box of boxes) {
    const { item } = box;
    const kind = {
      fill: matching.has(box.at) || item.marks?.includes("here") ? colours.mark : colours.raised,
      stroke: box.at === marked ? colours.focus : item.marks?.includes("here") ? colours.text : near?.has(box.at) ? colours.link : colours["strong-line"],
      width: box.at === marked ? 3 : item.marks?.includes("here") || near?.has(box.at) ? 2 : 1,
      dashed: Boolean(item.marks?.includes("unknown")),
      faint: Boolean(near) && !near.has(box.at),
      group: item.is_group,
    };
    const key = Object.values(kind).join();
    if (!kinds.has(key)) kinds.set(key, { ...kind, boxes: [] });
    kinds.get(key).boxes.push(box);
  }
  for (const kind of kinds.values()) {
    context.globalAlpha = kind.faint ? 0.45 : 1;
    context.fillStyle = kind.fill;
    context.strokeStyle = kind.stroke;
    context.lineWidth = Math.max(kind.width, (kind.width * 0.7) / scale);
    context.setLineDash(kind.dashed && scale > 0.3 ? [4, 3] : []);
    if (kind.group && scale > 0.2) {
      // A stack: there is more in it.
      context.beginPath();
      for (const { x, y, w, h } of kind.boxes) rounded(context, x + 4, y + 4, w, h, scale);
      context.fill();
      context.stroke();
    }
    context.beginPath();
    for (const { x, y, w, h } of kind.boxes) rounded(context, x, y, w, h, scale);
    context.fill();
    context.stroke();
  }
  context.setLineDash([]);
  if (scale >= READABLE) names(context, boxes, near, colours, scale);
  if (scale >= IN_DETAIL) details(context, boxes, near, matching, colours);
  context.globalAlpha = 1;
}

// The boxes of what was searched for, or of the folded groups that it is in.
function matchesIn(view) {
  const found = new Map();
  for (const key of view.matches) {
    const at = view.boxFor(view.byKey.get(key))?.at;
    found.set(at, (found.get(at) ?? 0) + 1);
  }
  return found;
}

function outline(context, { x, y, w, h }, corner) {
  context.beginPath();
  context.roundRect(x, y, w, h, corner);
}

// Corners cost more than they show when small.
function rounded(context, x, y, w, h, scale) {
  if (scale > 0.3) context.roundRect(x, y, w, h, 4);
  else context.rect(x, y, w, h);
}

// Kind after kind: what sets another font or colour costs more than a text.
function names(context, boxes, near, colours, scale) {
  const larger = SMALLEST / scale > 12;
  context.textBaseline = "alphabetic";
  let set = 0;
  for (const box of boxes) {
    const { item, x, y, w } = box;
    const name = `${item.is_group ? "▸ " : ""}${item.title}`;
    // Larger where the picture is small, as long as all of it fits.
    const most = larger ? Math.min(SMALLEST / scale, (12 * (w - 18)) / widthOf(context, name, 12, true), box.h * 0.7) : 12;
    const size = Math.max(12, Math.floor(most * 2) / 2);
    if (size !== set) context.font = `600 ${(set = size)}px ${FONT}`;
    context.globalAlpha = near && !near.has(box.at) ? 0.55 : 1;
    context.fillStyle = item.href && !item.is_group ? colours.link : colours.text;
    // The end of a key tells more than its beginning.
    const cut = fitted(context, name, w - 17, size, true, !item.is_group);
    context.fillText(cut, x + 9, scale < IN_DETAIL ? y + box.h / 2 + size * 0.36 : y + 18);
  }
}

function details(context, boxes, near, matching, colours) {
  context.font = `${SMALL}px ${FONT}`;
  for (const box of boxes) {
    const { item, x, y, w } = box;
    context.globalAlpha = near && !near.has(box.at) ? 0.55 : 1;
    context.fillStyle = colours.dim;
    const matches = item.is_group && matching.get(box.at);
    item.lines.forEach((line, n) => {
      const text = n === 0 && matches ? `${matches} found · ${line}` : line;
      context.fillText(fitted(context, text, w - 18, SMALL), x + 9, y + 18 + LINE * (n + 1));
    });
    const below = y + 12 + LINE * (1 + item.lines.length);
    const room = item.inputs?.length && item.outputs?.length ? w / 2 - 12 : w - 18;
    ports(context, item.inputs, x + 9, below, room, "left", colours);
    ports(context, item.outputs, x + w - 9, below, room, "right", colours);
  }
}

function ports(context, list, x, y, room, side, colours) {
  if (!list?.length) return;
  context.textAlign = side;
  context.fillStyle = colours.text;
  list.forEach(({ name, type }, n) => {
    context.fillText(fitted(context, type ? `${name}: ${type}` : name, room, SMALL), x, y + LINE * (n + 0.5) + 4);
  });
  context.textAlign = "left";
}

const letters = [new Map(), new Map()]; // widths at 100 pixels: normal, bold

// How wide a text is: the browser is asked once for each letter, as asking for each text takes too long.
function widthOf(context, text, size, bold = false) {
  const known = letters[Number(bold)];
  let sum = 0;
  for (const letter of text) {
    let width = known.get(letter);
    if (width === undefined) {
      const { font } = context;
      context.font = `${bold ? "600 " : ""}100px ${FONT}`;
      known.set(letter, (width = context.measureText(letter).width));
      context.font = font;
    }
    sum += width;
  }
  return (sum * size) / 100;
}

function fitted(context, text, room, size, bold = false, fromEnd = false) {
  if (widthOf(context, text, size, bold) <= room) return text;
  let [least, most] = [0, text.length];
  const cut = (length) => (!length ? "…" : fromEnd ? `…${text.slice(-length)}` : `${text.slice(0, length)}…`);
  while (least < most) {
    const middle = (least + most + 1) >> 1;
    if (widthOf(context, cut(middle), size, bold) <= room) least = middle;
    else most = middle - 1;
  }
  return cut(least);
}
