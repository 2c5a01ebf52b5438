// What can go wrong between a text and its sound.

/**
 * - network: no answer, or one that broke off; timeout: nothing came for too long;
 * - http: the server refused, and `detail` says why in its words;
 * - not-audio: it answered with something else than a WAV; playback: the browser cannot play it.
 * @typedef {"network" | "timeout" | "http" | "not-audio" | "playback"} FailureCode
 */

/** Statuses that pass by themselves; every other refusal stays one however often it is asked. */
const PASSING = new Set([429, 502, 503, 504]);

export class SpeechError extends Error {
  /**
   * @param {FailureCode} code
   * @param {{
   *   detail?: string, status?: number, retryAfter?: number | null, cause?: unknown,
   * }} [about] `retryAfter` is in milliseconds
   */
  constructor(code, { detail = "", status = 0, retryAfter = null, cause } = {}) {
    super(detail ? `${code}: ${detail}` : code, { cause });
    this.name = "SpeechError";
    this.code = code;
    this.detail = detail;
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** Whether the same request may succeed a little later. */
  get passes() {
    return this.code === "network" || (this.code === "http" && PASSING.has(this.status));
  }
}

/**
 * The error that a reply carries which is not what was asked for.
 * @param {Response} response
 * @returns {Promise<SpeechError>}
 */
export async function failureOf(response) {
  const said = saidIn(await response.text());
  if (response.ok) {
    const type = response.headers.get("Content-Type") ?? "";
    return new SpeechError("not-audio", { detail: said || type, status: response.status });
  }
  return new SpeechError("http", {
    detail: said || response.statusText || String(response.status),
    status: response.status,
    retryAfter: milliseconds(response.headers.get("Retry-After")),
  });
}

/**
 * The server's words in a body: `{"error": "…"}`, OpenAI's `{"error": {"message": "…"}}`, or none.
 * @param {string} body
 */
function saidIn(body) {
  try {
    const { error, reason } = JSON.parse(body);
    const said = typeof error === "string" ? error : error?.message;
    return [said, reason].filter((part) => typeof part === "string").join(": ");
  } catch {
    return "";
  }
}

/**
 * A Retry-After header, which has seconds or a date.
 * @param {string | null} header
 */
function milliseconds(header) {
  if (header === null || header.trim() === "") return null;
  const wait = /^\d+$/.test(header.trim())
    ? Number(header) * 1000
    : Date.parse(header) - Date.now();
  return Number.isFinite(wait) ? Math.max(0, wait) : null;
}
