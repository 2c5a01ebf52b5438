// What can be played of a WAV that is still coming, and where it may be cut.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Utterance } from "../../../services/tts/web/static/js/modules/utterance.js";
import { header, sentence } from "./doubles.js";

const A = sentence(1000);
const B = sentence(2000, { pause: 0 });

/** The sound of what can be taken now, null for nothing. */
async function taken(utterance) {
  const file = utterance.take();
  return file && Buffer.from(await file.arrayBuffer()).subarray(44);
}

function begun(...parts) {
  const utterance = new Utterance();
  utterance.append(header());
  for (const part of parts) utterance.append(part);
  return utterance;
}

test("a sentence is taken with its pause, the last one at the end", async () => {
  const utterance = begun(A, B);
  assert.deepEqual(await taken(utterance), A);
  assert.equal(await taken(utterance), null);
  utterance.end();
  assert.deepEqual(await taken(utterance), B);
  assert.equal(await taken(utterance), null);
});

test("all that has come is taken at once", async () => {
  const utterance = begun(A, A, A);
  assert.deepEqual(await taken(utterance), Buffer.concat([A, A, A]));
});

test("a short silence inside a word is no place to cut", async () => {
  const utterance = begun(sentence(1000, { pause: 800 }), B);
  assert.equal(await taken(utterance), null);
});

test("it does not matter how the bytes come", async () => {
  const whole = Buffer.concat([header(), A, B]);
  for (const size of [1, 7, 43, 44, 45, 1001]) {
    const utterance = new Utterance();
    const parts = [];
    for (let at = 0; at < whole.length; at += size) {
      utterance.append(whole.subarray(at, at + size));
      parts.push((await taken(utterance)) ?? Buffer.alloc(0));
    }
    utterance.end();
    parts.push((await taken(utterance)) ?? Buffer.alloc(0));
    assert.deepEqual(Buffer.concat(parts), Buffer.concat([A, B]), `in parts of ${size}`);
  }
});

test("it may be long", async () => {
  const long = sentence(5, { samples: 400_000, pause: 0 });
  const utterance = begun(A, long, long);
  utterance.end();
  assert.deepEqual(await taken(utterance), Buffer.concat([A, long, long]));
});

test("half a sample at the end is no sound", async () => {
  const utterance = begun(B, Buffer.from([7]));
  utterance.end();
  assert.deepEqual(await taken(utterance), B);
});

test("without a header there is nothing to take", () => {
  const utterance = new Utterance();
  utterance.append(header().subarray(0, 40));
  assert.equal(utterance.take(), null);
  assert.throws(() => utterance.end(), { code: "not-audio" });
});

for (const [what, at, value] of [
  ["another container", 0, 0x58],
  ["another kind", 8, 0x58],
  ["8 bits", 34, 8],
  ["two channels", 22, 2],
  ["floating point", 20, 3],
  ["more chunks", 36, 0x58],
]) {
  test(`${what} is refused`, () => {
    const wrong = header();
    wrong[at] = value;
    assert.throws(() => new Utterance().append(wrong), { code: "not-audio" });
  });
}
