// The page: one request a second while it is looked at, and what it brings shown where it belongs.

import * as api from "./api.js";
import { Announcer } from "./announcer.js";
import { Commands } from "./commands.js";
import { Detail } from "./detail.js";
import { byId, say, show } from "./dom.js";
import { Fleet } from "./fleet.js";
import { Graph } from "./graph.js";
import { Table } from "./table.js";
import { Timeline } from "./timeline.js";
import { age, plain } from "./words.js";

const PERIOD = 1000; // milliseconds
const LONGEST = 8000; // between two tries while nobody answers

const fleet = new Fleet();
const table = new Table();
const graph = new Graph();
const detail = new Detail(fleet);
const timeline = new Timeline(byId("events"), true);
const announcer = new Announcer(byId("announcer"));
let wake = () => {};
const commands = new Commands(fleet, () => wake());

function route() {
  if (api.takeToken()) unlock();
  const name = new URLSearchParams(location.hash.slice(1)).get("service");
  if (name === detail.name) return;
  const left = detail.name;
  detail.open(name);
  commands.choose(name);
  table.choose(name);
  if (name === null && left !== null) table.rows.get(left)?.link.focus();
  wake();
}

function unlock() {
  show(byId("locked"), false);
  show(byId("content"), true);
  wake();
}

function lock(reason) {
  show(byId("locked"), true);
  show(byId("content"), false);
  say(byId("locked-reason"), reason);
  say(byId("supervisor"), "");
  show(byId("banner"), false);
}

function render(reply) {
  const changes = fleet.take(reply);
  if (changes.anew) {
    timeline.clear();
    commands.begin();
  }
  table.update(fleet, changes.structure);
  if (changes.structure) table.choose(detail.name);
  graph.update(fleet, changes.structure);
  timeline.add(changes.events);
  detail.take(reply, changes);
  commands.update(changes.events);
  renderSupervisor(fleet.supervisor);
  announcer.tell(changes.turned);
}

function renderSupervisor(supervisor) {
  const { answers, stopping, version, pid, since, config } = supervisor;
  const up = stopping ? "stopping everything" : `up ${age(fleet.now() - since)}`;
  say(byId("supervisor"), pid ? `supervisor ${version}, pid ${pid}, ${answers ? up : "does not answer"}, ${plain(config)}` : "");
  warn(answers ? "" : supervisor.trouble);
}

// Says that what is shown may not be so any more, and why; without a reason, that it is.
function warn(why, hint = "") {
  byId("content").classList.toggle("away", why !== "");
  say(byId("banner"), why && `${why}. What is shown is the last that was known.${hint}`);
  show(byId("banner"), why !== "");
}

// Waits, but for no longer than until something asks for a look.
function pause(milliseconds) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    wake = () => {
      clearTimeout(timer);
      resolve();
    };
  });
}

function untilSeen() {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    look();
  });
}

async function run() {
  let delay = PERIOD;
  for (;;) {
    await untilSeen();
    const began = performance.now();
    try {
      const query = { epoch: fleet.epoch, after: fleet.revision, event: fleet.lastEvent, ...detail.query() };
      const asked = detail.name;
      const reply = await api.state(query);
      // Of a service that was left meanwhile, nothing is wanted any more.
      if (asked !== detail.name) reply.series = reply.log = null;
      delay = PERIOD;
      unlock();
      render(reply);
    } catch (error) {
      if (error.status === 401) {
        lock(api.takeToken() ? "The key that this browser has is not, or no longer, the right one." : "");
        delay = LONGEST;
      } else {
        const known = error instanceof api.ApiError;
        say(byId("supervisor"), "");
        if (known) {
          warn(error.message, " If it stays so: atlasctl status");
        } else {
          // As when the dashboard is newer than this page. What is known may be half of something.
          reportError(error);
          fleet.forget("");
          warn(`this page has a fault (${error.message})`, " If it stays so, reload it.");
        }
        delay = Math.min(LONGEST, 2 * delay);
      }
    }
    await pause(Math.max(100, delay - (performance.now() - began)));
  }
}

window.addEventListener("hashchange", route);
route();
run();
