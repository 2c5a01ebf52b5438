// Looks at the server's state again and again, seldom when it does not answer, never when nobody
// looks at the page.

const EVERY = 2000;
const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15_000;

/** @typedef {{health: any, retryIn: number}} Sight `health` is null when there was no answer */

export class HealthWatch {
  #look;
  #tell;
  #failures = 0;
  #running = false;
  #looking = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #wake = () => this.now();

  /**
   * @param {() => Promise<any>} look
   * @param {(sight: Sight) => void} tell
   */
  constructor(look, tell) {
    this.#look = look;
    this.#tell = tell;
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
    globalThis.addEventListener?.("online", this.#wake);
    this.now();
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    globalThis.removeEventListener?.("online", this.#wake);
  }

  /** Looks at once: something has happened. */
  now() {
    this.#failures = 0;
    clearTimeout(this.#timer);
    if (!this.#looking) this.#turn();
  }

  async #turn() {
    if (!this.#running || globalThis.document?.hidden) return;
    this.#looking = true;
    let health = null;
    try {
      health = await this.#look();
      this.#failures = 0;
    } catch {
      this.#failures += 1;
    }
    this.#looking = false;
    if (!this.#running) return;
    const retryIn = health ? EVERY : backoff(this.#failures, FIRST_PAUSE, LONGEST_PAUSE);
    this.#tell({ health, retryIn });
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#turn(), retryIn);
  }
}

/**
 * Milliseconds before the next try: twice as long each time, and by chance up to half of that
 * shorter, so that many clients do not come together.
 * @param {number} failures one or more
 * @param {number} first
 * @param {number} longest
 */
export function backoff(failures, first, longest) {
  return Math.min(longest, first * 2 ** (failures - 1)) * (1 - Math.random() / 2);
}
