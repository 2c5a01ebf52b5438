// Both languages say the same things.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { SpeechError } from "../../../services/tts/web/static/js/modules/failure.js";
import { History, Kept } from "../../../services/tts/web/static/js/modules/history.js";
import {
  LANGUAGES,
  MESSAGES,
  describe,
  languageFor,
  say,
} from "../../../services/tts/web/static/js/modules/messages.js";

const WEB = new URL("../../../services/tts/web/", import.meta.url);
const SPOKEN = "sample-text"; // what the voice says, which is Ukrainian in any language
const gaps = (message) => [...message.matchAll(/\{(\w+)\}/g)].map(([, gap]) => gap).sort();

test("every message is there in every language, with the same gaps", () => {
  assert.deepEqual(Object.keys(MESSAGES), LANGUAGES);
  for (const language of LANGUAGES) {
    const names = Object.keys(MESSAGES.uk).filter((name) => language === "uk" || name !== SPOKEN);
    assert.deepEqual(Object.keys(MESSAGES[language]), names);
    for (const [name, message] of Object.entries(MESSAGES[language])) {
      assert.deepEqual(gaps(message), gaps(MESSAGES.uk[name]), name);
    }
  }
});

test("whatever the page names has words", () => {
  const page = readFileSync(new URL("index.html", WEB), "utf8");
  const app = readFileSync(new URL("static/js/app.js", WEB), "utf8");
  const named = [
    ...[...page.matchAll(/data-text="([^"]+)"/g)].map(([, name]) => name),
    ...[...app.matchAll(/word\("([^"]+)"/g)].map(([, name]) => name),
  ];
  assert.ok(named.length > 20);
  assert.deepEqual(
    named.filter((name) => !(name in MESSAGES.uk)),
    [],
  );
});

test("gaps are filled, and what has no words is its own name", () => {
  assert.equal(say("en", "queued", { count: 3 }), "3 waiting");
  assert.equal(say("en", "toString"), "toString");
  assert.equal(say("xx", "stop"), "Зупинити");
  const error = new SpeechError("http", { status: 400, detail: "Text is required." });
  assert.equal(describe(error, "en"), "The server refused (400): Text is required.");
});

for (const [preferred, language] of [
  [["uk-UA", "en"], "uk"],
  [["de", "en-GB", "uk"], "en"],
  [["pl"], "uk"],
  [[], "uk"],
]) {
  test(`for ${preferred.join(", ") || "nobody"} it is ${language}`, () =>
    assert.equal(languageFor(preferred), language));
}

test("history has the latest first, each text once, and an end", () => {
  const history = new History(new Kept()); // no storage here: it does without
  for (let at = 0; at < 30; at += 1) history.add({ text: `${at}`, settings: { speed: 1 }, at });
  history.add({ text: "20", settings: { speed: 1 }, at: 99 });
  history.add({ text: "20", settings: { speed: 2 }, at: 100 });
  assert.equal(history.entries.length, 20);
  assert.deepEqual(
    history.entries.slice(0, 3).map(({ at }) => at),
    [100, 99, 29],
  );
  history.clear();
  assert.deepEqual(history.entries, []);
});

test("what is kept and is no history is left out", () => {
  const entry = { text: "так", settings: { voice: "lada", fx: "none", speed: 1 }, at: 1 };
  const strange = [null, 5, {}, { text: "ні" }, { text: 5, settings: entry.settings }, entry];
  for (const [found, entries] of [
    [strange, [entry]],
    ["nonsense", []],
    [null, []],
  ]) {
    assert.deepEqual(new History({ get: () => found, set() {} }).entries, entries);
  }
});
