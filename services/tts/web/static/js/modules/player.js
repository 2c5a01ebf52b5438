// One audio element that plays a speech in files, as much at a time as is there.

import { SpeechError } from "./failure.js";

/**
 * `waiting` for more of it; `blocked`: the browser wants a click before it plays.
 * @typedef {"playing" | "waiting" | "blocked"} Sound
 */

/**
 * What is played: `take` gives what has come since, null for nothing; `whole` says that it has all
 * come.
 * @typedef {{take: () => Blob | null, readonly whole: boolean}} Source
 */

export class Player {
  #audio;
  #tell;
  /** @type {Source | null} */
  #source = null;
  #url = "";
  #over = { resolve: () => {}, reject: (/** @type {unknown} */ _) => {} };

  /**
   * @param {HTMLAudioElement} audio used again and again: browsers that ask for a click before they
   *   play remember for the element that there was one
   * @param {(sound: Sound) => void} tell
   */
  constructor(audio, tell) {
    this.#audio = audio;
    this.#tell = tell;
    audio.addEventListener("ended", () => this.#next());
    audio.addEventListener("error", () => {
      if (this.#url) this.#fail(audio.error?.message ?? "");
    });
  }

  /**
   * Plays a source from now on, in place of another.
   * @param {Source} source
   * @returns {Promise<void>} settled when all of it was played, or failed; never after `clear`
   */
  start(source) {
    this.clear();
    this.#source = source;
    return new Promise((resolve, reject) => {
      this.#over = { resolve, reject };
    });
  }

  /** More of the source has come, or its end. */
  more() {
    if (this.#source && !this.#url) this.#next();
  }

  /** Goes on where the browser wanted a click; call it in the click. */
  resume() {
    if (this.#url) this.#play();
  }

  /** Silence, and no source. */
  clear() {
    this.#source = null;
    this.#release();
    this.#audio.pause();
    this.#audio.removeAttribute("src");
    this.#audio.load();
  }

  #next() {
    const had = this.#url !== "";
    this.#release();
    const file = this.#source?.take();
    if (file) {
      this.#url = URL.createObjectURL(file);
      this.#audio.src = this.#url;
      this.#play();
    } else if (this.#source?.whole) {
      this.clear();
      this.#over.resolve();
    } else if (had) {
      this.#tell("waiting");
    }
  }

  #play() {
    const url = this.#url;
    this.#audio.play().then(
      () => url === this.#url && this.#tell("playing"),
      (error) => {
        // What a stop has interrupted is no failure.
        if (url !== this.#url || error.name === "AbortError") return;
        if (error.name === "NotAllowedError") this.#tell("blocked");
        else this.#fail(error.message);
      },
    );
  }

  /** @param {string} detail */
  #fail(detail) {
    this.clear();
    this.#over.reject(new SpeechError("playback", { detail }));
  }

  #release() {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = "";
  }
}
