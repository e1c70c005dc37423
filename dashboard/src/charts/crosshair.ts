/**
 * The round under the pointer, shared by all charts.
 *
 * Kept outside React's tree: as context it re-rendered the page on each move (67 ms a frame), as a store only
 * the thin overlays that read it do.
 */
import { useSyncExternalStore } from "react";

let current: number | null = null;
const listeners = new Set<() => void>();

export function setCrosshair(round: number | null): void {
  if (round === current) return;
  current = round;
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useCrosshair(): number | null {
  return useSyncExternalStore(subscribe, () => current);
}
