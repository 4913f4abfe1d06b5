// The search at the top as a combobox. Owns its list and the keys in it; what is found is drawn by the
// server, as the page /search, which is also where the field leads without this.

const DELAY = 80; // ms of quiet until it is looked for what was typed

const field = document.getElementById("find");
const list = document.getElementById("find-list");
const told = document.getElementById("find-told");
let waiting = 0;
let asked = null;
let active = null;

field.type = "text"; // a search field may not be a combobox
field.placeholder = "Search  /";
for (const [name, value] of Object.entries({
  role: "combobox",
  "aria-autocomplete": "list",
  "aria-controls": "find-list",
  "aria-expanded": "false",
})) {
  field.setAttribute(name, value);
}
list.setAttribute("role", "listbox");
list.setAttribute("aria-label", "found");

function options() {
  return [...list.querySelectorAll("[role=option]")];
}

function choose(option) {
  active?.setAttribute("aria-selected", "false");
  active = option ?? null;
  if (!active) return field.removeAttribute("aria-activedescendant");
  active.setAttribute("aria-selected", "true");
  active.scrollIntoView({ block: "nearest" });
  field.setAttribute("aria-activedescendant", active.id);
}

function open(shown) {
  list.hidden = !shown;
  field.setAttribute("aria-expanded", String(shown));
  if (!shown) choose(null);
}

function close() {
  clearTimeout(waiting);
  asked?.abort();
  open(false);
}

function option(name, note, link) {
  const made = document.createElement("div");
  made.id = `find-${options().length}`;
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", "false");
  made.dataset.link = link;
  const strong = document.createElement("b");
  strong.textContent = name;
  const dim = document.createElement("span");
  dim.className = "dim";
  dim.textContent = note;
  made.append(strong, " ", dim);
  return made;
}

function draw(fresh, address) {
  choose(null);
  list.replaceChildren();
  for (const section of fresh.querySelectorAll("#results section")) {
    const group = document.createElement("div");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", section.dataset.title);
    const title = document.createElement("p");
    title.textContent = section.dataset.title;
    title.setAttribute("aria-hidden", "true");
    group.append(title);
    list.append(group);
    for (const row of section.querySelectorAll("li")) {
      const link = row.querySelector("a");
      group.append(option(link.textContent, row.querySelector(".dim").textContent, link.getAttribute("href")));
    }
  }
  const said = fresh.getElementById("found").textContent;
  list.append(option(said, "show all", address));
  told.textContent = said;
  open(true);
}

async function look() {
  asked?.abort();
  const text = field.value.trim();
  if (!text) return close();
  const mine = (asked = new AbortController());
  try {
    const answer = await fetch(`/search?${new URLSearchParams({ few: "1", q: text })}`, { signal: mine.signal });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!mine.signal.aborted && fresh.getElementById("results")) draw(fresh, `/search?${new URLSearchParams({ q: text })}`);
  } catch (error) {
    if (error.name !== "AbortError") console.warn(error);
  }
}

field.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(look, DELAY);
});
field.addEventListener("focus", () => {
  if (field.value.trim()) look();
});
field.addEventListener("blur", close);
field.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  const shown = list.hidden ? [] : options();
  const at = shown.indexOf(active);
  if (event.key === "Escape") {
    if (!list.hidden) close();
    else if (field.value) field.value = "";
    else field.blur();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    if (!shown.length) look();
    // From the field to the first or the last, and over the ends back into the field.
    else choose(shown[event.key === "ArrowDown" ? at + 1 : at < 0 ? shown.length - 1 : at - 1]);
  } else if (event.key === "Enter" && active) {
    location.assign(active.dataset.link);
  } else {
    return;
  }
  event.preventDefault();
});
// The field keeps the focus while the list is pressed.
list.addEventListener("mousedown", (event) => event.preventDefault());
list.addEventListener("click", (event) => {
  const link = event.target.closest("[role=option]")?.dataset.link;
  if (link && (event.ctrlKey || event.metaKey)) window.open(link, "_blank", "noopener");
  else if (link) location.assign(link);
});
