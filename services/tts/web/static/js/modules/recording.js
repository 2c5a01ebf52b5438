// A WAV that is still coming: what of it can be played already, and the whole when it is there.

import { SpeechError } from "./failure.js";

const HEADER = 44;
const UNKNOWN = 0xffffffff; // the size of what was not spoken to its end when it was written
const PAUSE_SECONDS = 0.04; // the server's pause is 0.25 s at speed 1, 0.0625 s at the fastest

export class Recording {
  #bytes = new Uint8Array(1 << 18);
  #length = 0;
  #rate = 0;

  /** Bytes of sound that are there; whole samples only. */
  get size() {
    return this.#rate ? (this.#length - HEADER) & ~1 : 0;
  }

  /**
   * @param {Uint8Array} chunk
   * @throws {SpeechError} when this is no WAV of 16 bit mono samples
   */
  append(chunk) {
    const length = this.#length + chunk.length;
    if (length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.#bytes.length));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(chunk, this.#length);
    this.#length = length;
    if (!this.#rate && length >= HEADER) this.#rate = rateOf(this.#bytes);
  }

  /** @throws {SpeechError} when it ended without any sound, or before its end */
  end() {
    if (this.size === 0) throw new SpeechError("not-audio", { detail: "audio/wav, 0 s" });
    // A connection that just closes is for the browser as good an end as any.
    const said = new DataView(this.#bytes.buffer).getUint32(HEADER - 4, true);
    if (said !== UNKNOWN && said > this.size) throw new SpeechError("network");
  }

  /**
   * The end of the last pause behind `from`, so that a cut there is not heard; `from` when there
   * is none. Sentences come with the pause that follows them.
   * @param {number} from bytes of sound
   */
  lastPause(from) {
    const samples = new Int16Array(this.#bytes.buffer, HEADER, this.size / 2);
    const enough = PAUSE_SECONDS * this.#rate;
    let end = samples.length;
    for (let at = samples.length - 1; at >= from / 2; at -= 1) {
      if (samples[at] !== 0) end = at;
      else if (end - at >= enough) return 2 * end;
    }
    return from;
  }

  /**
   * Whether both begin with the same `size` bytes of sound.
   * @param {Recording} other
   * @param {number} size
   */
  beginsAs(other, size) {
    if (this.size < size || other.size < size || this.#rate !== other.#rate) return false;
    const mine = this.#bytes.subarray(HEADER, HEADER + size);
    const theirs = other.#bytes;
    return mine.every((byte, at) => byte === theirs[HEADER + at]);
  }

  /**
   * A part of it as a file of its own, with true sizes.
   * @param {number} [from] bytes of sound
   * @param {number} [to]
   */
  file(from = 0, to = this.size) {
    const header = this.#bytes.slice(0, HEADER);
    const view = new DataView(header.buffer);
    view.setUint32(4, HEADER - 8 + to - from, true);
    view.setUint32(40, to - from, true);
    const sound = this.#bytes.slice(HEADER + from, HEADER + to);
    return new Blob([header, sound], { type: "audio/wav" });
  }
}

/**
 * Samples a second, from the header that this server sends.
 * @param {Uint8Array} bytes
 */
function rateOf(bytes) {
  const view = new DataView(bytes.buffer);
  const is = (/** @type {number} */ at, /** @type {string} */ name) =>
    [...name].every((letter, index) => bytes[at + index] === letter.charCodeAt(0));
  const rate = view.getUint32(24, true);
  const pcm16mono =
    view.getUint16(20, true) === 1 &&
    view.getUint16(22, true) === 1 &&
    view.getUint16(34, true) === 16;
  if (!is(0, "RIFF") || !is(8, "WAVEfmt ") || !is(36, "data") || !pcm16mono || !rate) {
    throw new SpeechError("not-audio", { detail: "audio/wav, which it is not" });
  }
  return rate;
}
