// Graphs that one can move in: assets, and the nodes of a job. Owns what is shown of a graph and where one is
// in it; where things stand is found by graph-layout.js, a worker. Drawn on a canvas, so that thousands of
// nodes move smoothly; what is under the pointer or chosen with the keyboard is a real link above it. Tables
// and lists in the same page say the same in words.

import { drawn as painted, palette } from "./graph-drawing.js";

const FOLDED = 100; // items: with more, groups are folded at first
const LEAST = 0.005;
const MOST = 2.5;
const MARGIN = 24;
const HIGH = 420; // pixels, at most, of a graph that is part of a page
const STILL = 4; // pixels that a click may move

class View {
  constructor(host) {
    this.host = host;
    this.place = host.querySelector(".graph-view");
    this.form = host.hasAttribute("data-search") ? document.querySelector("form[data-filter]") : null;
    this.worker = new Worker(new URL("graph-layout.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.laidOut(data);
    this.worker.onerror = () => this.say("this graph cannot be drawn; what it shows is listed below");
    this.number = 0;
    this.scale = 1;
    this.x = this.y = 0;
    this.open = new Set(); // keys
    this.boxes = [];
    this.edges = [];
    this.hover = this.chosen = null; // keys
    this.matches = new Set();
    this.restored = this.saved();
    this.build();
    this.load();
  }

  // -- what is there ----------------------------------------------------------------------------

  async load() {
    this.version = this.host.dataset.version;
    const answer = await fetch(this.host.dataset.graph, { headers: { "X-Requested-With": "page" } });
    if (!answer.ok || answer.redirected) return this.say("this graph cannot be read now; what it shows is listed below");
    this.all = await answer.json();
    const first = !this.items;
    this.choose();
    if (first) this.open = new Set(this.restored?.open ?? (this.items.length > FOLDED ? [] : this.groups().map(({ key }) => key)));
    this.arrange(first ? "begin" : null);
  }

  // Of all there is, what the form asks for and what is next to it.
  choose() {
    const [location, group] = ["location", "group"].map((name) => this.form?.elements[name]?.value ?? "");
    this.filter = `${location} ${group}`;
    const { items, edges } = this.all;
    let kept = items.map((item) => !item.is_group && (!location || item.locations.includes(location)) && (!group || item.group === group));
    if (!location && !group) kept = items.map(() => true);
    else for (const [a, b] of edges.filter(([a, b]) => kept[a] !== kept[b])) kept[a] = kept[b] = "near";
    items.forEach((item, at) => {
      for (let up = kept[at] && item.parent; up !== undefined && up !== false; up = items[up].parent) kept[up] = true;
    });
    const places = new Map();
    this.items = items.filter((_, at) => kept[at]);
    let count = 0;
    items.forEach((_, at) => kept[at] && places.set(at, count++));
    this.items = this.items.map((item, at) => ({ ...item, at, parent: item.parent === undefined ? undefined : places.get(item.parent) }));
    this.links = edges.filter(([a, b]) => places.has(a) && places.has(b)).map(([a, b, ...ports]) => [places.get(a), places.get(b), ...ports]);
    this.byKey = new Map(this.items.map((item) => [item.key, item]));
    this.after = new Map(this.items.map(({ at }) => [at, []]));
    this.before = new Map(this.items.map(({ at }) => [at, []]));
    for (const [a, b] of this.links) {
      this.after.get(a).push(b);
      this.before.get(b).push(a);
    }
    this.worker.postMessage({ graph: { items: this.items, edges: this.links } });
    this.find();
  }

  groups() {
    return this.items.filter((item) => item.is_group);
  }

  arrange(then) {
    this.then = then;
    this.place.dataset.state = "arranging";
    clearTimeout(this.waiting);
    const open = this.groups().filter(({ key }) => this.open.has(key)).map(({ at }) => at);
    this.worker.postMessage({ open, number: ++this.number });
    this.waiting = setTimeout(() => this.say("this graph is being laid out …"), 300);
  }

  laidOut({ number, boxes, edges, width, height, took }) {
    if (number !== this.number) return;
    clearTimeout(this.waiting);
    this.say("");
    const held = this.then?.key && this.boxOf(this.then.key);
    this.boxes = boxes.map((box) => ({ ...box, item: this.items[box.at] }));
    this.edges = edges;
    this.size = { width, height };
    this.shown = new Map(this.boxes.map((box) => [box.at, box]));
    this.tidy();
    const leaves = this.boxes.filter(({ item }) => !item.is_group).length;
    Object.assign(this.place.dataset, { state: "drawn", nodes: leaves, folded: this.boxes.filter(({ item, open }) => item.is_group && !open).length, took: Math.round(took) });
    if (this.then === "begin") this.begin();
    else if (held) this.hold(held);
    else if (this.then?.show) this.show(this.then.show);
    else if (this.then === "fit") this.fit();
    this.then = null;
    this.redraw();
  }

  begin() {
    this.grow();
    this.fit();
    if (this.restored) ({ scale: this.scale, x: this.x, y: this.y } = this.restored);
    if (this.restored?.chosen && this.byKey.has(this.restored.chosen)) this.chosen = this.restored.chosen;
    else if (this.matches.size) this.jump();
    else this.showHere();
  }

  // A small graph takes no more of the page than it needs.
  grow() {
    if (this.host.hasAttribute("data-search")) return;
    const scale = Math.min((this.board.clientWidth - 2 * MARGIN) / this.size.width, 1);
    this.board.style.height = `${Math.min(Math.max(this.size.height * scale + 4 * MARGIN, 140), HIGH)}px`;
  }

  // Around an asset: that one is in the middle, where not all is to be seen.
  showHere() {
    const here = this.items.find(({ marks }) => marks?.includes("here"));
    if (here && this.scale < 0.7) {
      this.scale = 0.85;
      this.centre(this.boxOf(here.key));
    }
  }

  // A group that was folded or unfolded stays where it was, or where one could not read what is in it is brought
  // nearer.
  hold(before) {
    const now = this.boxOf(before.item.key);
    if (!now) return this.fit();
    const nearer = Math.min((this.board.clientWidth - 2 * MARGIN) / now.w, (this.board.clientHeight - 4 * MARGIN) / now.h, 1);
    if (now.open && nearer > this.scale) {
      this.scale = nearer;
      return this.centre(now);
    }
    this.x += (before.x - now.x) * this.scale;
    this.y += (before.y - now.y) * this.scale;
    this.uncover(now);
  }

  boxOf(key) {
    const item = this.byKey.get(key);
    return item && this.shown?.get(item.at);
  }

  // The box of an item, or of the folded group that it is in.
  boxFor(item) {
    for (let at = item.at, found = null; ; at = this.items[at].parent) {
      if (at === undefined) return found;
      if (this.shown.has(at)) return found ?? this.shown.get(at);
    }
  }

  // -- where one is -----------------------------------------------------------------------------

  fit() {
    const { width, height } = this.size ?? { width: 1, height: 1 };
    const { clientWidth: w, clientHeight: h } = this.board;
    this.scale = Math.max(LEAST, Math.min((w - 2 * MARGIN) / width, (h - 2 * MARGIN - 20) / height, 1));
    this.x = (w - width * this.scale) / 2;
    this.y = Math.max((h - 20 - height * this.scale) / 2, MARGIN);
    this.redraw();
  }

  zoom(factor, at = { x: this.board.clientWidth / 2, y: this.board.clientHeight / 2 }) {
    const scale = Math.min(Math.max(this.scale * factor, LEAST), MOST);
    this.x = at.x - ((at.x - this.x) * scale) / this.scale;
    this.y = at.y - ((at.y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.redraw();
  }

  move(x, y) {
    const { clientWidth: w, clientHeight: h } = this.board;
    const { width, height } = this.size ?? { width: 0, height: 0 };
    // Something of it can always be seen.
    this.x = Math.min(Math.max(this.x + x, MARGIN * 2 - width * this.scale), w - MARGIN * 2);
    this.y = Math.min(Math.max(this.y + y, MARGIN * 2 - height * this.scale), h - MARGIN * 2);
    this.redraw();
  }

  centre(box) {
    if (!box) return;
    const tall = Math.min(box.h, (this.board.clientHeight / this.scale) * 0.8);
    this.x = this.board.clientWidth / 2 - (box.x + box.w / 2) * this.scale;
    this.y = this.board.clientHeight / 2 - (box.y + tall / 2) * this.scale;
    this.redraw();
  }

  uncover(box) {
    const [left, top] = [box.x * this.scale + this.x, box.y * this.scale + this.y];
    const { clientWidth: w, clientHeight: h } = this.board;
    if (left < 0 || top < 0 || left + Math.min(box.w * this.scale, w / 2) > w || top + Math.min(box.h * this.scale, h / 2) > h - 30) this.centre(box);
  }

  at({ x, y }) {
    const [px, py] = [(x - this.x) / this.scale, (y - this.y) / this.scale];
    const inside = (box) => px >= box.x && px <= box.x + box.w && py >= box.y && py <= box.y + (box.open ? 26 : box.h);
    return this.boxes.findLast(inside) ?? null;
  }

  // -- what is marked ---------------------------------------------------------------------------

  get marked() {
    return this.byKey?.get(this.hover ?? this.chosen) ?? null;
  }

  // All that an item is made from and all that is made from it; null while none is marked.
  lineage() {
    const item = this.marked;
    if (!item || (item.is_group && this.boxOf(item.key)?.open)) return null;
    if (this.lineageOf === item.key) return this.lineageFound;
    const found = new Set();
    const inside = this.items.filter((one) => this.isIn(one, item)).map(({ at }) => at);
    for (const near of [this.before, this.after]) {
      const waiting = [...inside];
      const seen = new Set(waiting);
      while (waiting.length) {
        for (const other of near.get(waiting.pop())) {
          if (seen.has(other)) continue;
          seen.add(other);
          waiting.push(other);
        }
      }
      for (const at of seen) found.add(at);
    }
    const shown = new Set();
    for (const at of found) shown.add(this.boxFor(this.items[at])?.at);
    this.lineageOf = item.key;
    return (this.lineageFound = shown);
  }

  isIn(item, other) {
    for (let one = item; one; one = this.items[one.parent]) if (one === other) return true;
    return false;
  }

  tidy() {
    this.lineageOf = null;
    if (!this.byKey.has(this.chosen)) this.chosen = null;
    if (!this.boxOf(this.hover)) this.hover = null;
  }

  mark(key, { chosen = false } = {}) {
    if (chosen) this.chosen = key;
    else if (this.hover === key) return;
    this.hover = chosen ? null : key;
    this.redraw();
    const item = this.marked;
    this.say(item ? this.inWords(item) : "");
  }

  inWords(item) {
    const counts = [this.before, this.after].map((near) => new Set(near.get(item.at)).size);
    const [up, down] = counts.map((n, k) => `${n} ${k ? "downstream" : "upstream"}`);
    const ports = ["inputs", "outputs"].flatMap((side) => (item[side]?.length ? [`${side} ${item[side].map(({ name, type }) => (type ? `${name}: ${type}` : name)).join(", ")}`] : []));
    return [item.title, ...item.lines, ...ports, ...(item.is_group ? [] : [up, down])].join(" · ");
  }

  say(text) {
    this.says.textContent = text || this.found || "";
  }

  // -- searching --------------------------------------------------------------------------------

  find() {
    const words = (this.form?.elements.q?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const has = ({ is_group, key }) => !is_group && words.every((word) => key.toLowerCase().includes(word));
    const found = words.length ? this.items.filter(has) : [];
    const [wanted, end] = [words.join(" "), `/${words.join(" ")}`];
    const rank = (key) => (key === wanted ? 0 : key.endsWith(end) ? 1 : key.startsWith(wanted) ? 2 : 3);
    found.sort((a, b) => rank(a.key.toLowerCase()) - rank(b.key.toLowerCase()) || a.key.length - b.key.length);
    this.order = found.map(({ key }) => key);
    this.matches = new Set(this.order);
    this.next = 0;
    this.found = words.length ? `${found.length} of ${this.items.filter(({ is_group }) => !is_group).length} match${found.length > 1 ? ", Enter goes from one to the next" : ""}` : "";
    this.place.dataset.matches = found.length;
  }

  jump() {
    if (!this.order.length) return;
    const key = this.order[this.next++ % this.order.length];
    this.show(key);
  }

  // In the middle of the picture, large enough to be read, its groups unfolded.
  show(key) {
    const item = this.byKey.get(key);
    let folded = false;
    for (let up = item.parent; up !== undefined; up = this.items[up].parent) {
      folded ||= !this.open.has(this.items[up].key);
      this.open.add(this.items[up].key);
    }
    if (folded) return this.arrange({ show: key });
    this.scale = Math.max(this.scale, 0.85);
    this.centre(this.boxOf(key));
    this.mark(key, { chosen: true });
  }

  asked() {
    const before = this.filter;
    const [location, group] = ["location", "group"].map((name) => this.form.elements[name]?.value ?? "");
    if (before !== `${location} ${group}`) {
      this.choose();
      if (this.items.length <= FOLDED) for (const { key } of this.groups()) this.open.add(key);
      return this.arrange("fit");
    }
    this.find();
    this.say("");
    if (this.order.length === 1) this.jump();
    this.redraw();
  }

  // -- folding and following --------------------------------------------------------------------

  toggle(key) {
    if (!this.open.delete(key)) this.open.add(key);
    this.chosen = key;
    this.arrange({ key });
  }

  all_(open) {
    this.open = new Set(open ? this.groups().map(({ key }) => key) : []);
    this.arrange("fit");
  }

  follow(item) {
    if (item.is_group) return this.toggle(item.key);
    this.redraw(true);
    if (item.href) this.link.click();
  }

  step(direction) {
    const from = this.boxFor(this.marked ?? this.items[0]);
    if (!this.marked && from) {
      const near = this.boxes.filter((box) => !box.open);
      const [cx, cy] = [(this.board.clientWidth / 2 - this.x) / this.scale, (this.board.clientHeight / 2 - this.y) / this.scale];
      const distance = (box) => Math.hypot(box.x + box.w / 2 - cx, box.y + box.h / 2 - cy);
      const first = near.reduce((best, box) => (distance(box) < distance(best) ? box : best), near[0]);
      if (first) this.mark(first.item.key, { chosen: true });
      return first && this.uncover(first);
    }
    const [dx, dy] = direction;
    const middle = (box) => [box.x + box.w / 2, box.y + (box.open ? 13 : box.h / 2)];
    const [fx, fy] = middle(from);
    let best = null;
    for (const box of this.boxes) {
      const [x, y] = middle(box);
      const along = (x - fx) * dx + (y - fy) * dy;
      if (box === from || along <= 1) continue;
      const cost = along + 2 * Math.abs((x - fx) * dy + (y - fy) * dx);
      if (!best || cost < best.cost) best = { box, cost };
    }
    if (!best) return;
    this.mark(best.box.item.key, { chosen: true });
    this.uncover(best.box);
  }

  // -- the page ---------------------------------------------------------------------------------

  build() {
    const button = (text, label, does) => {
      const made = document.createElement("button");
      made.type = "button";
      made.textContent = text;
      if (label) made.setAttribute("aria-label", label);
      made.addEventListener("click", does);
      return made;
    };
    this.tools = document.createElement("div");
    this.tools.className = "graph-tools";
    this.tools.append(
      button("−", "zoom out", () => this.zoom(1 / 1.4)),
      button("+", "zoom in", () => this.zoom(1.4)),
      button("fit", "fit into the window", () => this.fit()),
    );
    if (this.host.hasAttribute("data-folds")) this.tools.append(button("unfold all", "", () => this.all_(true)), button("fold all", "", () => this.all_(false)));
    this.canvas = document.createElement("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.link = document.createElement("a");
    this.link.className = "graph-link";
    this.link.draggable = false;
    this.link.tabIndex = -1;
    this.link.hidden = true;
    this.board = document.createElement("div");
    this.board.className = "graph-board";
    this.board.tabIndex = 0;
    this.board.setAttribute("role", "application");
    this.board.setAttribute("aria-label", `${this.host.dataset.label}: arrow keys go from one to the next, Enter opens, plus and minus zoom, 0 shows all`);
    this.board.append(this.canvas, this.link);
    this.says = document.createElement("p");
    this.says.className = "graph-says";
    this.says.setAttribute("role", "status");
    this.place.replaceChildren(this.board, this.says, this.tools);
    new ResizeObserver(() => this.redraw()).observe(this.board);
    this.listen();
  }

  listen() {
    const pointers = new Map();
    let moved = 0;
    const spot = (event) => {
      const { left, top } = this.board.getBoundingClientRect();
      return { x: event.clientX - left, y: event.clientY - top };
    };
    this.board.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      pointers.set(event.pointerId, spot(event));
      moved = 0;
    });
    this.board.addEventListener("pointermove", (event) => {
      const [before, now] = [pointers.get(event.pointerId), spot(event)];
      if (!before) {
        if (event.pointerType !== "touch") this.mark(this.at(now)?.item.key ?? null);
        return;
      }
      moved += Math.abs(now.x - before.x) + Math.abs(now.y - before.y);
      if (moved < STILL) return;
      // Only now: a click of a captured pointer would not reach the link.
      this.board.setPointerCapture(event.pointerId);
      const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const distance = (one) => Math.hypot(one.x - other.x, one.y - other.y);
        this.zoom(distance(now) / Math.max(distance(before), 1), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
      } else this.move(now.x - before.x, now.y - before.y);
      pointers.set(event.pointerId, now);
    });
    for (const name of ["pointerup", "pointercancel"]) this.board.addEventListener(name, (event) => pointers.delete(event.pointerId));
    this.board.addEventListener("pointerleave", () => pointers.size || this.mark(null));
    this.board.addEventListener("click", (event) => {
      if (moved >= STILL) return event.preventDefault();
      if (event.target === this.link) return;
      const box = this.at(spot(event));
      if (!box) return this.mark(null, { chosen: true });
      const touched = event.pointerType === "touch" && !box.item.is_group && this.chosen !== box.item.key;
      this.mark(box.item.key, { chosen: true });
      if (!touched) this.follow(box.item);
    });
    this.board.addEventListener(
      "wheel",
      (event) => {
        if (!this.host.hasAttribute("data-search") && !event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : event.ctrlKey ? 0.01 : 0.0015)), spot(event));
      },
      { passive: false },
    );
    this.board.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (way && event.shiftKey) this.move(-80 * way[0], -80 * way[1]);
      else if (way) this.step(way);
      else if (event.key === "+" || event.key === "=") this.zoom(1.4);
      else if (event.key === "-") this.zoom(1 / 1.4);
      else if (event.key === "0") this.fit();
      else if (event.key === "Escape") this.mark(null, { chosen: true });
      else if (event.key === "Enter" && this.marked) this.follow(this.marked);
      else return;
      event.preventDefault();
    });
    this.form?.addEventListener("input", () => this.items && this.asked());
    this.form?.addEventListener("submit", () => this.items && this.jump());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.redraw());
  }

  redraw(now = false) {
    if (now) return this.paint();
    this.frame ??= requestAnimationFrame(() => this.paint());
  }

  paint() {
    if (this.frame) cancelAnimationFrame(this.frame);
    this.frame = null;
    painted(this.canvas, this, palette(this.place));
    this.placeLink();
    this.save();
  }

  // The link stands over what is marked: to be clicked, opened in a new tab, or dragged over.
  placeLink() {
    const item = this.marked;
    const box = item && this.boxOf(item.key);
    this.link.hidden = !box || !item.href || item.is_group;
    this.board.dataset.over = box && (item.href || item.is_group) ? "node" : "";
    if (this.link.hidden) return;
    this.link.href = item.href;
    this.link.setAttribute("aria-label", item.title);
    Object.assign(this.link.style, { left: `${box.x * this.scale + this.x}px`, top: `${box.y * this.scale + this.y}px`, width: `${box.w * this.scale}px`, height: `${box.h * this.scale}px` });
  }

  // Who comes back finds it as it was left.
  save() {
    clearTimeout(this.saving);
    this.saving = setTimeout(() => this.store(), 200);
  }

  store() {
    const { scale, x, y, chosen } = this;
    try {
      sessionStorage.setItem(`graph ${this.host.dataset.graph}`, JSON.stringify({ open: [...this.open], scale, x, y, chosen }));
    } catch {
      // without a store it begins anew
    }
  }

  saved() {
    try {
      return JSON.parse(sessionStorage.getItem(`graph ${this.host.dataset.graph}`));
    } catch {
      return null;
    }
  }

  refreshed() {
    if (this.host.dataset.version !== this.version) this.load();
  }
}

const views = new Map();

function look() {
  for (const [host, view] of views) {
    if (host.isConnected) view.refreshed();
    else {
      view.worker.terminate();
      views.delete(host);
    }
  }
  for (const host of document.querySelectorAll("[data-graph]")) if (!views.has(host)) views.set(host, new View(host));
}

document.addEventListener("page:drawn", look);
addEventListener("pagehide", () => {
  for (const view of views.values()) if (view.boxes.length) view.store();
});
look();
