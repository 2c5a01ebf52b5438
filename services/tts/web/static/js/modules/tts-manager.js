// The client of the speech service, for its own page and for any other page of this machine:
//
//     import { TtsManager } from "http://localhost:3001/static/js/modules/tts-manager.js";
//     const tts = new TtsManager({ server: "http://localhost:3001", language: "en" });
//     tts.addEventListener("state", ({ detail }) => console.log(detail.phase, detail.message));
//     await tts.speak("Добрий день!", { voice: "lada" });
//
// Events: `state` (a State), `speech` (a Speech: all of it has come, whether it was heard or not),
// `health` (a Sight, after `watch()`).

import { SpeechError, failureOf } from "./failure.js";
import { HealthWatch, backoff } from "./health.js";
import { describe } from "./messages.js";
import { Player } from "./player.js";
import { Utterance } from "./utterance.js";

/** @typedef {{voice?: string, fx?: string, speed?: number}} Settings as `POST /tts` has them */
/** @typedef {{text: string, settings: Settings, file: Blob, engine: string}} Speech */

/**
 * `asking`: nothing to hear yet; `waiting`: the next sentence has not come; `blocked`: the browser
 * wants a click, in which `resume()` is to be called; `retrying`: `message` says why.
 * @typedef {"idle" | "asking" | "playing" | "waiting" | "blocked" | "retrying" | "failed"} Phase
 * @typedef {{phase: Phase, message: string, error: SpeechError | null}} State `message` is in the
 *   client's language, empty without an error
 */

const STOPPED = new Error("stopped");
const RETRIES = 6;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;
const LONGEST_RETRY_AFTER = 60_000;
const QUICK_TIMEOUT = 5000;
const LOADING_SECONDS = 30;

export class TtsManager extends EventTarget {
  #server;
  #timeout;
  #fetch;
  #player;
  #health;
  /** What the player does. @type {Phase} */
  #sound = "asking";
  /** Ends the utterance in work, with the reason. @type {AbortController | null} */
  #current = null;
  /** @type {Phase} */
  #phase = "idle";
  /** @type {SpeechError | null} */
  #error = null;

  /** Language of messages: "uk" or "en"; may be changed at any time. */
  language;

  /**
   * @param {{
   *   server?: string, language?: string, audio?: HTMLAudioElement, timeout?: number,
   *   fetch?: typeof globalThis.fetch,
   * }} [options] `server` is the origin of another server than the page's; after `timeout`
   *   milliseconds without a byte an utterance is given up
   */
  constructor({ server = "", language = "uk", audio = new Audio(), timeout = 90_000, fetch } = {}) {
    super();
    this.#server = server.replace(/\/$/, "");
    this.#timeout = timeout;
    this.#fetch = fetch ?? globalThis.fetch.bind(globalThis);
    this.#player = new Player(audio, (sound) => this.#hear(sound));
    this.#health = new HealthWatch(
      () => this.#json("/health"),
      (sight) => this.#emit("health", sight),
    );
    this.language = language;
  }

  /** @returns {State} */
  get state() {
    const message = this.#error ? describe(this.#error, this.language) : "";
    return { phase: this.#phase, message, error: this.#error };
  }

  /**
   * Speaks a text in place of whatever is spoken now.
   * @param {string} text
   * @param {Settings} [settings]
   * @returns {Promise<boolean>} whether it was heard to its end; false when it was stopped
   * @throws {SpeechError}
   */
  async speak(text, settings = {}) {
    this.#leave();
    const controller = new AbortController();
    this.#current = controller;
    const utterance = new Utterance();
    const played = this.#player.start(utterance);
    played.catch((error) => controller.abort(error));
    this.#hear("asking");
    try {
      const engine = await this.#receive(utterance, { ...settings, text }, controller);
      this.#emit("speech", { text, settings, file: utterance.file(), engine });
      await Promise.race([played, aborted(controller.signal)]);
      if (this.#current === controller) this.#end("idle");
      return true;
    } catch (error) {
      if (this.#current !== controller) return false;
      this.#player.clear();
      this.#end("failed", /** @type {SpeechError} */ (error));
      throw error;
    }
  }

  /** Stops at once; the server leaves off in the middle of the sentence. */
  stop() {
    this.#leave();
    if (this.#phase !== "idle") this.#set("idle");
  }

  /** Plays what the browser had refused to; call it in a click. */
  resume() {
    this.#player.resume();
  }

  /**
   * @returns {Promise<{voices: string[], default: string}>}
   * @throws {SpeechError}
   */
  voices() {
    return this.#json("/voices");
  }

  /**
   * How a text will be read, with `+` before stressed vowels; nothing is spoken.
   * @param {string} text
   * @returns {Promise<{accented_text: string, sentences: string[]}>}
   * @throws {SpeechError}
   */
  read(text) {
    return this.#json("/text", { method: "POST", body: JSON.stringify({ text }) });
  }

  /** Begins to look at the server's state; `health` events tell it. */
  watch() {
    this.#health.start();
  }

  unwatch() {
    this.#health.stop();
  }

  /** Leaves whatever is spoken, without a word. */
  #leave() {
    this.#current?.abort(STOPPED);
    this.#current = null;
    this.#player.clear();
  }

  /**
   * Brings the whole speech, in as many attempts as it takes; returns who spoke it.
   * @param {Utterance} utterance
   * @param {Settings & {text: string}} body
   * @param {AbortController} controller
   */
  async #receive(utterance, body, controller) {
    for (let failures = 0; ;) {
      try {
        return await this.#attempt(utterance, body, controller);
      } catch (error) {
        controller.signal.throwIfAborted();
        if (!(error instanceof SpeechError) || !error.passes || failures === RETRIES) throw error;
        failures += 1;
        this.#health.now();
        this.#set("retrying", error);
        const asked = Math.min(LONGEST_RETRY_AFTER, error.retryAfter ?? 0);
        const wait = asked + backoff(failures, FIRST_PAUSE, LONGEST_PAUSE);
        await pause(wait, controller.signal);
        utterance.restart();
      }
    }
  }

  /**
   * One request. The clock begins anew with every part that comes.
   * @param {Utterance} utterance
   * @param {Settings & {text: string}} body
   * @param {AbortController} controller
   */
  async #attempt(utterance, body, controller) {
    const { signal } = controller;
    const late = () => controller.abort(new SpeechError("timeout"));
    let timer = setTimeout(late, this.#timeout);
    const headers = { "Content-Type": "application/json", Accept: "audio/wav" };
    // To go on in the same voice it is worth to wait until that is loaded again.
    if (utterance.begun) Object.assign(headers, { Prefer: `wait=${LOADING_SECONDS}` });
    try {
      const response = await this.#fetch(`${this.#server}/tts`, {
        method: "POST",
        headers,
        body: JSON.stringify({ ...body, return_audio: true, stream: true }),
        signal,
      });
      const type = response.headers.get("Content-Type") ?? "";
      if (!response.ok || !/^audio\/(x-)?wav\b/i.test(type) || !response.body) {
        throw await failureOf(response);
      }
      this.#set(this.#sound);
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        clearTimeout(timer);
        timer = setTimeout(late, this.#timeout);
        utterance.append(value);
        this.#player.more();
      }
      utterance.end();
      this.#player.more();
      return response.headers.get("X-TTS-Engine") ?? "";
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof SpeechError) throw error;
      throw new SpeechError("network", { cause: error });
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * @param {string} path
   * @param {RequestInit} [request]
   */
  async #json(path, request = {}) {
    const headers = { "Content-Type": "application/json", Accept: "application/json" };
    const signal = AbortSignal.timeout(QUICK_TIMEOUT);
    try {
      const response = await this.#fetch(this.#server + path, { headers, ...request, signal });
      const type = response.headers.get("Content-Type") ?? "";
      if (!response.ok || !type.startsWith("application/json")) throw await failureOf(response);
      return await response.json();
    } catch (error) {
      if (error instanceof SpeechError) throw error;
      throw new SpeechError(signal.aborted ? "timeout" : "network", { cause: error });
    }
  }

  /** @param {Phase} sound */
  #hear(sound) {
    this.#sound = sound;
    // Why it is silent says more than that it is.
    if (this.#phase !== "retrying" || sound === "blocked") this.#set(sound);
  }

  /**
   * The utterance in work is over.
   * @param {Phase} phase
   * @param {SpeechError | null} [error]
   */
  #end(phase, error) {
    this.#current = null;
    this.#set(phase, error);
  }

  /**
   * @param {Phase} phase
   * @param {SpeechError | null} [error]
   */
  #set(phase, error = null) {
    this.#phase = phase;
    this.#error = error;
    this.#emit("state", this.state);
  }

  /**
   * @param {string} name
   * @param {unknown} detail
   */
  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/**
 * Rejects with the signal's reason.
 * @param {AbortSignal} signal
 * @returns {Promise<never>}
 */
function aborted(signal) {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    if (signal.aborted) reject(signal.reason);
  });
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} signal ends the pause with an error
 */
async function pause(milliseconds, signal) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const over = new Promise((done) => (timer = setTimeout(done, milliseconds)));
  await Promise.race([over, aborted(signal)]).finally(() => clearTimeout(timer));
}
