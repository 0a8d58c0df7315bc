// Light, dark, or as the device prefers.

import { byId } from "./dom.js";

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

export function startTheme() {
  use(localStorage.getItem("theme"));
  byId("theme")?.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    localStorage.setItem("theme", theme);
    use(theme);
  });
}

const isDark = () => (document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light")) === "dark";

function use(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}
