// Keeps pages fresh. The stream (hx-sse) says what changed, as events that bubble to the body, and
// parts of the page fetch themselves. Should the stream be missing, every part is told to look every
// ten seconds, unless it has just done so, still does, or nobody can see it; each time that fails
// the pause doubles, up to a few minutes.
"use strict";

(() => {
  const NAMES = ["inbox", "executions", "execution"];
  const POLL_MS = 10_000;
  const LONGEST_MS = 16 * POLL_MS;
  const pauses = Object.fromEntries(NAMES.map((name) => [name, POLL_MS]));
  const failing = new Set();
  const lookedAt = Object.fromEntries(NAMES.map((name) => [name, performance.now()]));
  let wasHidden = document.hidden;

  const listeners = (name) =>
    [...document.querySelectorAll("[hx-trigger]")].filter((element) =>
      element.getAttribute("hx-trigger").split(",").some((one) => one.trim().split(" ")[0] === name),
    );

  const isBusy = (name) =>
    listeners(name).some((element) => element.classList.contains("htmx-request"));

  const look = (name) => {
    lookedAt[name] = performance.now();
    if (!failing.delete(name)) pauses[name] = POLL_MS;
    htmx.trigger(document.body, name);
  };

  const pauseOf = (name) => (failing.has(name) ? pauses[name] : POLL_MS);

  const waitLonger = (element) => {
    for (const name of NAMES) {
      if (failing.has(name) || !listeners(name).includes(element)) continue;
      failing.add(name);
      pauses[name] = Math.min(2 * pauses[name], LONGEST_MS);
    }
  };

  for (const name of NAMES) {
    document.body.addEventListener(name, () => {
      lookedAt[name] = performance.now();
    });
  }

  setInterval(() => {
    if (document.hidden) return;
    for (const name of NAMES) {
      if (performance.now() - lookedAt[name] >= pauseOf(name) && !isBusy(name)) look(name);
    }
  }, 1000);

  document.addEventListener("visibilitychange", () => {
    if (wasHidden && !document.hidden) NAMES.forEach(look);
    wasHidden = document.hidden;
  });

  // Parts with a clock of their own are for pages without this file.
  document.addEventListener("htmx:config:request", (event) => {
    const { sourceElement, sourceEvent } = event.detail.ctx;
    const isOwnClock = sourceEvent?.type === "every" && sourceElement.matches("[data-poll]");
    const isUnseen = document.hidden && sourceElement.matches("[data-poll], [data-quiet]");
    if (isOwnClock || (isUnseen && sourceElement.id !== "live")) event.preventDefault();
  });

  // What a person did and what failed is said; a part that refreshes itself fails in silence, until
  // it fails again.
  const errors = document.getElementById("errors");
  const toasts = document.getElementById("toasts");
  let silentFailures = 0;

  const isSilent = (element) => Boolean(element?.matches?.("[data-quiet], [data-poll]"));

  const complain = (element, text) => {
    if (isSilent(element) && ++silentFailures < 3) return;
    errors.textContent = text;
  };

  document.addEventListener("htmx:response:error", (event) => {
    const { sourceElement, response } = event.detail.ctx;
    if (sourceElement.id === "live" || [409, 422].includes(response.status)) return;
    waitLonger(sourceElement);
    const { failed, forbidden } = errors.dataset;
    complain(sourceElement, [403, 404].includes(response.status) ? forbidden : failed);
  });

  document.addEventListener("htmx:error", (event) => {
    const element = event.detail.ctx?.sourceElement;
    if (!element || element.id === "live") return;
    waitLonger(element);
    complain(element, errors.dataset.offline);
  });

  document.addEventListener("htmx:after:request", (event) => {
    const { sourceElement, response } = event.detail.ctx;
    if (sourceElement.id === "live" || response.status >= 400) return;
    silentFailures = 0;
    errors.textContent = "";
  });

  // That something ended while somebody watched is said once.
  const announcement = () => document.querySelector("[data-announce]")?.dataset.announce;
  let announced = announcement();
  document.addEventListener("htmx:after:swap", () => {
    const said = announcement();
    if (said && announced === "") {
      toasts.textContent = said;
      setTimeout(() => {
        toasts.textContent = "";
      }, 6000);
    }
    announced = said;
  });
})();
