// Requests to the dashboard's server, with the token that `atlasctl dashboard` hands over.
//
// It comes in the fragment of the address, which browsers send to nobody, and is taken out of it
// at once. It is kept in the storage of this tab, so that a reload finds it. Not in a cookie, which
// would be sent to every other server on 127.0.0.1, whoever runs it; and not for longer than the
// tab lives: should somebody else ever get this port, they could read what was kept for it.

const KEY = "atlasctl-dashboard-token";
const PATIENCE = 8000; // milliseconds
const LONG_PATIENCE = 20000; // for a search and a story
let token = "";

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status; // 0: no answer
  }
}

// Returns whether there is a token; one in the address comes before one that is kept.
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    token = given;
    history.replaceState(null, "", location.pathname);
  }
  try {
    if (given) sessionStorage.setItem(KEY, given);
    token = sessionStorage.getItem(KEY) || token;
  } catch {
    // Storage is switched off: the token lasts as long as this page.
  }
  return token !== "";
}

async function ask(path, options, patience) {
  let response;
  try {
    response = await fetch(path, {
      ...options,
      headers: { Authorization: `Bearer ${token}`, ...options.headers },
      signal: AbortSignal.timeout(patience),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
  } catch {
    throw new ApiError(0, "the dashboard does not answer");
  }
  let value = null;
  try {
    value = await response.json();
  } catch {
    throw new ApiError(response.ok ? 0 : response.status, `the dashboard answered ${response.status} without JSON`);
  }
  if (response.ok) return value;
  throw new ApiError(response.status, value.hint ? `${value.error}; ${value.hint}` : value.error);
}

const get = (path, query, patience) => ask(`${path}?${new URLSearchParams(query)}`, {}, patience);

export const state = (query) => get("/api/state", query, PATIENCE);
export const search = (service, text) => get("/api/search", { service, text }, LONG_PATIENCE);
export const why = (service, columns) => get("/api/why", { service, columns }, LONG_PATIENCE);

export const command = (verb, name, rolling) =>
  ask(
    `/api/${verb}`,
    {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(rolling ? { services: [name], rolling } : { services: [name] }),
    },
    PATIENCE,
  );
