// One text on its way to the ear: what has come of it, and how far it was given to the player.

import { Recording } from "./recording.js";

export class Utterance {
  #recording = new Recording();
  /** What was heard of an attempt that broke off. @type {Recording | null} */
  #before = null;
  #taken = 0;
  whole = false;

  /** Whether some of it was heard of an attempt that broke off. */
  get begun() {
    return this.#before !== null;
  }

  /** The next attempt begins: its reply will come from the start again. */
  restart() {
    if (this.#taken > 0) this.#before ??= this.#recording;
    this.#recording = new Recording();
  }

  /** @param {Uint8Array} chunk */
  append(chunk) {
    this.#recording.append(chunk);
  }

  /** The reply has come to its end. */
  end() {
    this.#recording.end();
    this.whole = true;
  }

  /**
   * What can be played next: up to the last pause, or up to the end if that is there.
   *
   * A new attempt goes on where the one before was heard to, if it sounds the same so far. When
   * another engine speaks it does not: then it is played from its start.
   * @returns {Blob | null}
   */
  take() {
    if (this.#before) {
      if (this.#recording.size < this.#taken && !this.whole) return null;
      if (!this.#recording.beginsAs(this.#before, this.#taken)) this.#taken = 0;
      this.#before = null;
    }
    const from = this.#taken;
    this.#taken = this.whole ? this.#recording.size : this.#recording.lastPause(from);
    return this.#taken > from ? this.#recording.file(from, this.#taken) : null;
  }

  /** Everything that has come, as one file. */
  file() {
    return this.#recording.file();
  }
}
