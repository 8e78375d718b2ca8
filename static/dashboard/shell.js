// Small comforts of every page: keys, the menu, copying. All of it works without them.
"use strict";

(() => {
  const search = document.querySelector("[data-search]");
  const entries = { i: ".sidenav a[href*='inbox']", e: ".sidenav a[href*='executions']" };
  let goUntil = 0;

  const isTyping = (element) =>
    element.matches("input, textarea, select, [contenteditable]") || element.closest("dialog");

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape" && event.target === search) search.blur();
      return;
    }
    if (event.key === "/" && search) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "g") {
      goUntil = event.timeStamp + 1500;
    } else if (event.timeStamp < goUntil && entries[event.key]) {
      goUntil = 0;
      document.querySelector(entries[event.key])?.click();
    }
  });

  const closeMenus = (event) => {
    for (const menu of document.querySelectorAll("[data-menu][open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  };
  document.addEventListener("click", closeMenus);
  document.addEventListener("focusin", closeMenus);
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && event.target.closest("[data-menu][open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // Forms that send themselves need no button.
  for (const button of document.querySelectorAll("[data-noscript]")) button.hidden = true;

  const showCopy = (root) => {
    if (!navigator.clipboard) return;
    for (const button of root.querySelectorAll("[data-copy-text][hidden]")) button.hidden = false;
  };
  showCopy(document);
  document.addEventListener("htmx:after:swap", () => showCopy(document));
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy-text]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copyText);
    button.classList.add("is-copied");
    setTimeout(() => button.classList.remove("is-copied"), 1500);
  });
})();
