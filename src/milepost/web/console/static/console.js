/* What a script adds to pages that work without it: the theme's switch, "/" for the search box, copying a text, ticking
   all of a list, and reading a chart under the pointer. Nothing here asks the server for anything; htmx does. What
   only a script can do is left out by the style sheet where there is none (`@media (scripting: none)`). */
"use strict";

const YEAR_S = 365 * 24 * 3600;

/* [data-theme-switch]: remembered in a cookie, so that the server draws the next page in it from the start. */
function theme() {
  return document.documentElement.dataset.theme ?? "";
}

function choose(theme) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `theme=${theme}; path=/; max-age=${theme ? YEAR_S : 0}; samesite=lax${secure}`;
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  document.querySelector('meta[name="color-scheme"]').content = theme || "light dark";
  showTheme();
}

function showTheme() {
  for (const button of document.querySelectorAll("[data-theme-choice]")) {
    button.setAttribute("aria-pressed", String(button.dataset.themeChoice === theme()));
  }
}

/* [data-copy]: its text goes to the clipboard, and the button says so for a while. */
async function copy(button) {
  await navigator.clipboard.writeText(button.dataset.copy);
  const said = button.querySelector("span");
  said.dataset.before ??= said.textContent;
  said.textContent = "Copied";
  setTimeout(() => (said.textContent = said.dataset.before), 1500);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-theme-choice], [data-copy]");
  if (button?.dataset.copy !== undefined) copy(button);
  else if (button) choose(button.dataset.themeChoice);
});

/* [data-tick-all="name"]: ticks every box of that name in its form. form[data-auto]: sent when a choice changes. */
document.addEventListener("change", (event) => {
  const name = event.target.dataset.tickAll;
  if (name !== undefined) {
    for (const box of event.target.form.querySelectorAll('input[type="checkbox"]')) {
      if (box.name === name) box.checked = event.target.checked;
    }
  } else if (event.target.matches("form[data-auto] select")) event.target.form.requestSubmit();
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea, [contenteditable]")) return;
  const box = document.querySelector("[data-find]") ?? document.getElementById("find");
  if (!box) return;
  event.preventDefault();
  box.focus();
  box.select();
});

showTheme();

/* [data-says], in charts: told beside the pointer, in place of the browser's own slow hint. */
const tip = document.createElement("p");
tip.className = "tip";
tip.setAttribute("aria-hidden", "true");
tip.hidden = true;
document.body.append(tip);

document.addEventListener("pointermove", (event) => {
  const spot = event.target.closest?.("[data-says]");
  tip.hidden = !spot;
  if (!spot) return;
  spot.querySelector("title")?.remove();
  tip.textContent = spot.dataset.says;
  const { width, height } = tip.getBoundingClientRect();
  const left = event.clientX + 14 + width > innerWidth ? event.clientX - 14 - width : event.clientX + 14;
  tip.style.translate = `${Math.max(4, left)}px ${Math.max(4, event.clientY - height - 10)}px`;
});
document.addEventListener("scroll", () => (tip.hidden = true), { passive: true });
