// The client against a real server that behaves well, badly, and not at all.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { TtsManager } from "../../../services/tts/web/static/js/modules/tts-manager.js";
import {
  FakeAudio,
  breakOff,
  header,
  json,
  phase,
  sentence,
  serve,
  until,
  wav,
} from "./doubles.js";

const A = sentence(1000);
const B = sentence(2000);
const C = sentence(3000, { pause: 0 });
const TIMEOUT = 90_000; // the client's own, if it is told no other
const hang = () => {};
const page = (status, type) => (response) =>
  response.writeHead(status, { "Content-Type": type }).end("<h1>Oops</h1>".repeat(100));

/** The client's pauses are a twentieth of what they are; time-outs are not. */
const { setTimeout: plain } = globalThis;
globalThis.setTimeout = (go, milliseconds) =>
  plain(go, milliseconds === TIMEOUT ? TIMEOUT : milliseconds / 20);

/** Runs `body` with a client of a server that gives these answers. */
async function using(answers, body, options = {}) {
  const server = await serve(...answers);
  const audio = new FakeAudio();
  const tts = new TtsManager({ server: server.url, audio, language: "en", ...options });
  const phases = [];
  tts.addEventListener("state", ({ detail }) => {
    if (phases.at(-1) !== detail.phase) phases.push(detail.phase);
  });
  try {
    await body({ tts, audio, server, phases });
  } finally {
    tts.unwatch();
    tts.stop();
    await server.close();
  }
}

/** The error that speaking ends in. */
async function failing(tts) {
  const failure = await tts.speak("так").then(assert.fail, (error) => error);
  assert.equal(tts.state.phase, "failed");
  assert.equal(tts.state.error, failure);
  return failure;
}

test("a text is asked for as audio, and heard to its end", () =>
  using([wav([A, B, C])], async ({ tts, audio, server, phases }) => {
    const speech = until(tts, "speech", () => true);
    assert.equal(await tts.speak("Раз. Два.", { voice: "lada", fx: "robot", speed: 1.5 }), true);
    assert.deepEqual(server.asked[0].body, {
      text: "Раз. Два.",
      voice: "lada",
      fx: "robot",
      speed: 1.5,
      return_audio: true,
      stream: true,
    });
    assert.equal(server.asked[0].headers["content-type"], "application/json");
    assert.deepEqual(audio.heard, Buffer.concat([A, B, C]));
    assert.deepEqual(phases, ["asking", "playing", "idle"]);
    const { file, engine } = await speech;
    assert.equal(engine, "fake");
    assert.equal(file.size, 44 + audio.heard.length);
  }));

test("the first sentence is heard while the second is spoken", () => {
  let go = () => {};
  const answer = wav([A], {
    then: (response) => {
      go = () => response.end(C);
    },
  });
  return using([answer], async ({ tts, audio, phases }) => {
    const done = tts.speak("Раз. Два.");
    await phase(tts, "waiting");
    assert.deepEqual(audio.heard, A);
    go();
    assert.equal(await done, true);
    assert.deepEqual(audio.heard, Buffer.concat([A, C]));
    assert.deepEqual(phases, ["asking", "playing", "waiting", "playing", "idle"]);
  });
});

for (const [name, answer, code, detail] of [
  ["JSON with status 200", json(200, { status: "success" }), "not-audio", /application\/json/],
  ["a JSON error with status 200", json(200, { error: "no voice" }), "not-audio", /^no voice$/],
  [
    "JSON that says it is a WAV",
    json(200, {}, { "Content-Type": "audio/wav" }),
    "not-audio",
    /0 s/,
  ],
  ["HTML that says it is a WAV", page(200, "audio/wav"), "not-audio", /which it is not/],
  ["another kind of audio", wav([C], { type: "audio/mpeg" }), "not-audio", /audio\/mpeg/],
  ["a WAV without sound", wav([]), "not-audio", /0 s/],
  ["400", json(400, { error: "Text is required" }), "http", /^Text is required$/],
  ["404", json(404, { error: "Endpoint not found" }), "http", /^Endpoint not found$/],
  ["500", json(500, { error: "Synthesis failed: no kernel" }), "http", /no kernel/],
  ["an error as OpenAI has it", json(400, { error: { message: "bad" } }), "http", /^bad$/],
  ["HTML", page(500, "text/html"), "http", /^Internal Server Error$/],
]) {
  test(`${name} is an error, is not asked for again, and never played`, () =>
    using([answer], async ({ tts, audio, server }) => {
      const error = await failing(tts);
      assert.equal(error.code, code);
      assert.match(error.detail, detail);
      assert.equal(server.asked.length, 1);
      assert.deepEqual(audio.played, []);
      assert.ok(tts.state.message.includes(error.detail), tts.state.message);
    }));
}

for (const [name, first] of [
  ["a connection that breaks", (response) => response.destroy()],
  ["429", json(429, { error: "slowly" })],
  ["502", json(502, {})],
  ["503", json(503, { error: "TTS not initialized", reason: "loading" })],
  ["504", json(504, {})],
]) {
  test(`${name} is tried again`, () =>
    using([first, wav([C])], async ({ tts, audio, server, phases }) => {
      assert.equal(await tts.speak("так"), true);
      assert.equal(server.asked.filter(({ path }) => path === "/tts").length, 2);
      assert.deepEqual(audio.heard, C);
      assert.deepEqual(phases, ["asking", "retrying", "asking", "playing", "idle"]);
    }));
}

/** The pauses, in ms, of a client whose server never gets well; none of them is really waited. */
async function pausesOf(reply) {
  const pauses = [];
  const later = mock.method(globalThis, "setTimeout", (go, milliseconds) => {
    if (milliseconds === TIMEOUT) return;
    pauses.push(milliseconds);
    setImmediate(go);
  });
  try {
    const tts = new TtsManager({ audio: new FakeAudio(), fetch: async () => reply() });
    return { pauses, error: await failing(tts) };
  } finally {
    later.mock.restore();
  }
}

/** A reply of one file whose header tells its length, over a connection that ends with it. */
const closing =
  (sound, size) =>
  ({ socket }) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nConnection: close\r\n\r\n");
    socket.end(Buffer.concat([header(size), sound]));
  };

test("a WAV that is shorter than it says broke off, whatever the connection says", () => {
  const answers = [closing(A.subarray(0, 500), A.length + C.length), wav([A, C])];
  return using(answers, async ({ tts, audio, server }) => {
    assert.equal(await tts.speak("Раз. Два."), true);
    assert.equal(server.asked.length, 2);
    assert.deepEqual(audio.heard, Buffer.concat([A, C]));
  });
});

test("a WAV as long as it says is whole", () =>
  using([closing(C, C.length)], async ({ tts, audio, server }) => {
    assert.equal(await tts.speak("так"), true);
    assert.equal(server.asked.length, 1);
    assert.deepEqual(audio.heard, C);
  }));

const busy = (headers = {}) => Response.json({ error: "busy" }, { status: 503, headers });

test("what is tried in vain is an error in the end, after pauses that grow", async () => {
  const { pauses, error } = await pausesOf(() => busy());
  assert.deepEqual([error.status, error.detail], [503, "busy"]);
  const longest = [500, 1000, 2000, 4000, 8000, 8000];
  assert.equal(pauses.length, longest.length);
  assert.ok(
    pauses.some((pause, at) => pause < longest[at]),
    "no chance in them",
  );
  pauses.forEach((pause, at) =>
    assert.ok(pause >= longest[at] / 2 && pause <= longest[at], String(pauses)),
  );
});

for (const [header, least] of [
  ["7", 7000],
  ["0", 0],
  ["600", 60_000],
  [new Date(Date.now() + 1_000_000).toUTCString(), 60_000],
  [new Date(0).toUTCString(), 0],
  ["soon", 0],
]) {
  test(`Retry-After: ${header} is waited for`, async () => {
    const { pauses } = await pausesOf(() => busy({ "Retry-After": header }));
    assert.ok(pauses[0] >= least + 250 && pauses[0] <= least + 500, String(pauses));
  });
}

test("a reply that breaks off is asked for again, and goes on where it was heard to", () => {
  const answers = [wav([A, B.subarray(0, 500)], { then: breakOff }), wav([A, B, C])];
  return using(answers, async ({ tts, audio, server, phases }) => {
    assert.equal(await tts.speak("Раз. Два. Три."), true);
    const prefer = server.asked.map(({ headers }) => headers.prefer);
    assert.deepEqual(prefer, [undefined, "wait=30"], "the same voice is to go on");
    assert.deepEqual(audio.heard, Buffer.concat([A, B, C]));
    assert.ok(phases.includes("retrying"));
    assert.equal(phases.at(-1), "idle");
  });
});

test("it goes on after two breaks, the second of which came earlier", () => {
  const answers = [
    wav([A, B], { then: breakOff }),
    wav([A.subarray(0, 100)], { then: breakOff }),
    wav([A, B, C]),
  ];
  return using(answers, async ({ tts, audio }) => {
    assert.equal(await tts.speak("Раз. Два. Три."), true);
    assert.deepEqual(audio.heard, Buffer.concat([A, B, C]));
  });
});

test("when another engine speaks after a break, it speaks from the start", () => {
  const other = [sentence(-500), sentence(-600, { pause: 0 })];
  const answers = [wav([A, B], { then: breakOff }), wav(other)];
  return using(answers, async ({ tts, audio }) => {
    assert.equal(await tts.speak("Раз. Два."), true);
    assert.deepEqual(audio.heard, Buffer.concat([A, B, ...other]));
  });
});

test("silence of the server for too long is an error, and not tried again", () =>
  using(
    [hang],
    async ({ tts, phases }) => {
      assert.equal((await failing(tts)).code, "timeout");
      assert.deepEqual(phases, ["asking", "failed"]);
    },
    { timeout: 1000 },
  ));

test("silence in the middle is one too", () =>
  using(
    [wav([A], { then: hang })],
    async ({ tts, phases }) => {
      assert.equal((await failing(tts)).code, "timeout");
      assert.ok(!phases.includes("retrying"));
    },
    { timeout: 4000 },
  ));

test("stop ends the request and the sound", () =>
  using([wav([A], { then: hang })], async ({ tts, audio, server }) => {
    audio.held = true;
    const done = tts.speak("Раз. Два.");
    await phase(tts, "playing");
    tts.stop();
    assert.equal(await done, false);
    assert.equal(tts.state.phase, "idle");
    assert.equal(audio.src, "");
    while (!server.asked[0].closed) await new Promise(setImmediate);
  }));

test("stop ends the wait before the next try", () =>
  using([json(503, {}, { "Retry-After": "60" })], async ({ tts }) => {
    const retrying = phase(tts, "retrying");
    const done = tts.speak("так");
    await retrying;
    tts.stop();
    assert.equal(await done, false);
  }));

test("a second text takes the place of the first", () =>
  using([wav([A], { then: hang }), wav([C])], async ({ tts, audio, phases }) => {
    audio.held = true;
    const first = tts.speak("раз");
    await phase(tts, "playing");
    audio.held = false;
    const second = tts.speak("два");
    assert.deepEqual(await Promise.all([first, second]), [false, true]);
    assert.deepEqual(audio.played, [A, C]);
    assert.deepEqual(phases, ["asking", "playing", "asking", "playing", "idle"]);
  }));

test("a text may be given when another has just been heard, before anybody else is told", () =>
  using([wav([C]), wav([A])], async ({ tts, audio, phases }) => {
    const second = new Promise((done) =>
      audio.addEventListener("ended", () => done(tts.speak("два")), { once: true }),
    );
    assert.equal(await tts.speak("раз"), true);
    assert.equal(await second, true);
    assert.deepEqual(audio.played, [C, A]);
    assert.deepEqual(phases, ["asking", "playing", "asking", "playing", "idle"]);
  }));

test("a failure is told in the language of the moment", () =>
  using([json(500, { error: "no kernel" })], async ({ tts }) => {
    await failing(tts);
    assert.equal(tts.state.message, "The server refused (500): no kernel.");
    tts.language = "uk";
    assert.equal(tts.state.message, "Сервер відмовив (500): no kernel.");
  }));

test("where the browser wants a click, a click goes on", () =>
  using([wav([C])], async ({ tts, audio, phases }) => {
    audio.refusing = true;
    const done = tts.speak("так");
    await phase(tts, "blocked");
    audio.refusing = false;
    tts.resume();
    assert.equal(await done, true);
    assert.deepEqual(audio.heard, C);
    assert.deepEqual(phases, ["asking", "blocked", "playing", "idle"]);
  }));

test("what the browser cannot play is an error", () =>
  using([wav([C])], async ({ tts, audio }) => {
    audio.held = true;
    tts.addEventListener("state", ({ detail }) => {
      if (detail.phase === "playing") audio.fail("no decoder");
    });
    const error = await failing(tts);
    assert.deepEqual([error.code, error.detail], ["playback", "no decoder"]);
  }));

test("what cannot be played is an error in the middle of the reply too", () =>
  using([wav([A], { then: hang })], async ({ tts, audio }) => {
    audio.held = true;
    tts.addEventListener("state", ({ detail }) => {
      if (detail.phase === "playing") audio.fail("no decoder");
    });
    assert.equal((await failing(tts)).code, "playback");
  }));

test("the server's state is told, its silence too", () => {
  let alive = true;
  const answer = (response) =>
    alive ? json(200, { state: "ready" })(response) : response.destroy();
  return using([answer], async ({ tts }) => {
    const first = until(tts, "health", () => true);
    tts.watch();
    assert.deepEqual((await first).health, { state: "ready" });
    alive = false;
    const sight = await until(tts, "health", ({ health }) => health === null);
    assert.ok(sight.retryIn >= 500 && sight.retryIn <= 1000, String(sight.retryIn));
    alive = true;
    assert.deepEqual((await until(tts, "health", ({ health }) => health)).health.state, "ready");
  });
});

test("voices and readings are JSON or an error", () =>
  using(
    [
      json(200, { voices: ["lada"], default: "lada" }),
      json(400, { error: "Text is required" }),
      wav([C]),
    ],
    async ({ tts, server }) => {
      assert.deepEqual((await tts.voices()).voices, ["lada"]);
      await assert.rejects(tts.read(" "), { code: "http", detail: "Text is required" });
      await assert.rejects(tts.voices(), { code: "not-audio" });
      await server.close();
      await assert.rejects(tts.voices(), { name: "SpeechError", code: "network" });
      assert.deepEqual(
        server.asked.map(({ path }) => path),
        ["/voices", "/text", "/voices"],
      );
    },
  ));
