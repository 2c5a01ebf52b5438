// The speech page: what is typed and chosen goes to the client, what the client tells is shown.

import { History, Kept } from "./modules/history.js";
import { LANGUAGES, languageFor, say } from "./modules/messages.js";
import { curlOf, withAccents } from "./modules/shown.js";
import { TtsManager } from "./modules/tts-manager.js";

const READ_AFTER = 300; // ms without a key
const READ_MOST = 3000; // characters: what is shown is only a look

/** @typedef {import("./modules/failure.js").SpeechError} SpeechError */

const kept = new Kept();
const history = new History(kept);
const tts = new TtsManager({ language: kept.get("language") ?? languageFor(navigator.languages) });

/** @returns {any} */
const by = (/** @type {string} */ id) => document.getElementById(id);
const word = (/** @type {string} */ name, /** @type {Record<string, unknown>} */ values = {}) =>
  say(tts.language, name, values);

/** What `GET /health` said last; null: no answer, undefined: not asked yet. @type {any} */
let health;
/** @type {string[]} */
let voices = [];
/** @type {string | undefined} */
let chosenVoice = kept.get("form")?.voice ?? undefined;
let reading = false;
let readAgain = false;
let readingTimer = 0;
let downloadUrl = "";
let heard = false;

/** Sets a text only if it is another: screen readers read what changes. */
function show(/** @type {HTMLElement} */ element, /** @type {string} */ text) {
  if (element.textContent !== text) element.textContent = text;
}

function element(
  /** @type {string} */ tag,
  /** @type {Record<string, any>} */ properties,
  /** @type {Node[]} */ ...children
) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function settings() {
  // Until the server has named its voices, the one that was chosen the last time.
  const voice = by("speech").elements.voice?.value || chosenVoice;
  return { voice, fx: by("fx").value, speed: by("speed").valueAsNumber };
}

function setForm(/** @type {Record<string, any>} */ { text, voice, fx, speed }) {
  if (typeof text === "string") by("text").value = text;
  if (voices.includes(voice)) by("speech").elements.voice.value = voice;
  if (["none", "robot"].includes(fx)) by("fx").value = fx;
  if (Number.isFinite(speed)) by("speed").value = speed;
  changed();
}

/** Text or settings are others than before. */
function changed() {
  const text = by("text").value;
  show(by("speed-shown"), times(by("speed").valueAsNumber));
  by("speak").disabled = !text.trim();
  show(by("curl"), curlOf(location.origin, { text, ...settings() }));
  kept.set("form", { text, ...settings() });
}

function times(/** @type {number} */ speed) {
  return `${speed.toLocaleString(tts.language)} ×`;
}

/** One reading at a time: the server goes on with one that nobody waits for any more. */
async function read() {
  readAgain = true;
  if (reading) return;
  reading = true;
  while (readAgain) {
    readAgain = false;
    show(by("reading"), await readingOf(by("text").value));
  }
  reading = false;
}

async function readingOf(/** @type {string} */ text) {
  if (!text.trim()) return word("reading-empty");
  try {
    const { accented_text } = await tts.read(text.slice(0, READ_MOST));
    const part = text.length > READ_MOST ? ` … ${word("reading-part")}` : "";
    return withAccents(accented_text) + part;
  } catch (error) {
    // What cannot be read is told; that the server is away is told elsewhere.
    const { code, passes, detail } = /** @type {SpeechError} */ (error);
    return code === "http" && !passes ? detail : "";
  }
}

async function speak() {
  const text = by("text").value;
  if (!text.trim()) return;
  history.add({ text, settings: settings(), at: Date.now() });
  showHistory();
  await start(text, settings());
}

async function start(/** @type {string} */ text, /** @type {any} */ how) {
  heard = false;
  offer(null);
  try {
    heard = await tts.speak(text, how);
    showState();
  } catch {
    // The state has told of it.
  }
}

/** The speech to download, or none: never one that is not the latest. */
function offer(/** @type {any} */ speech) {
  if (downloadUrl) URL.revokeObjectURL(downloadUrl);
  downloadUrl = speech ? URL.createObjectURL(speech.file) : "";
  by("download").href = downloadUrl;
  by("download").download = `${speech?.settings.voice ?? "speech"}.wav`;
  by("download").hidden = !speech;
}

function showState() {
  const { phase, message } = tts.state;
  const busy = !["idle", "failed"].includes(phase);
  document.body.dataset.phase = phase;
  // Whoever has only a keyboard is not to be put back to the top by a button that goes.
  const focused = document.activeElement;
  by("stop").disabled = !busy;
  by("resume").hidden = phase !== "blocked";
  if (phase === "blocked") by("resume").focus();
  else if ([by("stop"), by("resume")].includes(focused)) by(busy ? "stop" : "speak").focus();
  show(
    by("state"),
    heard && phase === "idle" ? word("heard") : word(`phase-${phase}`, { message }),
  );
  show(by("error"), phase === "failed" ? message : "");
}

function showHealth() {
  const state = health ? health.state : health === null ? "unreachable" : "unknown";
  document.body.dataset.server = state;
  const parts = [word(`server-${state}`)];
  if (health?.reason) parts.push(health.reason);
  if (health?.queued) parts.push(word("queued", { count: health.queued }));
  if (health?.engine) {
    const engine = health.engine === "espeak" ? "eSpeak NG" : health.engine;
    parts.push(word("engine", { engine, device: health.device }));
  }
  show(by("health"), parts.join(" · "));
  by("notice").hidden = !health?.notice;
  show(by("notice"), health?.notice ? word("notice", { notice: health.notice }) : "");
}

async function loadVoices() {
  if (voices.length > 0) return;
  try {
    const answer = await tts.voices();
    voices = answer.voices;
    showVoices(chosenVoice && voices.includes(chosenVoice) ? chosenVoice : answer.default);
    changed();
  } catch {
    // The next answer of the server brings them.
  }
}

function showVoices(/** @type {string | undefined} */ chosen) {
  by("voices").replaceChildren(
    ...voices.map((voice) => {
      const name = word(voice);
      const radio = element("input", {
        type: "radio",
        name: "voice",
        value: voice,
        checked: voice === chosen,
      });
      const sample = element("button", { type: "button", className: "sample", textContent: "▶" });
      sample.setAttribute("aria-label", word("sample", { name }));
      sample.addEventListener("click", () =>
        start(say("uk", "sample-text", { name: say("uk", voice) }), { ...settings(), voice }),
      );
      const label = element("label", {}, radio, element("span", { textContent: name }));
      return element("div", { className: "voice" }, label, sample);
    }),
  );
}

function showHistory() {
  by("history").replaceChildren(
    ...history.entries.map(({ text, settings: how, at }) => {
      const short = text.length > 160 ? `${text.slice(0, 160)}…` : text;
      const again = element("button", { type: "button", textContent: "▶" });
      again.setAttribute("aria-label", word("replay", { text: short }));
      again.addEventListener("click", () => {
        setForm({ text, ...how });
        read();
        start(text, how);
      });
      const about = [
        new Date(at).toLocaleString(tts.language, { dateStyle: "short", timeStyle: "short" }),
        word(how.voice ?? ""),
        times(how.speed),
        how.fx === "none" ? "" : word(`fx-${how.fx}`),
      ];
      const words = element("p", { textContent: short, lang: "uk" });
      return element(
        "li",
        {},
        again,
        element(
          "div",
          {},
          words,
          element("small", { textContent: about.filter(Boolean).join(" · ") }),
        ),
      );
    }),
  );
  by("history-empty").hidden = history.entries.length > 0;
  by("clear").hidden = history.entries.length === 0;
}

function showLanguage() {
  document.documentElement.lang = tts.language;
  document.title = word("title");
  for (const one of document.querySelectorAll("[data-text]")) {
    one.textContent = word(/** @type {HTMLElement} */ (one).dataset.text ?? "");
  }
  by("language").lang = LANGUAGES.find((language) => language !== tts.language);
  showVoices(settings().voice);
  showHistory();
  showHealth();
  showState();
  changed();
  read();
}

async function copy() {
  try {
    await navigator.clipboard.writeText(by("curl").textContent);
    show(by("copied"), word("copied"));
  } catch {
    getSelection()?.selectAllChildren(by("curl"));
    show(by("copied"), word("not-copied"));
  }
}

tts.addEventListener("state", showState);
tts.addEventListener("speech", (/** @type {any} */ { detail }) => offer(detail));
tts.addEventListener("health", (/** @type {any} */ { detail }) => {
  const back = detail.health && !health;
  health = detail.health;
  showHealth();
  if (back) {
    loadVoices();
    read();
  }
});

by("speech").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  speak();
});
by("speech").addEventListener("input", changed);
by("text").addEventListener("input", () => {
  clearTimeout(readingTimer);
  readingTimer = setTimeout(read, READ_AFTER);
});
by("stop").addEventListener("click", () => tts.stop());
by("resume").addEventListener("click", () => tts.resume());
by("copy").addEventListener("click", copy);
by("clear").addEventListener("click", () => {
  history.clear();
  showHistory();
  by("text").focus();
});
by("language").addEventListener("click", () => {
  tts.language = LANGUAGES.find((language) => language !== tts.language) ?? "uk";
  kept.set("language", tts.language);
  showLanguage();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") tts.stop();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (!event.repeat) speak();
  }
});

setForm(kept.get("form") ?? {});
showLanguage();
tts.watch();
