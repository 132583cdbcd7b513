/* The inbox, live: rows come as they are drawn by the server. One for a position that is shown takes its place, any
   other goes on top. Without this script the page's "Newer" link shows what came since. */
"use strict";

function follow(sign) {
  const body = document.querySelector(".table tbody");
  const said = sign.querySelector("span");
  const source = new EventSource(sign.dataset.live);
  const say = (text, on) => {
    said.textContent = text;
    sign.classList.toggle("on", on);
  };
  sign.hidden = false;
  source.addEventListener("open", () => say("live", true));
  source.addEventListener("error", () => say("connecting", false));
  source.addEventListener("row", (message) => {
    if (!body) return location.reload();
    const holder = document.createElement("template");
    holder.innerHTML = message.data;
    const row = holder.content.querySelector("tr");
    const shown = document.getElementById(row.id);
    if (shown) shown.replaceWith(row);
    else body.prepend(row);
    while (body.rows.length > Number(sign.dataset.most)) body.lastElementChild.remove();
  });
}

for (const sign of document.querySelectorAll("[data-live]")) follow(sign);
