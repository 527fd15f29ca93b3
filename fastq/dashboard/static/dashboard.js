// Keeps the page fresh, and gives it keys. Everything can be read, and every form sent, without it.
"use strict";

const main = document.getElementById("main");
const base = document.body.dataset.base;

// -- fresh

function busy() { // somebody is typing, choosing, or has something open
  return main.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")
    || main.querySelector("input[type=checkbox]:checked, details[open]") || getSelection().toString();
}

if (document.body.dataset.events) {
  let stream = null;
  const listen = () => {
    stream = new EventSource(document.body.dataset.events);
    stream.onmessage = (event) => {
      if (!busy()) {
        const y = scrollY;
        main.innerHTML = event.data; // made and escaped by the server, as the page itself
        scrollTo(0, y);
      }
    };
  };
  const watch = () => { // nobody looks at a hidden page
    if (document.hidden) { if (stream) stream.close(); stream = null; } else if (!stream) listen();
  };
  document.addEventListener("visibilitychange", watch);
  watch();
}

// -- forms

document.addEventListener("submit", (event) => {
  const question = event.submitter && event.submitter.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-all]")) {
    for (const box of main.querySelectorAll("input[name=id]")) box.checked = event.target.checked;
  }
});

document.addEventListener("click", (event) => {
  const text = event.target.closest("[data-copy]");
  if (text && navigator.clipboard) navigator.clipboard.writeText(text.textContent);
});

// -- keys: / searches, g and a letter goes to a page, j and k walk through a table, x chooses

let going = false;
let row = -1;

function walk(step) {
  const rows = [...main.querySelectorAll("tbody tr")];
  if (!rows.length) return;
  row = Math.max(0, Math.min(rows.length - 1, row + step));
  rows.forEach((each, place) => each.classList.toggle("here", place === row));
  rows[row].scrollIntoView({block: "nearest"});
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const here = main.querySelector("tr.here");
  if (going) {
    const link = document.querySelector(`nav [data-key="${CSS.escape(event.key)}"]`);
    going = false;
    if (link) location.href = link.href;
  } else if (event.key === "g") going = true;
  else if (event.key === "/") { event.preventDefault(); document.querySelector("[type=search]").focus(); }
  else if (event.key === "j") walk(1);
  else if (event.key === "k") walk(-1);
  else if (event.key === "x" && here) here.querySelector("input[type=checkbox]")?.click();
  else if (event.key === "Enter" && here) here.querySelector("a")?.click();
});
