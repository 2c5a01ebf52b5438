// Lists of events: newest first, each written once.

import { make } from "./dom.js";
import { linkTo } from "./table.js";
import { clock, plain } from "./words.js";

const SHOWN = 150;

export class Timeline {
  constructor(list, named) {
    this.list = list;
    this.named = named; // whether each line says which service it is about
    this.above = 0;
    // Asked for here, where it is known, and not at each change, where it would cost a layout.
    list.addEventListener("scroll", () => (this.above = list.scrollTop), { passive: true });
  }

  clear() {
    this.list.replaceChildren();
  }

  add(events) {
    if (!events.length) return;
    // Who has scrolled down to read stays where that is.
    const above = this.above;
    const before = above > 0 ? this.list.scrollHeight : 0;
    this.list.prepend(...events.slice(-SHOWN).reverse().map((event) => item(event, this.named)));
    while (this.list.childElementCount > SHOWN) this.list.lastElementChild.remove();
    if (above > 0) this.list.scrollTop = above + this.list.scrollHeight - before;
  }
}

export function item(event, named) {
  const moment = make("time", { textContent: clock(event.at), dateTime: new Date(event.at * 1000).toISOString() });
  const text = make("span");
  if (named) text.append(event.unit ? make("a", { href: linkTo(event.unit), textContent: event.unit }) : "supervisor", " ");
  text.append(make("strong", { textContent: event.topic }), ` ${plain(event.text)}`);
  return make("li", {}, moment, text);
}
