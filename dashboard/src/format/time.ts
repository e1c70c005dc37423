/** Times are shown in UTC, as logs and ledgers have them; the reader's own time is a hover away. */

const localTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

/** HH:MM:SS of an ISO time, in UTC. */
export function utcTime(iso: string): string {
  return new Date(iso).toISOString().slice(11, 19);
}

/** "24 Nov, 04:31 UTC" of an ISO time. */
export function utcMinute(iso: string): string {
  const date = new Date(iso);
  const month = date.toLocaleString("en-GB", { month: "short", timeZone: "UTC" });
  return `${String(date.getUTCDate())} ${month}, ${date.toISOString().slice(11, 16)} UTC`;
}

/** The whole time in the reader's zone. */
export function local(iso: string): string {
  return localTime.format(new Date(iso));
}

/** "2 s ago" for a number of milliseconds. */
export function ago(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${String(seconds)} s ago`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${String(minutes)} min ago`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${String(hours)} h ago` : `${String(Math.floor(hours / 24))} days ago`;
}

/** "24 Nov" of an ISO time. */
export function utcDay(iso: string): string {
  return new Date(iso).toLocaleString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
}
