import { MoonIcon, SunIcon, SystemIcon } from "../ui/icons";
import { nextTheme, setTheme, useTheme } from "./theme";

const LOOK = { system: <SystemIcon />, light: <SunIcon />, dark: <MoonIcon /> };
const WORDS = { system: "as the system has it", light: "light", dark: "dark" };

export function ThemeButton() {
  const theme = useTheme();
  const next = nextTheme(theme);
  return (
    <button
      type="button"
      className="icon-button framed"
      aria-label={`Theme: ${WORDS[theme]}. Change to ${WORDS[next]}`}
      title={`Theme: ${WORDS[theme]}`}
      onClick={() => {
        setTheme(next);
      }}
    >
      {LOOK[theme]}
    </button>
  );
}
