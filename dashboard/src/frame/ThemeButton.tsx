import { useState } from "react";

function isDark(): boolean {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Switches between light and dark and remembers it; theme.js applies it before the first paint. */
export function ThemeButton() {
  const [dark, setDark] = useState(isDark);
  const toggle = (): void => {
    const theme = dark ? "light" : "dark";
    document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("fedpriv.theme", theme);
    } catch {
      // Storage may be blocked; the choice then lasts as long as the page.
    }
    setDark(!dark);
  };
  return (
    <button
      type="button"
      className="icon-button"
      onClick={toggle}
      aria-label={dark ? "Light theme" : "Dark theme"}
    >
      <span aria-hidden="true">{dark ? "☀" : "☾"}</span>
    </button>
  );
}
