// Light or dark: as the system has it, unless the reader says otherwise.

import { onAct, sync } from "./dom.js";

const THEMES = ["auto", "light", "dark"];
const KEPT_AS = "callsheet-theme";

/** Takes the theme that was chosen before, and lets it be chosen. */
export function bindTheme() {
  show(kept());
  onAct("theme", () => {
    const next = THEMES[(THEMES.indexOf(kept()) + 1) % THEMES.length];
    keep(next);
    show(next);
  });
}

let chosen = "auto";

function kept() {
  try {
    const theme = localStorage.getItem(KEPT_AS);
    return THEMES.includes(theme) ? theme : chosen;
  } catch {
    return chosen; // a page that may keep nothing
  }
}

function keep(theme) {
  chosen = theme;
  try {
    localStorage.setItem(KEPT_AS, theme);
  } catch {
    // for as long as the page stands, then
  }
}

function show(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const element of document.querySelectorAll('[data-act="theme"]')) sync(element, `Theme: ${theme}`);
}
