// Every word of the page and of its client, in Ukrainian and in English.

/** @typedef {import("./failure.js").SpeechError} SpeechError */

export const LANGUAGES = ["uk", "en"];

/** @type {Record<string, Record<string, string>>} */
export const MESSAGES = {
  uk: {
    title: "Українське мовлення",
    "other-language": "English",
    text: "Текст",
    keys: "Ctrl+Enter — говорити, Esc — зупинити.",
    reading: "Як це буде прочитано",
    "reading-empty": "Тут буде текст так, як його скаже голос: числа словами, з наголосами.",
    "reading-part": "Показано початок.",
    voice: "Голос",
    sample: "Послухати: {name}",
    "sample-text": "Добрий день! Мене звати {name}.",
    speed: "Швидкість",
    fx: "Ефект",
    "fx-none": "без ефекту",
    "fx-robot": "робот",
    speak: "Говорити",
    stop: "Зупинити",
    resume: "Слухати",
    download: "Завантажити WAV",
    curl: "Те саме командою curl",
    copy: "Скопіювати",
    copied: "Скопійовано.",
    "not-copied": "Браузер не дає копіювати: текст виділено, натисніть Ctrl+C.",
    history: "Історія",
    "history-empty": "Порожньо. Історія зберігається лише в цьому браузері.",
    replay: "Повторити: {text}",
    clear: "Очистити",

    "phase-idle": "",
    "phase-asking": "Готується…",
    "phase-playing": "Звучить.",
    "phase-waiting": "Готується продовження…",
    "phase-blocked": "Браузер не вмикає звук без дозволу: натисніть «Слухати».",
    "phase-retrying": "{message} Пробую ще раз…",
    "phase-failed": "",
    heard: "Прозвучало до кінця.",

    "server-unknown": "З’єднання…",
    "server-unreachable": "Сервер не відповідає. Пробую знову…",
    "server-loading": "Завантажується",
    "server-ready": "Готовий",
    "server-busy": "Говорить",
    "server-failed": "Не може говорити",
    "server-draining": "Зупиняється",
    queued: "у черзі: {count}",
    engine: "голос: {engine}, {device}",
    notice: "Голос не такий, як замовлено: {notice}.",

    "error-network": "Зв’язок із сервером перервався.",
    "error-timeout": "Сервер надто довго мовчить.",
    "error-http": "Сервер відмовив ({status}): {detail}.",
    "error-not-audio": "Сервер прислав не звук: {detail}.",
    "error-playback": "Браузер не може це відтворити: {detail}.",

    tetiana: "Тетяна",
    mykyta: "Микита",
    lada: "Лада",
    dmytro: "Дмитро",
    oleksa: "Олекса",
  },
  en: {
    title: "Ukrainian speech",
    "other-language": "Українською",
    text: "Text",
    keys: "Ctrl+Enter speaks, Esc stops.",
    reading: "How it will be read",
    "reading-empty": "The text as the voice will say it: numbers as words, with stress marks.",
    "reading-part": "This is its beginning.",
    voice: "Voice",
    sample: "Listen to {name}",
    speed: "Speed",
    fx: "Effect",
    "fx-none": "none",
    "fx-robot": "robot",
    speak: "Speak",
    stop: "Stop",
    resume: "Listen",
    download: "Download WAV",
    curl: "The same as a curl command",
    copy: "Copy",
    copied: "Copied.",
    "not-copied": "The browser does not let this page copy: the text is selected, press Ctrl+C.",
    history: "History",
    "history-empty": "Empty. It is kept in this browser only.",
    replay: "Say again: {text}",
    clear: "Clear",

    "phase-idle": "",
    "phase-asking": "Preparing…",
    "phase-playing": "Speaking.",
    "phase-waiting": "The next sentence is being prepared…",
    "phase-blocked": "The browser wants a click before it plays: press Listen.",
    "phase-retrying": "{message} Trying again…",
    "phase-failed": "",
    heard: "Heard to the end.",

    "server-unknown": "Connecting…",
    "server-unreachable": "The server does not answer. Trying again…",
    "server-loading": "Loading",
    "server-ready": "Ready",
    "server-busy": "Speaking",
    "server-failed": "Cannot speak",
    "server-draining": "Stopping",
    queued: "{count} waiting",
    engine: "voice: {engine}, {device}",
    notice: "The voice is not as asked for: {notice}.",

    "error-network": "The connection to the server broke off.",
    "error-timeout": "The server has been silent for too long.",
    "error-http": "The server refused ({status}): {detail}.",
    "error-not-audio": "The server sent something that is no audio: {detail}.",
    "error-playback": "The browser cannot play this: {detail}.",

    tetiana: "Tetiana",
    mykyta: "Mykyta",
    lada: "Lada",
    dmytro: "Dmytro",
    oleksa: "Oleksa",
  },
};

/**
 * A message with its {gaps} filled. What has no words in this language is said in Ukrainian, which
 * is what is spoken; what has none at all is its own name.
 * @param {string} language
 * @param {string} name
 * @param {Record<string, unknown>} [values]
 */
export function say(language, name, values = {}) {
  const words = [MESSAGES[language], MESSAGES.uk].find((one) => one && Object.hasOwn(one, name));
  const message = words ? words[name] : name;
  return message.replace(/\{(\w+)\}/g, (_, gap) => String(values[gap] ?? ""));
}

/**
 * @param {SpeechError} error
 * @param {string} language
 */
export function describe(error, language) {
  return say(language, `error-${error.code}`, {
    detail: error.detail.replace(/\.$/, ""),
    status: error.status,
  });
}

/**
 * The first of our languages that a person reads.
 * @param {readonly string[]} preferred as in `navigator.languages`
 */
export function languageFor(preferred) {
  const known = preferred.map((tag) => tag.slice(0, 2).toLowerCase());
  return known.find((tag) => LANGUAGES.includes(tag)) ?? "uk";
}
