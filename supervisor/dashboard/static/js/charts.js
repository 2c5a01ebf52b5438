// Small charts of the last ten minutes, drawn as SVG paths.

import { byId, make, makeSvg, say } from "./dom.js";

const KEPT = 300; // samples, as the server keeps
const SPAN = 600; // seconds
const GAP = 10; // seconds without a sample: nobody looked, so no line is drawn over it
const FAILED = -1;

export class Series {
  constructor() {
    this.clear();
  }

  clear() {
    this.count = 0;
    this.at = [];
    this.values = { cpu: [], memory: [], latency: [] };
  }

  take(series) {
    this.count = series.count;
    this.at.push(...series.at);
    this.at.splice(0, this.at.length - KEPT);
    for (const [name, list] of Object.entries(this.values)) {
      list.push(...series[name]);
      list.splice(0, list.length - KEPT);
    }
  }
}

export class Chart {
  constructor(id, title, format, least) {
    this.title = title;
    this.format = format;
    this.least = least; // the scale ends here at the lowest, so that noise looks like noise
    this.line = makeSvg("path");
    this.failures = makeSvg("path", { class: "failed" });
    this.svg = makeSvg("svg", { class: "chart", role: "img", viewBox: "0 0 100 100", preserveAspectRatio: "none" });
    this.svg.append(this.line, this.failures);
    this.caption = make("figcaption");
    byId(id).replaceChildren(this.svg, this.caption);
  }

  draw(at, values, now) {
    const known = values.filter((value) => value !== null && value !== FAILED);
    const top = Math.max(this.least, ...known) * 1.08;
    const begin = Math.max(now - SPAN, Math.min(at[0] ?? now, now - 60));
    const x = (moment) => (((moment - begin) / (now - begin)) * 100).toFixed(2);
    let line = "";
    let failures = "";
    let before = null;
    at.forEach((moment, index) => {
      const value = values[index];
      if (moment < begin) return;
      if (value === FAILED) failures += `M${x(moment)} 90V100`;
      if (value === null || value === FAILED) {
        before = null;
        return;
      }
      const joined = before !== null && moment - before <= GAP;
      line += `${joined ? "L" : "M"}${x(moment)} ${(100 - (value / top) * 100).toFixed(2)}`;
      if (!joined) line += "h0"; // a lone point is seen, too
      before = moment;
    });
    this.line.setAttribute("d", line);
    this.failures.setAttribute("d", failures);
    const text = this.describe(values, known);
    say(this.caption, text);
    if (this.svg.getAttribute("aria-label") !== text) this.svg.setAttribute("aria-label", text);
  }

  describe(values, known) {
    const last = values[values.length - 1] ?? null;
    const now = last === FAILED ? "failed" : last === null ? "–" : this.format(last);
    const most = known.length ? `, at most ${this.format(Math.max(...known))}` : "";
    return `${this.title}: ${now}${most}`;
  }
}
