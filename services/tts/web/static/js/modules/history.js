// What was spoken lately, kept in this browser: the texts and how they were spoken, not the sound,
// which the server has in its phrase cache.

const MOST = 20;

/** @typedef {{text: string, settings: Record<string, any>, at: number}} Entry `at`: unix ms */

export class History {
  #kept;
  /** The latest first. @type {Entry[]} */
  entries;

  /** @param {Kept} kept */
  constructor(kept) {
    this.#kept = kept;
    const found = kept.get("history");
    this.entries = Array.isArray(found) ? found.filter(isEntry) : [];
  }

  /** @param {Entry} entry */
  add(entry) {
    const key = keyOf(entry);
    this.entries = [entry, ...this.entries.filter((one) => keyOf(one) !== key)].slice(0, MOST);
    this.#kept.set("history", this.entries);
  }

  clear() {
    this.entries = [];
    this.#kept.set("history", this.entries);
  }
}

/**
 * Whether this is one, and not what another version of the page has left.
 * @param {any} one
 */
function isEntry(one) {
  return typeof one?.text === "string" && typeof one.settings?.speed === "number";
}

/** @param {Entry} entry */
function keyOf({ text, settings }) {
  return JSON.stringify([text, settings?.voice, settings?.fx, settings?.speed]);
}

/** Values that outlive the page, where the browser keeps any. */
export class Kept {
  /** @param {string} name */
  get(name) {
    try {
      return JSON.parse(localStorage.getItem(`speech.${name}`) ?? "null");
    } catch {
      return null;
    }
  }

  /**
   * @param {string} name
   * @param {unknown} value
   */
  set(name, value) {
    try {
      localStorage.setItem(`speech.${name}`, JSON.stringify(value));
    } catch {
      // Storage is full or forbidden: the page does without.
    }
  }
}
