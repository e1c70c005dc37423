/**
 * The API key of this tab. It is kept in the tab's session storage, so that it ends with the tab, and is sent as a
 * header only: an address would end up in histories and logs.
 */
import { useSyncExternalStore } from "react";

const PLACE = "fedpriv-key";

export interface KeyState {
  key: string | null;
  /** The API's word on why it answers nothing, when it wants a key that it was not given. */
  asked: string | null;
}

let state: KeyState = { key: stored(), asked: null };
const listeners = new Set<() => void>();

function stored(): string | null {
  try {
    return sessionStorage.getItem(PLACE);
  } catch {
    return null; // storage is off: the key lives as long as the page
  }
}

function change(next: KeyState): void {
  state = next;
  for (const listener of listeners) listener();
}

/** Headers that say who asks. */
export function keyHeaders(): Record<string, string> {
  return state.key === null ? {} : { authorization: `Bearer ${state.key}` };
}

/** The API did not take the key, or wants one. */
export function keyWanted(why: string): void {
  if (state.asked !== why) change({ ...state, asked: why });
}

/** Go on with this key. */
export function signIn(key: string): void {
  try {
    sessionStorage.setItem(PLACE, key);
  } catch {
    // It is kept in memory all the same.
  }
  change({ key, asked: null });
}

/** Forget the key. */
export function signOut(): void {
  try {
    sessionStorage.removeItem(PLACE);
  } catch {
    // There was nothing to forget.
  }
  change({ key: null, asked: "You have signed out." });
}

export function useKey(): KeyState {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => state,
  );
}
