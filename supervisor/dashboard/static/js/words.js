// Figures and states in words.

// As supervisor/cli/services.py has them.
const GOOD = ["healthy", "busy", "running", "completed"];
const BAD = ["failed", "backoff", "unready", "unreachable", "broken", "hung"];

export const isGood = (service) => GOOD.includes(service.state);

export const isWell = (service) =>
  isGood(service) || (service.state === "stopped" && service.goal === "down");

export function kindOf(state) {
  if (GOOD.includes(state)) return "good";
  if (BAD.includes(state)) return "bad";
  return state === "stopped" ? "calm" : "busy";
}

export function age(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function size(bytes) {
  if (bytes < 1024 * 1024) return `${Math.round(bytes / 1024)}\u00a0KiB`;
  if (bytes < 1024 ** 3) return `${(bytes / 1024 ** 2).toFixed(bytes < 10 * 1024 ** 2 ? 1 : 0)}\u00a0MiB`;
  return `${(bytes / 1024 ** 3).toFixed(1)}\u00a0GiB`;
}

export function duration(seconds) {
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)}\u00a0ms`;
  return `${seconds.toFixed(seconds < 10 ? 1 : 0)}\u00a0s`;
}

export const percent = (value) => `${value.toFixed(1)}\u00a0%`;

const TIME = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export function clock(at) {
  const moment = new Date(at * 1000);
  const time = TIME.format(moment);
  return moment.toDateString() === new Date().toDateString() ? time : `${DAY.format(moment)} ${time}`;
}

export function probe(service) {
  const last = service.probe;
  if (!last) return "–";
  if (last.ok === false) return `${last.kind} failed`;
  return last.ok ? `${last.kind} ${duration(last.latency)}` : `${last.kind} not made`;
}

// What a terminal would obey is not shown: colours are left out, the rest becomes visible.
export function plain(text) {
  return text
    .replace(/\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?)/g, "")
    .replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}
