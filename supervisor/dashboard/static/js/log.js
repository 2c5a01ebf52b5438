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
    this.follow.addEventListener("change", () => this.follow.checked && !this.found && this.toLive());
    byId("search-go").addEventListener("click", () => this.search());
    byId("search-end").addEventListener("click", () => this.toLive());
    this.field.addEventListener("keydown", (key) => {
      if (key.key === "Enter") this.search();
      if (key.key === "Escape") this.toLive();
    });
    this.box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.open(null);
  }

  open(name) {
    if (name !== this.name) this.follow.checked = true;
    this.name = name;
    this.reader = 0;
    this.last = 0;
    this.live = [];
    this.field.value = "";
    this.toLive();
  }

  // Scrolling up to read, by whatever means, is a wish to stay there, and back to the end to follow.
  scrolled() {
    if (this.found) return;
    const { scrollTop, scrollHeight, clientHeight } = this.box;
    const atEnd = scrollHeight - scrollTop - clientHeight < 8;
    if (!atEnd && scrollTop < this.end) {
      this.left = true;
      this.follow.checked = false;
    } else if (atEnd && this.left) {
      this.follow.checked = true;
      if (this.held) this.toLive();
      this.left = false;
    }
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
    // What is read is not taken away to make room.
    this.held ||= !this.follow.checked && this.box.childElementCount + nodes.length > SHOWN;
    if (this.held) return say(this.note, "newer lines wait at the end of the log");
    this.box.append(...nodes);
    while (this.box.childElementCount > SHOWN) this.box.firstElementChild.remove();
    this.toEnd();
  }

  toEnd() {
    if (!this.follow.checked || this.found) return;
    // When all else on the page is written: one layout is enough.
    requestAnimationFrame(() => {
      this.box.scrollTop = this.box.scrollHeight;
      this.end = this.box.scrollTop;
    });
  }

  toLive() {
    this.found = this.held = this.left = false;
    this.end = 0; // until that is known
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
