// The live log of one service, and a search in it.

import * as api from "./api.js";
import { byId, make, say, show } from "./dom.js";
import { clock, plain } from "./words.js";

const SHOWN = 1000; // lines
const OURS = "--- atlasctl "; // what the supervisor itself writes between the lines of a service

export class Log {
  constructor() {
    this.box = byId("log");
    this.follow = byId("follow");
    this.note = byId("log-note");
    this.field = byId("search");
    this.follow.addEventListener("change", () => this.toEnd());
    byId("search-go").addEventListener("click", () => this.search());
    byId("search-end").addEventListener("click", () => this.toLive());
    this.field.addEventListener("keydown", (key) => {
      if (key.key === "Enter") this.search();
      if (key.key === "Escape") this.toLive();
    });
    // Scrolling up to read is a wish to stay there.
    this.box.addEventListener("wheel", (turn) => turn.deltaY < 0 && this.stay(), { passive: true });
    this.box.addEventListener("keydown", (key) => ["ArrowUp", "PageUp", "Home"].includes(key.key) && this.stay());
    this.open(null);
  }

  open(name) {
    this.name = name;
    this.reader = 0;
    this.last = 0;
    this.live = [];
    this.field.value = "";
    this.toLive();
  }

  stay() {
    this.follow.checked = false;
  }

  take(log) {
    if (log.reader !== this.reader) {
      this.reader = log.reader;
      this.live = [];
      if (!this.found) this.box.replaceChildren();
    }
    if (!log.lines.length) return;
    this.last = log.lines[log.lines.length - 1].n;
    const nodes = log.lines.map((each) => line(each, ""));
    if (log.missed) nodes.unshift(remark("… lines that came faster than they can be shown are left out"));
    this.live.push(...nodes);
    this.live.splice(0, this.live.length - SHOWN);
    if (this.found) return;
    this.box.append(...nodes);
    while (this.box.childElementCount > SHOWN) this.box.firstElementChild.remove();
    this.toEnd();
  }

  toEnd() {
    if (!this.follow.checked || this.found) return;
    // When all else on the page is written: one layout is enough.
    requestAnimationFrame(() => (this.box.scrollTop = this.box.scrollHeight));
  }

  toLive() {
    this.found = false;
    say(this.note, "");
    show(byId("search-end"), false);
    this.box.replaceChildren(...this.live);
    this.toEnd();
  }

  async search() {
    const [name, text] = [this.name, this.field.value];
    if (!text) return this.toLive();
    say(this.note, "searching…");
    try {
      const reply = await api.search(name, text);
      if (name !== this.name) return;
      this.found = true;
      show(byId("search-end"), true);
      this.box.replaceChildren(...reply.lines.map((each) => line(each, text)));
      this.box.scrollTop = this.box.scrollHeight;
      say(this.note, outcome(reply));
    } catch (error) {
      if (name === this.name) say(this.note, error.message);
    }
  }
}

function outcome({ lines, matches, searched, whole }) {
  const some = matches > lines.length ? ` (the last ${lines.length} are shown)` : "";
  const early = whole ? "" : "; it was given up before the end, since it took too long";
  return `${matches} of the last ${searched} lines match${some}${early}`;
}

const remark = (text) => make("div", { className: "mark", textContent: text });

function line({ at, text }, wanted) {
  const shown = plain(text);
  const node = make("div", { className: shown.startsWith(OURS) ? "mark" : "" });
  if (at !== null) node.append(make("time", { textContent: clock(at) }));
  if (!wanted) {
    node.append(shown);
    return node;
  }
  const [lower, sought] = [shown.toLowerCase(), wanted.toLowerCase()];
  let from = 0;
  for (let found = lower.indexOf(sought); found >= 0; found = lower.indexOf(sought, from)) {
    node.append(shown.slice(from, found), make("mark", { textContent: shown.slice(found, found + sought.length) }));
    from = found + sought.length;
  }
  node.append(shown.slice(from));
  return node;
}
