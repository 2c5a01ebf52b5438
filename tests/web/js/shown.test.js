// What the page shows of a text is what will be read, and a command that a shell takes as it is.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

import { curlOf, withAccents } from "../../../services/tts/web/static/js/modules/shown.js";

for (const [read, shown] of [
  ["прив+іт, св+іте!", "приві\u0301т, сві\u0301те!"],
  ["д+ень", "день"],
  ["і н+е +я, а +інший", "і не я, а і\u0301нший"],
  ["без наголосу", "без наголосу"],
  ["", ""],
]) {
  test(`${read || "nothing"} is shown with accents`, () => assert.equal(withAccents(read), shown));
}

for (const text of [
  "Пам'ять \"так\"\n$(touch x) `ls` $HOME \\ \\n '' '\\'' ! !! %s кінець",
  "a\tb\u007f\u009b31m\u001b[2J\u0000\u2028 😀 \ud800",
  "' ; echo x > y & | #",
]) {
  test(`a shell hands ${JSON.stringify(text)} on as it is`, () => {
    const command = curlOf("http://localhost:1", { text, speed: 1.5 });
    assert.doesNotMatch(command, /[\0-\x1f\x7f-\x9f]/);
    const script = `curl() { printf '%s\\0' "$@"; }; ${command}`;
    const words = execFileSync("sh", ["-c", script], { encoding: "utf8" }).split("\0");
    assert.equal(words[1], "http://localhost:1/tts");
    const body = JSON.parse(words[words.indexOf("-d") + 1]);
    assert.deepEqual(body, { text, speed: 1.5, return_audio: true });
  });
}
