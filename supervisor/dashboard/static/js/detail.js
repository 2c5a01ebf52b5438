// One service in full: facts, charts, story, log, events.

import * as api from "./api.js";
import { Chart, Series } from "./charts.js";
import { byId, classify, make, say, show } from "./dom.js";
import { Log } from "./log.js";
import { linkTo } from "./table.js";
import { Timeline } from "./timeline.js";
import { age, duration, kindOf, percent, plain, size } from "./words.js";

const RETELL = 4000; // milliseconds between two stories at least: each is a process of its own
const [NARROW, WIDE] = [60, 120]; // columns that `atlasctl why` can be told

export class Detail {
  constructor(fleet) {
    this.fleet = fleet;
    this.name = null;
    this.section = byId("detail");
    this.series = new Series();
    this.log = new Log();
    this.events = new Timeline(byId("own-events"), false);
    this.charts = [
      [new Chart("chart-latency", "Probe", duration, 0.01), "latency"],
      [new Chart("chart-cpu", "CPU", percent, 1), "cpu"],
      [new Chart("chart-memory", "Memory", size, 1024 * 1024), "memory"],
    ];
    byId("why-again").addEventListener("click", () => this.tell());
  }

  open(name) {
    this.name = name;
    this.service = null;
    show(this.section, name !== null);
    byId("content").classList.toggle("two", name !== null);
    this.restart();
    if (name === null) return;
    say(byId("detail-title"), name);
    this.render();
    this.tell();
    byId("detail-title").focus({ preventScroll: true });
    if (matchMedia("(max-width: 1099.98px)").matches) window.scrollTo(0, 0);
  }

  // Begins anew, with the same service, as after a restart of the dashboard.
  restart() {
    this.series.clear();
    this.log.open(this.name);
    this.events.clear();
    if (this.name !== null) this.events.add(this.own(this.fleet.events));
  }

  own(events) {
    return events.filter((event) => event.unit === this.name);
  }

  query() {
    if (this.name === null) return {};
    const { log, series } = this;
    return { service: this.name, sample: series.count, reader: log.reader, line: log.last };
  }

  take(reply, changes) {
    if (this.name === null) return;
    if (changes.anew) this.restart();
    else this.events.add(this.own(changes.events));
    if (reply.series) this.series.take(reply.series);
    if (reply.log) this.log.take(reply.log);
    // At the very beginning it was told just now.
    this.stale ||= changes.anew ? this.service !== null : this.own(changes.events).length > 0;
    if (this.stale && performance.now() - this.toldAt > RETELL) this.tell();
    this.render();
  }

  render() {
    const service = this.fleet.services.get(this.name);
    const now = this.fleet.now();
    for (const [chart, values] of this.charts) chart.draw(this.series.at, this.series.values[values], now);
    if (!service) {
      say(byId("detail-state"), "unknown");
      classify(byId("detail-state"), "calm");
      say(byId("detail-reason"), this.fleet.order.length ? "No service has this name." : "");
      say(byId("detail-description"), "");
      show(byId("detail-notice"), false);
      byId("facts").replaceChildren();
      this.factsKey = "";
      return;
    }
    say(byId("detail-state"), service.state);
    classify(byId("detail-state"), kindOf(service.state));
    say(byId("detail-description"), plain(service.description));
    say(byId("detail-reason"), `For ${age(now - service.since)}: ${plain(service.reason)}`);
    say(byId("detail-notice"), plain(service.notice ?? ""));
    show(byId("detail-notice"), Boolean(service.notice));
    if (service !== this.service) this.renderFacts(service);
    this.service = service;
    say(this.uptime, service.started === null ? "–" : age(now - service.started));
    say(this.probe, answer(service.probe, now));
  }

  renderFacts(service) {
    // Rewritten only when something else than time has changed, so that a selection stays.
    const key = JSON.stringify({ ...service, cpu: 0, memory: 0, probe: 0, reason: 0, state: 0, since: 0 });
    if (key === this.factsKey) return;
    this.factsKey = key;
    this.uptime = make("dd");
    this.probe = make("dd");
    const facts = [
      ["Uptime", this.uptime],
      ["Last probe", this.probe],
      ["Restarts", String(service.restarts)],
      ["Run", service.pid === null ? String(service.run) : `${service.run}, pid ${service.pid}, ${service.processes} process${service.processes === 1 ? "" : "es"}`],
      ["Last exit", plain(service.last_exit ?? "")],
      ["Ports", service.ports.join(", ")],
      ["Second run", service.second_run ?? ""],
      ["Needs", links(service.depends_on)],
      ["Needed by", links(this.fleet.neededBy(service.name))],
      ["Lost output", service.log_lost ? `${size(service.log_lost)} could not be written: is the disk full?` : ""],
    ];
    byId("facts").replaceChildren(
      ...facts
        .filter(([, value]) => value !== "")
        .flatMap(([word, value]) => {
          const said = value instanceof Node && value.nodeName === "DD" ? value : make("dd", {}, value);
          return [make("dt", { textContent: word }), said];
        }),
    );
  }

  async tell() {
    const name = this.name;
    const place = byId("why");
    if (name !== this.toldOf) say(place, "asking…");
    [this.stale, this.toldAt, this.toldOf] = [false, performance.now(), name];
    let text;
    try {
      text = (await api.why(name, columnsOf(place))).text;
    } catch (error) {
      text = error.message;
      this.stale = error.status !== 404; // else it may be told soon
    }
    if (name === this.name) say(place, plain(text));
  }
}

function columnsOf(place) {
  const ruler = make("span", { textContent: "0".repeat(100) });
  const line = make("div", {}, ruler);
  line.style.cssText = "position: absolute; visibility: hidden; white-space: pre";
  place.append(line);
  const columns = Math.floor((place.clientWidth - 20) / (ruler.offsetWidth / 100));
  line.remove();
  return Math.max(NARROW, Math.min(WIDE, columns));
}

function answer(probe, now) {
  if (!probe) return "none";
  const how = probe.ok ? `ok in ${duration(probe.latency)}` : `${probe.ok === false ? "failed" : "not made"}: ${plain(probe.detail)}`;
  return `${probe.kind} ${how}, ${age(now - probe.at)} ago`;
}

function links(names) {
  if (!names.length) return "";
  const list = document.createDocumentFragment();
  names.forEach((name, index) => list.append(index ? ", " : "", make("a", { href: linkTo(name), textContent: name })));
  return list;
}
