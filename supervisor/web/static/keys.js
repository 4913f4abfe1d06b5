// Keys of every page, and the dialog that lists them. Owns which are taken and when: none in a field, none
// with Ctrl, Alt or Meta, and none for who has switched them off.

const OFF = "supervise-keys-off";
const FIELDS = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";

const dialog = document.getElementById("keys");
const taken = document.getElementById("keys-taken");

try {
  taken.checked = localStorage.getItem(OFF) === null;
} catch {
  // without a store it lasts as long as the page
}

taken.addEventListener("change", () => {
  try {
    if (taken.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  } catch {
    // as above
  }
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-keys]")) dialog.showModal();
});

document.addEventListener("keydown", (event) => {
  if (!taken.checked || event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.closest(FIELDS) || document.querySelector("dialog[open]")) return;
  if (event.key === "/") {
    const field = document.getElementById("find");
    field.focus();
    field.select();
  } else if (event.key === "?") {
    dialog.showModal();
  } else {
    return;
  }
  event.preventDefault();
});
