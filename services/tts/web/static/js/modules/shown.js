// How the page shows a text: as it will be read, and as a command that asks for it.

/**
 * `+` before a vowel becomes the accent of a dictionary; a word with one vowel needs none.
 * @param {string} text as `POST /text` has it
 */
export function withAccents(text) {
  return text.replace(/\S+/g, (word) =>
    (word.match(/[аеєиіїоуюя]/gi) ?? []).length > 1
      ? word.replace(/\+(.)/g, "$1\u0301")
      : word.replaceAll("+", ""),
  );
}

/**
 * A command for any shell, which writes speech.wav. What would end its quotes, or move a terminal's
 * cursor, is spelt as JSON allows.
 * @param {string} origin
 * @param {Record<string, unknown>} body of `POST /tts`
 */
export function curlOf(origin, body) {
  const json = JSON.stringify({ ...body, return_audio: true }).replace(
    /['\x7f-\x9f]/g,
    (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  const type = "Content-Type: application/json";
  return `curl -sSf ${origin}/tts -H '${type}' -d '${json}' -o speech.wav`;
}
