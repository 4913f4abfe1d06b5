// Orders to locations: which are chosen, what is asked before, and what is said of what came of it. What is
// asked is drawn by the server, as the page that a browser without this gets.

const ASKED = ["stop", "restart"];
const SAID = 5000; // ms that an answer stays

const dialog = document.getElementById("confirm");
let forgetting = 0;

// -- choosing several -------------------------------------------------------------------------

function choices() {
  return [...document.querySelectorAll("input[data-choice=one]")];
}

// How many are chosen; rows may have come and gone.
export function count() {
  const all = document.querySelector("input[data-choice=all]");
  if (!all) return;
  const shown = choices();
  const chosen = shown.filter((one) => one.checked).length;
  document.getElementById("chosen-count").textContent = chosen;
  all.checked = chosen > 0 && chosen === shown.length;
  all.indeterminate = chosen > 0 && chosen < shown.length;
}

document.addEventListener("change", (event) => {
  if (!event.target.matches?.("input[data-choice]")) return;
  if (event.target.dataset.choice === "all") for (const one of choices()) one.checked = event.target.checked;
  count();
});

// -- giving orders ----------------------------------------------------------------------------

export function ordering(update) {
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("form.order")) return;
    event.preventDefault();
    const button = event.submitter ?? form.querySelector("button");
    const given = new FormData(form);
    if (button.name) given.set(button.name, button.value);
    const what = button.getAttribute("aria-label") ?? button.textContent;
    button.setAttribute("aria-busy", "true");
    try {
      if (ASKED.includes(given.get("order")) && !given.has("sure")) await ask(given);
      else await give(given, what);
    } catch {
      tell(`${what}: this page's own server does not answer`);
    } finally {
      button.removeAttribute("aria-busy");
    }
    update();
  });
}

async function ask(given) {
  const answer = await fetch("/orders", { method: "POST", body: new URLSearchParams(given) });
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const question = fresh.getElementById("question");
  if (!question) return tell(fresh.querySelector("main .bad")?.textContent ?? `the answer is ${answer.status}`);
  dialog.replaceChildren(document.importNode(question, true));
  dialog.showModal();
}

async function give(given, what) {
  dialog.close();
  const answer = await fetch("/api/v1/orders", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ order: given.get("order"), locations: given.getAll("location"), all: given.has("all") }),
  });
  const said = await answer.json();
  tell(answer.ok ? inWords(said.locations) : `${what}: ${said.error.message}`);
  if (!answer.ok) return;
  for (const one of choices()) one.checked = false;
  count();
}

dialog.addEventListener("click", (event) => {
  if (!event.target.closest("[data-close]")) return;
  event.preventDefault();
  dialog.close();
});

// What became of an order: "one, two reloading; three is stopped: use start".
function inWords(locations) {
  const groups = new Map();
  for (const [name, word] of Object.entries(locations)) groups.set(word, [...(groups.get(word) ?? []), name]);
  return Array.from(groups, ([word, names]) => `${names.length > 3 ? `${names.length} locations` : names.join(", ")} ${word}`).join("; ");
}

function tell(text) {
  const told = document.getElementById("told");
  told.textContent = text;
  clearTimeout(forgetting);
  forgetting = setTimeout(() => (told.textContent = ""), SAID);
}
