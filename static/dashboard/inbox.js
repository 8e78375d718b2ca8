// The inbox by keyboard, and a few comforts. Everything works without this file.
(() => {
  "use strict";

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

  const singleKeys = () => document.querySelector("[data-keys]")?.dataset.keys !== "off";

  const isTyping = (target) =>
    target.isContentEditable ||
    (/^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName) && !/^(checkbox|radio)$/.test(target.type));

  const move = (step) => {
    const all = cards();
    if (!all.length) return;
    const place = all.indexOf(currentCard());
    const next = place < 0 ? (step > 0 ? 0 : all.length - 1) : place + step;
    const card = all[Math.min(Math.max(next, 0), all.length - 1)];
    card.focus();
    card.scrollIntoView({ block: "nearest" });
  };

  // An answer is chosen first and confirmed then: no key gives one by itself.
  let chosen = { task: "", answer: "" };

  const showChosen = (panel) => {
    const isHere = panel.dataset.task === chosen.task;
    let isAny = false;
    for (const button of panel.querySelectorAll(".answer")) {
      const isChosen = isHere && button.value === chosen.answer;
      button.classList.toggle("is-chosen", isChosen);
      isAny ||= isChosen;
    }
    for (const hint of panel.querySelectorAll("[data-confirm-hint]")) hint.hidden = !isAny;
  };

  const choose = (panel, button) => {
    if (!button || button.matches(":disabled")) return;
    chosen = { task: panel.dataset.task, answer: button.value };
    showChosen(panel);
    button.focus();
  };

  const forget = (panel) => {
    chosen = { task: "", answer: "" };
    showChosen(panel);
  };

  const answerOf = (panel, key) => panel.querySelector(`.answer[data-key="${key}"]`);

  const DEEDS = {
    a: (panel) => choose(panel, answerOf(panel, "a")),
    r: (panel) => choose(panel, answerOf(panel, "r")),
    c: (panel) => panel.querySelector('.task-handling [data-key="c"]')?.click(),
    e: (panel) => {
      const field = panel.querySelector(".decision [name=comment], .task-handling [name=text]");
      field?.closest("details")?.setAttribute("open", "");
      field?.focus();
    },
  };

  let wanted = ""; // what to do once the question is there

  const inQuestion = (key) => {
    const card = document.activeElement?.closest?.(".card");
    const panel = document.querySelector(".task");
    if (panel && (!card || card.hasAttribute("aria-current"))) {
      DEEDS[key](panel);
    } else if (card) {
      wanted = key;
      card.click();
    }
  };

  const KEYS = {
    j: () => move(1),
    k: () => move(-1),
    x: () => currentCard()?.closest(".card-row")?.querySelector("[data-tick]")?.click(),
    a: () => inQuestion("a"),
    r: () => inQuestion("r"),
    c: () => inQuestion("c"),
    e: () => inQuestion("e"),
  };

  const backToList = (panel) => {
    forget(panel);
    const card = document.querySelector("[data-cards] .card[aria-current]") ?? cards()[0];
    if (card?.checkVisibility?.() ?? card?.offsetParent) card.focus();
    else document.querySelector(".inbox-back")?.click();
  };

  // Ctrl+Enter: gives the answer that was chosen, or asks for one.
  const send = (form) => {
    const panel = form.closest(".task");
    const answers = [...form.querySelectorAll(".answer")];
    const button = answers.find((one) => one.classList.contains("is-chosen"));
    if (!button) choose(panel, answerOf(panel, "a") ?? answers.at(-1));
    else if (!button.matches(":disabled")) form.requestSubmit(button);
  };

  let goUntil = 0; // after g the shell's keys have their turn

  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.ctrlKey || event.metaKey) {
      const form = event.key === "Enter" && event.target.closest?.("[data-decision]");
      if (!form || event.isComposing) return;
      event.preventDefault();
      send(form);
      return;
    }
    if (!list()) return;
    if (event.key === "Escape") {
      const panel = event.target.closest?.(".task");
      if (!panel) return;
      event.preventDefault();
      if (isTyping(event.target)) event.target.blur();
      else backToList(panel);
      return;
    }
    if (isTyping(event.target) || !singleKeys() || event.timeStamp < goUntil) return;
    if (event.key === "g") goUntil = event.timeStamp + 1500;
    if (!Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    KEYS[event.key]();
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
    for (const button of root.querySelectorAll("[data-keys-open]")) button.hidden = false;
    for (const panel of root.querySelectorAll(".task")) showChosen(panel);
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

  let isActing = false; // whether the focus was in the question when it asked the server
  let known = null; // ids of the rows when the button was pressed that shows what is new
  let firstNew = -1; // place of the first card that "Load more" brings

  document.addEventListener("htmx:before:request", (event) => {
    const { request, sourceElement } = event.detail.ctx;
    showBusy(request.form, request.submitter);
    const within = sourceElement.closest?.(".task");
    if (within) isActing = within.contains(document.activeElement);
    if (request.submitter?.matches?.(".answer")) {
      const { task } = request.submitter.closest(".task").dataset;
      chosen = { task, answer: request.submitter.value };
    }
    if (sourceElement.matches("[data-more]")) firstNew = cards().length;
    if (sourceElement.matches(".news-button")) {
      known = new Set(cards().map((card) => card.parentElement.id));
    }
  });

  document.addEventListener("htmx:after:swap", (event) => {
    const { ctx } = event.detail;
    const target = ctx.target instanceof Element ? ctx.target : document.querySelector(ctx.target);
    prepare(document);
    if (list()) markCurrent(location.pathname);
    if (known && target?.id === "inbox-list") {
      cards().find((card) => !known.has(card.parentElement.id))?.focus();
      known = null;
    }
    if (firstNew >= 0 && cards().length > firstNew) {
      cards()[firstNew].focus({ preventScroll: true });
      firstNew = -1;
    }
    const isInPlace = Boolean(target?.matches?.(".task"));
    const panel = isInPlace
      ? document.querySelector(".task")
      : ["detail", "answer"].includes(target?.id) && target.querySelector(".task");
    if (!panel) return;
    if (isInPlace) {
      // The part that had the focus is gone, and the new one does not ask for it.
      const isLost = document.activeElement === document.body;
      if (isLost && isActing && panel) heading(panel).focus({ preventScroll: true });
      return;
    }
    if (target.id === "detail") document.title = `${heading(panel).textContent} · Signoff`;
    heading(panel).focus({ preventScroll: true });
    if (wanted) DEEDS[wanted](panel);
    wanted = "";
    panel.scrollIntoView({ block: "nearest" });
    if (panel.getBoundingClientRect().top < 0) panel.scrollIntoView();
  });

  // Going on to the next question, the page still says what became of the last.
  document.addEventListener("signoff:said", (event) => {
    const toasts = document.getElementById("toasts");
    toasts.textContent = event.detail.text;
    setTimeout(() => {
      toasts.textContent = "";
    }, 6000);
  });

  prepare(document);
})();
