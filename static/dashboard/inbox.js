// The inbox by keyboard, and a few comforts. Everything works without this file.
(() => {
  "use strict";

  const SWITCH = "signoff-single-keys";
  const DRAFT = "signoff-draft:";
  const list = () => document.querySelector("[data-inbox]");
  const cards = () => [...document.querySelectorAll("[data-cards] .card")];
  const heading = (panel) => panel.querySelector(".task-title");
  const storage = (kind) => {
    try {
      return window[kind];
    } catch {
      return null; // switched off in the browser
    }
  };

  // --- Which card is open ---

  const markCurrent = (path) => {
    for (const card of cards()) {
      if (new URL(card.href).pathname === path) card.setAttribute("aria-current", "true");
      else card.removeAttribute("aria-current");
    }
  };

  const currentCard = () =>
    document.activeElement?.closest?.(".card") ??
    document.querySelector("[data-cards] .card[aria-current]");

  // --- Keys ---

  const singleKeys = () => storage("localStorage")?.getItem(SWITCH) !== "off";

  const isTyping = (target) =>
    target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName);

  const move = (step) => {
    const all = cards();
    if (!all.length) return;
    const place = all.indexOf(currentCard());
    const next = place < 0 ? (step > 0 ? 0 : all.length - 1) : place + step;
    const card = all[Math.min(Math.max(next, 0), all.length - 1)];
    card.focus();
    card.scrollIntoView({ block: "nearest" });
  };

  let wanted = ""; // the answer to go to once the question is there

  // Goes to the button and stops there: Enter is the confirmation.
  const goToAnswer = (key) => {
    const card = document.activeElement?.closest?.(".card");
    const panel = document.querySelector(".task");
    const isShown = panel && (!card || card.hasAttribute("aria-current"));
    if (isShown) {
      panel.querySelector(`.answer[data-key="${key}"]`)?.focus();
    } else if (card) {
      wanted = key;
      card.click();
    }
  };

  const KEYS = {
    j: () => move(1),
    k: () => move(-1),
    a: () => goToAnswer("a"),
    r: () => goToAnswer("r"),
    x: () => currentCard()?.closest(".card-row")?.querySelector("[data-tick]")?.click(),
    c: () => document.querySelector('.task [data-key="c"]')?.focus(),
    e: () => document.querySelector(".task [name=comment]")?.focus(),
  };

  const backToList = () => {
    const card = document.querySelector("[data-cards] .card[aria-current]") ?? cards()[0];
    if (card?.checkVisibility?.() ?? card?.offsetParent) card.focus();
    else document.querySelector(".inbox-back")?.click();
  };

  let goUntil = 0; // after g the shell's keys have their turn

  document.addEventListener("keydown", (event) => {
    if (!list() || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") {
      if (event.target.closest?.(".task")) {
        event.preventDefault();
        if (isTyping(event.target)) event.target.blur();
        else backToList();
      }
      return;
    }
    if (isTyping(event.target) || !singleKeys() || event.timeStamp < goUntil) return;
    if (event.key === "g") goUntil = event.timeStamp + 1500;
    if (!Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    KEYS[event.key]();
  });

  document.addEventListener("change", (event) => {
    if (!event.target.matches("[data-keys-switch]")) return;
    storage("localStorage")?.setItem(SWITCH, event.target.checked ? "on" : "off");
  });

  // --- Drafts: what was typed survives signing in again and going astray ---

  const draftKey = (field) => DRAFT + field.closest("[data-task]").dataset.task + ":" + field.name;

  document.addEventListener("input", (event) => {
    if (!event.target.closest("[data-decision]") || event.target.tagName !== "TEXTAREA") return;
    storage("sessionStorage")?.setItem(draftKey(event.target), event.target.value);
  });

  const prepare = (root) => {
    for (const field of root.querySelectorAll("[data-decision] textarea")) {
      field.value ||= storage("sessionStorage")?.getItem(draftKey(field)) ?? "";
    }
    for (const keys of root.querySelectorAll("[data-keys]")) {
      keys.hidden = false;
      keys.querySelector("[data-keys-switch]").checked = singleKeys();
    }
    // Answered: the draft has done its work.
    for (const panel of root.querySelectorAll(".task.is-over")) {
      for (const name of ["comment", "value"]) {
        storage("sessionStorage")?.removeItem(`${DRAFT}${panel.dataset.task}:${name}`);
      }
    }
  };

  // --- Buttons ---

  const showBusy = (form, button) => {
    if (!form?.matches?.("[data-decision]") || !button) return;
    button.querySelector(".idle").hidden = true;
    button.querySelector(".busy").hidden = false;
  };

  // In the inbox the next question takes the place of this one; elsewhere it is a page.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-next]");
    if (!link || !document.getElementById("detail") || event.defaultPrevented) return;
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    htmx.ajax("GET", link.href, { source: link, target: "#detail", swap: "innerHTML", push: "true" });
  });

  // --- htmx ---

  let firstNew = -1; // place of the first card that "Load more" brings

  document.addEventListener("htmx:before:request", (event) => {
    const { request, sourceElement } = event.detail.ctx;
    showBusy(request.form, request.submitter);
    if (sourceElement.matches("[data-more]")) firstNew = cards().length;
  });

  document.addEventListener("htmx:after:swap", (event) => {
    const { ctx } = event.detail;
    const target = ctx.target instanceof Element ? ctx.target : document.querySelector(ctx.target);
    prepare(document);
    if (list()) markCurrent(location.pathname);
    if (firstNew >= 0 && cards().length > firstNew) {
      cards()[firstNew].focus({ preventScroll: true });
      firstNew = -1;
    }
    const panel = ["detail", "answer"].includes(target?.id) && target.querySelector(".task");
    if (!panel) return;
    if (target.id === "detail") document.title = `${heading(panel).textContent} · Signoff`;
    const button = wanted && panel.querySelector(`.answer[data-key="${wanted}"]`);
    wanted = "";
    (button || heading(panel)).focus({ preventScroll: true });
    panel.scrollIntoView({ block: "nearest" });
    if (panel.getBoundingClientRect().top < 0) panel.scrollIntoView();
  });

  prepare(document);
})();
