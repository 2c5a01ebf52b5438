// The dependency graph: what others need stands to the left of them.

import { byId, classify, make, makeSvg, say } from "./dom.js";
import { linkTo } from "./table.js";
import { kindOf } from "./words.js";

const [WIDTH, HEIGHT, ACROSS, DOWN] = [150, 30, 60, 14];
const LETTERS = 19;

export class Graph {
  constructor() {
    this.place = byId("graph");
    this.nodes = new Map();
  }

  update(fleet, structure) {
    if (structure) this.draw(fleet.list());
    for (const [name, { link, title }] of this.nodes) {
      const service = fleet.services.get(name);
      if (!service) continue;
      classify(link, kindOf(service.state));
      const needs = service.depends_on.length ? `, needs ${service.depends_on.join(", ")}` : "";
      say(title, `${name}: ${service.state}${needs}`);
    }
  }

  draw(services) {
    this.nodes.clear();
    const part = new Set(services.flatMap((s) => (s.depends_on.length ? [s.name, ...s.depends_on] : [])));
    const shown = services.filter((s) => part.has(s.name));
    if (!shown.length) {
      this.place.removeAttribute("tabindex");
      this.place.replaceChildren(make("p", { textContent: "No service needs another." }));
      return;
    }
    this.place.tabIndex = 0;
    const at = places(shown);
    const columns = Math.max(...[...at.values()].map((p) => p.column)) + 1;
    const lines = Math.max(...[...at.values()].map((p) => p.line)) + 1;
    const [width, height] = [columns * (WIDTH + ACROSS) - ACROSS + 4, lines * (HEIGHT + DOWN) - DOWN + 4];
    const svg = makeSvg("svg", { width, height, viewBox: `-2 -2 ${width} ${height}`, role: "group" });
    svg.setAttribute("aria-label", "Services and what they need");
    for (const service of shown) {
      for (const needed of service.depends_on) {
        if (at.has(needed)) svg.append(...edge(corner(at.get(needed)), corner(at.get(service.name))));
      }
    }
    for (const { name } of shown) svg.append(this.node(name, corner(at.get(name))));
    this.place.replaceChildren(svg);
  }

  node(name, { x, y }) {
    const short = name.length > LETTERS ? `${name.slice(0, LETTERS - 1)}…` : name;
    const title = makeSvg("title");
    const text = makeSvg("text", { x: x + WIDTH / 2, y: y + HEIGHT / 2 + 4.5, "text-anchor": "middle" }, short);
    const box = makeSvg("rect", { x, y, width: WIDTH, height: HEIGHT, rx: 6 });
    const link = makeSvg("a", { href: linkTo(name) }, title, box, text);
    this.nodes.set(name, { link, title });
    return link;
  }
}

const corner = ({ column, line }) => ({ x: column * (WIDTH + ACROSS), y: line * (HEIGHT + DOWN) });

function edge(from, to) {
  const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2, to.x, to.y + HEIGHT / 2];
  const bend = Math.max(20, (x2 - x1) / 2);
  return [
    makeSvg("path", { class: "edge", d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` }),
    makeSvg("path", { class: "arrow", d: `M${x2} ${y2}l-7 -4v8z` }),
  ];
}

// A column is the longest way down to what needs nothing; in it, who shares needs stands together.
function places(services) {
  const byName = new Map(services.map((s) => [s.name, s]));
  const columns = new Map();
  const column = (name) => {
    if (columns.has(name)) return columns.get(name);
    columns.set(name, 0); // the configuration has no cycles; a broken one must not hang the page
    const needs = byName.get(name).depends_on.filter((n) => byName.has(n));
    columns.set(name, needs.length ? 1 + Math.max(...needs.map(column)) : 0);
    return columns.get(name);
  };
  const layers = [];
  for (const { name } of services) (layers[column(name)] ??= []).push(name);
  const at = new Map();
  layers.forEach((names, index) => {
    const weight = (name) => {
      const needs = byName.get(name).depends_on.filter((n) => at.has(n));
      return needs.reduce((sum, n) => sum + at.get(n).line, 0) / (needs.length || 1);
    };
    const weights = new Map(names.map((name) => [name, weight(name)]));
    names.sort((a, b) => weights.get(a) - weights.get(b));
    names.forEach((name, line) => at.set(name, { column: index, line }));
  });
  return at;
}
