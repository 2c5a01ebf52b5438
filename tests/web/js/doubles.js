// A server on a real socket that answers as it is told, and an audio element that makes no sound.

import assert from "node:assert/strict";
import { resolveObjectURL } from "node:buffer";
import { createServer } from "node:http";
import { afterEach } from "node:test";

export const RATE = 22_050;

/** The sound of a sentence: `samples` times the same value, then a pause unless it is the last. */
export function sentence(value, { samples = 1000, pause = 2000 } = {}) {
  return Buffer.from(new Int16Array(samples + pause).fill(value, 0, samples).buffer);
}

export function header(size = 0xffffffff) {
  const bytes = Buffer.alloc(44);
  bytes.write("RIFF", 0);
  bytes.writeUInt32LE(size, 4);
  bytes.write("WAVEfmt ", 8);
  bytes.writeUInt32LE(16, 16);
  bytes.writeUInt16LE(1, 20);
  bytes.writeUInt16LE(1, 22);
  bytes.writeUInt32LE(RATE, 24);
  bytes.writeUInt32LE(2 * RATE, 28);
  bytes.writeUInt16LE(2, 32);
  bytes.writeUInt16LE(16, 34);
  bytes.write("data", 36);
  bytes.writeUInt32LE(size, 40);
  return bytes;
}

/** Answers the requests in turn, the last answer for all that follow. */
export async function serve(...answers) {
  const asked = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const answer = answers[Math.min(asked.length, answers.length - 1)];
    asked.push({ path: request.url, headers: request.headers, body: body && JSON.parse(body) });
    response.on("close", () => (asked.at(-1).closed = !response.writableFinished));
    answer(response);
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return {
    asked,
    url: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((done) => server.close(done));
    },
  };
}

export const json =
  (status, body, headers = {}) =>
  (response) => {
    response.writeHead(status, { "Content-Type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };

/** A WAV of these parts; `then` what becomes of the connection afterwards. */
export const wav =
  (parts, { type = "audio/wav", engine = "fake", then = (response) => response.end() } = {}) =>
  (response) => {
    response.writeHead(200, { "Content-Type": type, "X-TTS-Engine": engine });
    for (const part of [header(), ...parts]) response.write(part);
    then(response);
  };

export const breakOff = (response) => setImmediate(() => response.destroy());

const urls = new Set();
const { createObjectURL, revokeObjectURL } = URL;
URL.createObjectURL = (blob) => {
  const url = createObjectURL(blob);
  urls.add(url);
  return url;
};
URL.revokeObjectURL = (url) => {
  urls.delete(url);
  revokeObjectURL(url);
};
afterEach(() => assert.deepEqual([...urls], [], "object URLs were left"));

/** Plays each file in no time, unless it is held. */
export class FakeAudio extends EventTarget {
  src = "";
  error = null;
  refusing = false;
  held = false;
  /** The sound of every file that was played. */
  played = [];

  async play() {
    if (this.refusing) throw new DOMException("a click is wanted", "NotAllowedError");
    const blob = resolveObjectURL(this.src);
    const bytes = Buffer.from(await blob.arrayBuffer());
    assert.equal(bytes.readUInt32LE(4), bytes.length - 8);
    assert.equal(bytes.readUInt32LE(40), bytes.length - 44);
    this.played.push(bytes.subarray(44));
    if (!this.held) setImmediate(() => this.end());
  }

  end() {
    if (this.src) this.dispatchEvent(new Event("ended"));
  }

  fail(message) {
    this.error = { message };
    this.dispatchEvent(new Event("error"));
  }

  pause() {}
  load() {}
  removeAttribute() {
    this.src = "";
  }

  get heard() {
    return Buffer.concat(this.played);
  }
}

/** Resolves when `event` has come with a detail that fits. */
export function until(target, event, fits) {
  return new Promise((resolve) => {
    const listener = ({ detail }) => {
      if (!fits(detail)) return;
      target.removeEventListener(event, listener);
      resolve(detail);
    };
    target.addEventListener(event, listener);
  });
}

export const phase = (tts, name) => until(tts, "state", (state) => state.phase === name);
