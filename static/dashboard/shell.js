// Small comforts of every page: keys, the menu, copying. All of it works without them.
"use strict";

(() => {
  const search = () => document.querySelector("[data-search], [data-inbox] .filters [name=q]");
  const entries = { i: ".sidenav a[href*='inbox']", e: ".sidenav a[href*='executions']" };
  const help = document.querySelector("[data-keys]");
  const NOT_TYPED = "[type=checkbox], [type=radio], [type=submit], [type=button]";
  let goUntil = 0;

  const isTyping = (element) =>
    element.matches("input, textarea, select, [contenteditable]") && !element.matches(NOT_TYPED);

  // Ctrl+Enter sends what is being written; a decision asks which answer, see inbox.js.
  const send = (event) => {
    const { form } = event.target;
    if (event.target.tagName !== "TEXTAREA" || !form || form.matches("[data-decision]")) return;
    event.preventDefault();
    form.requestSubmit(form.querySelector("button:not([type=button], :disabled)"));
  };

  const goToSearch = () => {
    const field = search();
    if (!field) return;
    field.closest("details")?.setAttribute("open", "");
    field.focus();
    field.select();
  };

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key === "Enter" && !event.isComposing) send(event);
      return;
    }
    if (isTyping(event.target)) {
      if (event.key === "Escape" && event.target === search()) event.target.blur();
      return;
    }
    if (help?.dataset.keys === "off") return;
    if (event.key === "/" && search()) {
      event.preventDefault();
      goToSearch();
    } else if (event.key === "?" && help) {
      event.preventDefault();
      help.showModal();
    } else if (event.key === "g") {
      goUntil = event.timeStamp + 1500;
    } else if (event.timeStamp < goUntil && entries[event.key]) {
      goUntil = 0;
      document.querySelector(entries[event.key])?.click();
    }
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-keys-open]")) help?.showModal();
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
