// Start, stop and restart: a question first, then what comes of it, step by step.

import * as api from "./api.js";
import { byId, say, show } from "./dom.js";
import { item } from "./timeline.js";
import { duration, isGood } from "./words.js";

const DOING = { start: "Starting", stop: "Stopping", restart: "Restarting" };
const STEPS = 40;

export class Commands {
  constructor(fleet, poke) {
    this.fleet = fleet;
    this.poke = poke;
    this.dialog = byId("confirm");
    this.asked = null;
    this.tasks = new Map();
    for (const verb of Object.keys(DOING)) byId(verb).addEventListener("click", () => this.ask(verb));
    byId("confirm-no").addEventListener("click", () => this.dialog.close());
    byId("confirm-yes").addEventListener("click", () => this.go());
  }

  choose(name) {
    this.name = name;
    this.shown = null;
    this.render();
  }

  ask(verb) {
    const service = this.fleet.services.get(this.name);
    if (!service) return;
    this.asked = { verb, name: this.name };
    say(byId("confirm-title"), `${verb[0].toUpperCase()}${verb.slice(1)} ${this.name}?`);
    say(byId("confirm-text"), consequence(verb, service, this.fleet.neededBy(this.name)));
    say(byId("confirm-yes"), `${verb[0].toUpperCase()}${verb.slice(1)}`);
    byId("rolling").checked = false;
    show(byId("rolling-line"), verb === "restart");
    this.dialog.showModal();
    byId("confirm-yes").focus();
  }

  async go() {
    const { verb, name } = this.asked;
    const rolling = byId("rolling").checked;
    this.dialog.close();
    const task = { verb, name, units: [name], seq: Infinity, began: performance.now(), steps: [], end: "" };
    this.tasks.set(name, task);
    this.render();
    // The button that was pressed is switched off, and would leave nobody anywhere.
    byId("progress-title").focus({ preventScroll: true });
    try {
      const accepted = await api.command(verb, name, rolling);
      task.units = [...accepted.services, ...accepted.also];
      task.seq = accepted.seq;
      // What happened since may have come while the answer was on its way.
      this.note(this.fleet.events, task);
      task.look = accepted.look;
    } catch (error) {
      const itself = this.fleet.services.get(name)?.serves_this && error.status === 0;
      task.end = itself ? "asked; this page goes on when the dashboard runs again" : `not done: ${error.message}`;
    }
    this.render();
    this.poke();
  }

  // Another dashboard answers now: every look of it is later than what was asked of the former.
  begin() {
    for (const task of this.tasks.values()) if (task.look !== undefined) task.look = -1;
  }

  update(events) {
    for (const task of this.tasks.values()) {
      if (task.end) continue;
      this.note(events, task);
      // A look that was under way may have seen how it was before the command.
      if (task.look !== undefined && this.fleet.look > task.look) {
        task.end = ending(task, this.fleet.services.get(task.name));
      }
    }
    this.render();
  }

  note(events, task) {
    const seen = task.steps.length ? task.steps[task.steps.length - 1].seq : task.seq;
    task.steps.push(...events.filter((e) => e.seq > seen && task.units.includes(e.unit)));
    task.steps.splice(0, task.steps.length - STEPS);
  }

  render() {
    const service = this.fleet.services.get(this.name);
    const task = this.tasks.get(this.name);
    // What was accepted may take long, and may be asked otherwise meanwhile.
    const asking = task && !task.end && task.look === undefined;
    const can = service && !asking;
    const startable = service?.goal === "down" || ["failed", "completed", "backoff"].includes(service?.state);
    byId("start").disabled = !can || !startable;
    byId("stop").disabled = !can || service.state === "stopped";
    byId("restart").disabled = !can;
    show(byId("progress"), Boolean(task));
    if (!task) return;
    say(byId("progress-title"), task.end || `${DOING[task.verb]} ${task.name}…`);
    const list = byId("progress-steps");
    if (this.shown !== task) list.replaceChildren();
    this.shown = task;
    const last = Number(list.lastElementChild?.dataset.seq ?? 0);
    for (const step of task.steps.filter((each) => each.seq > last)) {
      const node = item(step, step.unit !== task.name);
      node.dataset.seq = step.seq;
      list.append(node);
    }
  }
}

function consequence(verb, service, neededBy) {
  const many = neededBy.length > 5 ? `${neededBy.slice(0, 5).join(", ")} and ${neededBy.length - 5} more` : neededBy.join(", ");
  const others = neededBy.length ? ` ${many} ${neededBy.length === 1 ? "needs" : "need"} it.` : "";
  const back = verb === "stop" ? `until a terminal brings it back: atlasctl start ${service.name}` : "meanwhile";
  const own = service.serves_this ? ` It serves this page, which will not answer ${back}.` : "";
  if (verb === "start") {
    const needs = service.depends_on.length ? ` What it needs (${service.depends_on.join(", ")}) is started with it.` : "";
    return `It is ${service.state} now.${needs}`;
  }
  if (verb === "stop") return `It stays stopped until somebody starts it.${others}${own}`;
  return `What it does now is interrupted.${others}${own}`;
}

function ending({ verb, began }, service) {
  if (!service) return "it is not in the configuration any more";
  const after = `after ${duration((performance.now() - began) / 1000)}`;
  if (service.state === "failed") return `failed ${after}: ${service.reason}`;
  const [goal, otherwise] = verb === "stop" ? ["down", "started"] : ["up", "stopped"];
  const reached = verb === "stop" ? service.state === "stopped" : isGood(service);
  if (service.settled && reached) return `${service.state} ${after}`;
  return service.goal === goal ? "" : `${otherwise} meanwhile: ${service.reason}`;
}
