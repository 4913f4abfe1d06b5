// Live updates and filters. Owns nothing: every page is drawn by the server, and what
// changed is fetched and merged into what is shown, so that focus, selection and scroll stay.

import "./finding.js";
import "./keys.js";
import { append } from "./logs.js";
import { count, ordering } from "./ordering.js";

const REGIONS = ["top", "main"];
const QUIET = 400; // ms between two updates that nobody asked for
const RETRY = 2000; // ms until a stream is asked for again that was refused

document.documentElement.classList.add("js");
let here = location.pathname + location.search;
let asked = null; // the AbortController of what a person asked for
let background = null;
let again = false;
let lastUpdate = 0;
let revision = Number(document.body.dataset.revision);

// -- merging ----------------------------------------------------------------------------------

function merge(old, fresh) {
  if (old.hasAttribute?.("data-own")) return; // what a script of ours fills
  if (old.isEqualNode(fresh) && !old.querySelector?.("input, select, details")) return;
  const kept = isKept(old);
  mergeAttributes(old, fresh);
  if (!kept) mergeChildren(old, fresh);
}

// A log that has a cursor is filled by its stream, not by the page.
function isKept(element) {
  return element.hasAttribute("data-keep") && element.hasAttribute("data-after");
}

function mergeAttributes(old, fresh) {
  const kept = isKept(old);
  const stays = (name) => (name === "open" && old.tagName === "DETAILS") || (kept && name.startsWith("data-"));
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !stays(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (stays(name)) continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old === document.activeElement || old.hasAttribute("data-choice")) return;
  if (old.tagName === "INPUT") {
    if (old.type === "checkbox" || old.type === "radio") old.checked = fresh.checked;
    else if (old.value !== fresh.value) old.value = fresh.value;
  } else if (old.tagName === "SELECT" && old.value !== fresh.value) {
    old.value = fresh.value;
  }
}

function mergeChildren(old, fresh) {
  const wanted = new Set(Array.from(fresh.children, (child) => child.id));
  const keyed = new Map();
  // What is gone goes first: what moves in the document loses the focus.
  for (const child of [...old.children]) {
    if (child.id && wanted.has(child.id)) keyed.set(child.id, child);
    else if (child.id) child.remove();
  }
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    const known = next.id ? keyed.get(next.id) : null;
    if (known) {
      while (at && at !== known && at.nodeType === Node.TEXT_NODE) at = removed(at);
      if (known === at) at = at.nextSibling;
      else old.insertBefore(known, at);
      merge(known, next);
    } else if (at && !at.id && !next.id && at.nodeType === next.nodeType && at.nodeName === next.nodeName) {
      const after = at.nextSibling;
      if (at.nodeType === Node.ELEMENT_NODE) merge(at, next);
      else if (at.nodeValue !== next.nodeValue) at.nodeValue = next.nodeValue;
      at = after;
    } else {
      old.insertBefore(imported(next), at);
    }
  }
  while (at) at = removed(at);
}

// What a person opened or closed is so again when it comes back, as an error does that was away for a reload.
const toggled = new Map();
document.addEventListener(
  "toggle",
  ({ target }) => {
    if (target.tagName === "DETAILS" && target.id) toggled.set(target.id, target.open);
  },
  true,
);

function imported(node) {
  const made = document.importNode(node, true);
  const inside = made.nodeType === Node.ELEMENT_NODE ? made.querySelectorAll("details[id]") : [];
  for (const one of [made, ...inside]) if (toggled.has(one.id)) one.open = toggled.get(one.id);
  return made;
}

function removed(node) {
  const after = node.nextSibling;
  node.remove();
  return after;
}

async function fetchInto(url, signal) {
  const answer = await fetch(url, { signal, headers: { "X-Requested-With": "page" } });
  if (answer.redirected && new URL(answer.url).pathname === "/login") {
    location.assign(`/login?${new URLSearchParams({ back: here })}`);
    return;
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!fresh.getElementById("main")) return;
  const focused = document.activeElement;
  for (const id of REGIONS) merge(document.getElementById(id), fresh.getElementById(id));
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
  document.title = fresh.title;
  count();
  revision = Number(fresh.body.dataset.revision);
  document.body.dataset.live = fresh.body.dataset.live;
  if (logShown() !== followed) followAnew();
  followRun();
  document.dispatchEvent(new Event("page:drawn"));
}

async function show(url) {
  asked?.abort();
  background?.abort();
  const mine = (asked = new AbortController());
  try {
    await fetchInto(url, mine.signal);
    here = url;
    history.replaceState(null, "", url);
    document.body.dataset.shown = url;
  } catch (error) {
    if (error.name !== "AbortError") console.warn(error);
  } finally {
    if (asked === mine) {
      asked = null;
      if (again) update();
    }
  }
}

async function update() {
  if (asked || background) {
    again = true;
    return;
  }
  const wait = lastUpdate + QUIET - performance.now();
  const mine = (background = new AbortController());
  if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  again = false;
  try {
    if (!mine.signal.aborted) await fetchInto(here, mine.signal);
  } catch (error) {
    if (error.name !== "AbortError") console.warn(error);
  } finally {
    lastUpdate = performance.now();
    background = null;
    if (again && !asked) update();
  }
}

// -- filters ----------------------------------------------------------------------------------

function addressOf(form) {
  const given = new URLSearchParams(new FormData(form));
  const kept = new URLSearchParams();
  for (const [name, value] of given) if (value && !(name === "sort" && value === "failed")) kept.append(name, value);
  const query = kept.toString();
  return form.getAttribute("action") + (query ? `?${query}` : "");
}

document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-filter]");
  if (form) show(addressOf(form));
});

document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-filter]")) return;
  event.preventDefault();
  show(addressOf(event.target));
});

ordering(update);

// -- live -------------------------------------------------------------------------------------

let source = null;
let followed = null; // the log whose lines the stream brings, if any

function logShown() {
  return document.querySelector("[data-logs][data-after]");
}

function listen() {
  if (source || document.hidden || document.body.dataset.live === "none") return;
  followed = logShown();
  const query = followed ? `?${new URLSearchParams({ logs: followed.dataset.logs, after: followed.dataset.after })}` : "";
  const mine = (source = new EventSource(`/events${query}`));
  let first = true;
  mine.addEventListener("open", () => {
    document.getElementById("offline").hidden = true;
  });
  mine.addEventListener("error", () => {
    document.getElementById("offline").hidden = false;
    // Answered by something that is no stream: the browser gives up then.
    if (mine.readyState !== EventSource.CLOSED || source !== mine) return;
    setTimeout(() => {
      if (source !== mine) return;
      hush();
      listen();
      update();
    }, RETRY);
  });
  mine.addEventListener("change", (event) => {
    const heard = JSON.parse(event.data);
    const moved = heard.revision !== revision || heard.running !== shownRunning();
    // The first says what is the case: the page may have been drawn a while ago.
    if (moved || (!first && document.body.dataset.live === "tick")) update();
    first = false;
  });
  mine.addEventListener("log", (event) => {
    followed.dataset.after = event.lastEventId;
    append(followed, JSON.parse(event.data).lines);
  });
}

function hush() {
  source?.close();
  source = null;
}

// Another log was drawn, with a cursor of its own.
function followAnew() {
  hush();
  followed = logShown();
  if (followed) followed.scrollTop = followed.scrollHeight;
  listen();
}

// -- a run ------------------------------------------------------------------------------------

const MOST_OUTPUT = 256 * 1024; // characters of each stream that stay in the page
let runSource = null;
let runFollowed = null; // the id of the run that is followed, and how far it was heard
let runAfter = "";

// The stream brings output, and says when the rest of the page is to be drawn again.
function followRun() {
  const shown = document.querySelector("[data-run][data-after]");
  if (document.hidden || !shown) return hushRun();
  if (runSource) return;
  if (runFollowed !== shown.dataset.run) {
    runFollowed = shown.dataset.run;
    runAfter = shown.dataset.after;
  }
  const query = runAfter ? `?${new URLSearchParams({ after: runAfter })}` : "";
  const mine = (runSource = new EventSource(`/api/v1/runs/${runFollowed}/events${query}`));
  const heard = (event) => (runAfter = event.lastEventId || runAfter);
  let first = true;
  mine.addEventListener("run", () => {
    if (!first) update();
    first = false;
  });
  for (const name of ["events", "runs"]) mine.addEventListener(name, (event) => (heard(event), update()));
  for (const name of ["out", "err"]) {
    mine.addEventListener(name, (event) => {
      heard(event);
      const box = document.getElementById(name);
      const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
      const text = box.textContent + JSON.parse(event.data).text;
      box.textContent = text.slice(-MOST_OUTPUT);
      box.parentElement.hidden = false;
      if (atEnd) box.scrollTop = box.scrollHeight;
    });
  }
  mine.addEventListener("end", () => {
    mine.close();
    update();
  });
}

function hushRun() {
  runSource?.close();
  runSource = null;
}

function shownRunning() {
  return !document.querySelector("#top .banner[role=alert]");
}

// A hidden page holds no connection: browsers allow few to one server.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    hush();
    hushRun();
  } else {
    listen();
    followRun();
    update();
  }
});

followAnew();
followRun();
