// The list of the inbox: what is ticked, and rows that have had their time. It works without.
(() => {
  "use strict";

  const STAYS = 10_000; // ms that a row stays after its question was answered elsewhere

  // --- The bar for what is ticked ---

  const ticks = () => [...document.querySelectorAll("[data-tick]")];

  const showTicked = () => {
    const bar = document.querySelector("[data-bulk]");
    if (!bar) return;
    const ticked = ticks().filter((one) => one.checked);
    const isMixed = new Set(ticked.map((one) => one.dataset.tick)).size > 1;
    const count = bar.querySelector("[data-bulk-count]");
    count.hidden = !ticked.length;
    // It is read aloud when it is written, though it be the same.
    const number = count.querySelector("b");
    if (ticked.length && number.textContent !== String(ticked.length)) {
      number.textContent = ticked.length;
    }
    bar.querySelector("[data-bulk-clear]").hidden = !ticked.length;
    bar.querySelector("[data-bulk-why]").hidden = !isMixed;
    for (const button of bar.querySelectorAll("[data-bulk-ticked]")) {
      button.disabled = !ticked.length || (isMixed && "bulkAlike" in button.dataset);
      if (isMixed && button.disabled) button.setAttribute("aria-describedby", "bulk-why");
      else button.removeAttribute("aria-describedby");
    }
  };

  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-tick]")) showTicked();
  });

  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-bulk-clear]")) return;
    for (const one of ticks()) one.checked = false;
    showTicked();
    document.querySelector("[data-cards] .card")?.focus();
  });

  // --- Rows that are over go, but never under the pointer or the keyboard ---

  const leaving = new WeakSet();
  // Under a finger that is about to come down there is no pointer to tell: there they stay.
  const hasPointer = matchMedia("(hover: hover)").matches;

  const leave = (row) => {
    // The last one stays: an empty list says less.
    if (!row.isConnected || row.parentElement.querySelectorAll(".card-row").length < 2) return;
    if (!hasPointer) return;
    const isWatched = row.matches(":hover, :focus-within, :has([aria-current])");
    if (isWatched || row.parentElement.matches(":hover")) {
      setTimeout(leave, STAYS, row);
      return;
    }
    const heading = row.previousElementSibling;
    const next = row.nextElementSibling;
    row.remove();
    const isEmpty = !next || next.matches(".bucket, .more");
    if (heading?.matches(".bucket") && isEmpty) heading.remove();
  };

  const watchRows = () => {
    const isDone = new URLSearchParams(location.search).get("tab") === "done";
    for (const row of isDone ? [] : document.querySelectorAll("[data-cards] > .is-over")) {
      if (leaving.has(row)) continue;
      leaving.add(row);
      setTimeout(leave, STAYS, row);
    }
  };

  // A row that is greyed is as high as before: what is below it stays where it is.
  const heights = new Map();
  const heightOf = (element) => element.getBoundingClientRect().height;

  document.addEventListener("htmx:before:swap", () => {
    for (const row of document.querySelectorAll("[data-cards] > .card-row:not(.is-over)")) {
      heights.set(row.id, heightOf(row));
    }
  });

  const keepHeights = () => {
    for (const row of document.querySelectorAll("[data-cards] > .is-over")) {
      const card = row.querySelector(".card");
      const before = heights.get(row.id);
      if (before) card.style.minHeight = `${before - heightOf(row) + heightOf(card)}px`;
    }
  };

  document.addEventListener("htmx:after:swap", () => {
    keepHeights();
    showTicked();
    watchRows();
  });

  showTicked();
  window.addEventListener("pageshow", showTicked); // boxes that the browser ticks again
})();
