// Fields that depend on others are hidden while they do not count. Everything works without this.
(() => {
  "use strict";

  const inputs = (form, name) => form.querySelectorAll(`[name="${CSS.escape(name)}"]`);

  const textOf = (form, name) => {
    const [input] = inputs(form, name);
    if (!input || input.closest("[data-when][hidden]")) return "";
    return input.type === "checkbox" ? String(input.checked) : input.value.trim();
  };

  const holds = (form, { values, present }) =>
    present.every((name) => textOf(form, name) !== "") &&
    Object.entries(values).every(([name, wanted]) => {
      const text = textOf(form, name);
      return text === "" || wanted.includes(text);
    });

  const update = (form) => {
    for (const part of form.querySelectorAll("[data-when]")) {
      const condition = JSON.parse(part.dataset.when);
      part.hidden = holds(form, condition) !== condition.wanted;
      // The note says when the field counts: whoever sees it come and go need not read that.
      const note = part.querySelector(":scope > .part-note");
      if (note) note.hidden = true;
    }
  };

  const updateAll = () => {
    for (const fields of document.querySelectorAll("[data-fields]")) update(fields);
  };

  const updateAround = (event) => {
    const fields = event.target.closest?.("[data-fields]");
    if (fields) update(fields);
  };

  document.addEventListener("input", updateAround);
  document.addEventListener("change", updateAround);
  document.addEventListener("htmx:after:swap", updateAll);

  // Enter confirms nothing here: a decision has buttons of its own.
  document.addEventListener("keydown", (event) => {
    const isInput = event.target.matches?.("[data-fields] input:not([type=checkbox])");
    if (event.key === "Enter" && isInput && !event.isComposing) event.preventDefault();
  });

  updateAll();
})();
