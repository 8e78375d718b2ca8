// Switches the theme without a reload. The cookie lets the server send the next page in it.
"use strict";

const YEAR_S = 365 * 24 * 3600;

for (const form of document.querySelectorAll("[data-theme-switch]")) {
  form.addEventListener("submit", (event) => {
    const chosen = event.submitter?.value;
    if (!chosen) return;
    event.preventDefault();
    const root = document.documentElement;
    if (chosen === "system") {
      delete root.dataset.theme;
      document.cookie = "signoff_theme=; Path=/; Max-Age=0; SameSite=Lax";
    } else {
      root.dataset.theme = chosen;
      const secure = location.protocol === "https:" ? "; Secure" : "";
      document.cookie = `signoff_theme=${chosen}; Path=/; Max-Age=${YEAR_S}; SameSite=Lax${secure}`;
    }
    for (const button of form.elements) {
      if (button.name === "theme") {
        button.setAttribute("aria-pressed", String(button.value === chosen));
      }
    }
  });
}
