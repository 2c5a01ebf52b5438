// What a screen reader reads out by itself: services that have changed their state.

import { say } from "./dom.js";

const AT_ONCE = 3; // changes that are named
const OFTEN = 4; // changes of one service within SPAN that are named
const SPAN = 60_000; // milliseconds

export class Announcer {
  constructor(place) {
    this.place = place;
    this.changes = new Map(); // of each service, the moments of the latest ones
  }

  // One that crashes again and again would be all that can be heard.
  tell(turned, now = performance.now()) {
    const said = turned.map((service) => this.words(service, now)).filter(Boolean);
    if (!said.length) return;
    const more = said.splice(AT_ONCE).length;
    if (more) said.push(`and ${more} more have changed`);
    say(this.place, said.join(". "));
  }

  words({ name, state, reason }, now) {
    const moments = (this.changes.get(name) ?? []).filter((moment) => now - moment < SPAN);
    moments.push(now);
    this.changes.set(name, moments.slice(-OFTEN - 2));
    if (moments.length <= OFTEN) return `${name} is ${state}: ${reason}`;
    return moments.length === OFTEN + 1 ? `${name} keeps changing; it is not read out until it has been steady for a while` : "";
  }
}
