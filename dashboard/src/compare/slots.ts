/** The runs that are compared, by place: a run keeps its place, and with it its look, when another is taken out. */

/** No more can be told apart by colour, dash and shape together. */
export const MOST = 6;

const RUN_ID = /^[0-9A-HJKMNP-TV-Z]{26}$/;

/** The run in each place that an address names ("a,,c"); null where a place is empty. */
export function slotsIn(text: string | undefined): (string | null)[] {
  const seen = new Set<string>();
  return (text ?? "")
    .split(",")
    .map((id) => {
      if (!RUN_ID.test(id) || seen.has(id)) return null;
      seen.add(id);
      return id;
    })
    .slice(0, MOST);
}

/** How an address spells them; null for none. */
export function spelled(slots: readonly (string | null)[]): string | null {
  const text = slots
    .map((id) => id ?? "")
    .join(",")
    .replace(/,+$/, "");
  return text === "" ? null : text;
}

/** With the run put into the first empty place, or taken out of its own. */
export function toggled(slots: readonly (string | null)[], id: string): (string | null)[] {
  if (slots.includes(id)) return slots.map((other) => (other === id ? null : other));
  const free = slots.indexOf(null);
  if (free >= 0) return slots.map((other, place) => (place === free ? id : other));
  return slots.length < MOST ? [...slots, id] : [...slots];
}

export function chosen(slots: readonly (string | null)[]): string[] {
  return slots.filter((id) => id !== null);
}
