// The table of services: one row each, kept and updated in place.

import { byId, classify, make, say, show } from "./dom.js";
import { age, isGood, isWell, kindOf, percent, plain, probe, size } from "./words.js";

const URGENCY = ["bad", "busy", "calm", "good"];

export const linkTo = (name) => `#service=${encodeURIComponent(name)}`;

class Row {
  constructor(name) {
    this.link = make("a", { href: linkTo(name), textContent: name });
    this.more = make("span", { className: "more" });
    this.notice = make("span", { className: "more notice" });
    this.state = make("span", { className: "state" });
    this.cells = Array.from({ length: 5 }, () => make("td", { className: "wide" }));
    this.cells[2].classList.add("probe");
    const head = make("th", { scope: "row", abbr: name }, this.link, this.more, this.notice);
    this.node = make("tr", {}, head, make("td", {}, this.state), ...this.cells);
    this.service = null;
  }

  update(service, now) {
    if (service !== this.service) {
      this.service = service;
      say(this.state, service.state);
      classify(this.state, kindOf(service.state));
      say(this.more, plain(isWell(service) ? service.description : service.reason));
      say(this.notice, plain(isGood(service) ? service.notice ?? "" : ""));
      const [, restarts, answer, cpu, memory] = this.cells;
      say(restarts, String(service.restarts));
      say(answer, probe(service));
      say(cpu, service.cpu === null ? "–" : percent(service.cpu));
      say(memory, service.memory === null ? "–" : size(service.memory));
    }
    say(this.cells[0], service.started === null ? "–" : age(now - service.started));
  }
}

export class Table {
  constructor() {
    this.body = byId("rows");
    this.rows = new Map();
    this.filter = byId("filter");
    this.unwell = byId("unwell");
    this.filter.addEventListener("input", () => this.sift());
    this.unwell.addEventListener("change", () => this.sift());
  }

  update(fleet, order) {
    if (order) this.arrange(fleet);
    const now = fleet.now();
    for (const service of fleet.list()) this.rows.get(service.name)?.update(service, now);
    this.sift();
    say(byId("summary"), summary(fleet.list()));
  }

  arrange(fleet) {
    for (const [name, row] of this.rows) {
      if (fleet.services.has(name)) continue;
      row.node.remove();
      this.rows.delete(name);
    }
    let before = null;
    for (const name of fleet.order) {
      let row = this.rows.get(name);
      if (!row) this.rows.set(name, (row = new Row(name)));
      const place = before ? before.nextSibling : this.body.firstChild;
      if (row.node !== place) this.body.insertBefore(row.node, place);
      before = row.node;
    }
  }

  choose(name) {
    for (const [each, row] of this.rows) {
      row.node.classList.toggle("chosen", each === name);
      if (each === name) row.link.setAttribute("aria-current", "true");
      else row.link.removeAttribute("aria-current");
    }
  }

  sift() {
    const wanted = this.filter.value.trim().toLowerCase();
    let shown = 0;
    for (const { node, service } of this.rows.values()) {
      if (!service) continue;
      const found = `${service.name} ${service.state} ${service.description}`.toLowerCase().includes(wanted);
      const visible = found && !(this.unwell.checked && isWell(service));
      show(node, visible);
      shown += visible;
    }
    show(byId("nothing"), shown === 0 && this.rows.size > 0);
  }
}

function summary(services) {
  const counts = new Map();
  for (const { state } of services) counts.set(state, (counts.get(state) ?? 0) + 1);
  const urgency = ([state]) => URGENCY.indexOf(kindOf(state));
  return [...counts].sort((a, b) => urgency(a) - urgency(b)).map(([state, count]) => `${count} ${state}`).join(", ") || "none yet";
}
