// The log of a location: lines as they come, a pause, and a search with its marks. Owns what stands in the
// log; its lines come with the stream of the page. Levels and wrapping are the style sheet's.

const MOST_LINES = 5000;
const MOST_MARKS = 2000;
const DELAY = 120; // ms of quiet until it is looked for what was typed

let held = null; // lines that came during a pause
let marks = [];
let at = -1;
let waiting = 0;

function part(name) {
  return document.querySelector(`#log-tools [data-part=${name}]`);
}

// -- lines ------------------------------------------------------------------------------------

export function append(log, lines) {
  if (held && document.contains(part("pause"))) {
    held = [...held, ...lines].slice(-MOST_LINES);
    return said();
  }
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  for (const line of lines) {
    const row = document.createElement("div");
    row.className = `line ${["out", "err", "sup"].includes(line.stream) ? line.stream : ""}`;
    row.dataset.level = line.level ?? log.lastElementChild?.dataset.level ?? "";
    const time = document.createElement("time");
    time.textContent = new Date(line.time * 1000).toISOString().slice(11, 23);
    const stream = document.createElement("b");
    stream.textContent = line.stream;
    const text = document.createElement("span");
    text.textContent = line.text;
    row.append(time, " ", stream, " ", text);
    log.append(row);
    mark(text, wanted());
  }
  while (log.childElementCount > MOST_LINES) log.firstElementChild.remove();
  marks = marks.filter((one) => one.isConnected);
  counted();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function said() {
  const button = part("pause");
  button.setAttribute("aria-pressed", String(held !== null));
  button.textContent = held ? `resume (${held.length} new)` : "pause";
}

// -- search -----------------------------------------------------------------------------------

function wanted() {
  return part("find")?.value.toLowerCase() ?? "";
}

function mark(span, text) {
  if (!text || marks.length >= MOST_MARKS) return;
  const whole = span.textContent;
  const low = whole.toLowerCase();
  if (low.length !== whole.length) return; // a few letters get longer: places would not fit
  let from = 0;
  const pieces = [];
  for (let found = low.indexOf(text); found >= 0; found = low.indexOf(text, from)) {
    const one = document.createElement("mark");
    one.textContent = whole.slice(found, found + text.length);
    pieces.push(whole.slice(from, found), one);
    marks.push(one);
    from = found + text.length;
  }
  if (pieces.length) span.replaceChildren(...pieces, whole.slice(from));
}

function look() {
  const text = wanted();
  for (const one of document.querySelectorAll("#log mark")) {
    const span = one.parentElement;
    if (span) span.textContent = span.textContent;
  }
  marks = [];
  at = -1;
  for (const span of document.querySelectorAll("#log .line > span")) mark(span, text);
  go(-1);
}

// Into the middle of the log, without moving the page.
function bring(mark) {
  const log = document.getElementById("log");
  const [one, whole] = [mark.getBoundingClientRect(), log.getBoundingClientRect()];
  log.scrollTop += one.top - whole.top - log.clientHeight / 2;
  if (one.left < whole.left || one.right > whole.right) log.scrollLeft += one.left - whole.left - log.clientWidth / 2;
}

// To the next mark that is shown, or the one before.
function go(step) {
  const shown = marks.filter((one) => one.getClientRects().length);
  marks[at]?.classList.remove("current");
  if (shown.length) {
    const now = shown.indexOf(marks[at]);
    const next = now < 0 ? (step < 0 ? shown.length - 1 : 0) : (now + step + shown.length) % shown.length;
    at = marks.indexOf(shown[next]);
    marks[at].classList.add("current");
    bring(marks[at]);
  } else {
    at = -1;
  }
  counted();
}

function counted() {
  const count = part("count");
  if (!count) return;
  const shown = marks.filter((one) => one.getClientRects().length);
  const many = marks.length >= MOST_MARKS ? "+" : "";
  count.textContent = !wanted() ? "" : shown.length ? `${shown.indexOf(marks[at]) + 1} of ${shown.length}${many}` : "nothing";
}

// -- what is pressed --------------------------------------------------------------------------

document.addEventListener("input", (event) => {
  if (event.target !== part("find")) return;
  clearTimeout(waiting);
  waiting = setTimeout(look, DELAY);
});

document.addEventListener("change", (event) => {
  if (event.target === part("level")) counted();
});

document.addEventListener("keydown", (event) => {
  if (event.target !== part("find") || event.isComposing) return;
  if (event.key === "Enter") go(event.shiftKey ? -1 : 1);
  else if (event.key === "Escape" && event.target.value) {
    event.target.value = "";
    look();
  } else return;
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  const pressed = event.target.closest?.("#log-tools button");
  if (!pressed) return;
  if (pressed === part("next")) go(1);
  else if (pressed === part("previous")) go(-1);
  else if (pressed === part("pause")) {
    const lines = held;
    held = lines ? null : [];
    said();
    if (lines) append(document.getElementById("log"), lines);
  }
});
