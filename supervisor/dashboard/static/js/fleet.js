// All that is known, kept up to date by what the server says has changed.

const EVENTS = 500;

export class Fleet {
  constructor() {
    this.forget("");
  }

  forget(epoch) {
    this.epoch = epoch;
    this.revision = 0;
    this.look = 0;
    this.order = [];
    this.services = new Map();
    this.events = [];
    this.supervisor = null;
    this.skew = 0; // the server's clock minus this one's, in seconds
  }

  get lastEvent() {
    return this.events.length ? this.events[this.events.length - 1].seq : 0;
  }

  now() {
    return Date.now() / 1000 + this.skew;
  }

  // Takes a reply and returns what it has changed.
  take(reply) {
    const anew = reply.epoch !== this.epoch;
    if (anew) this.forget(reply.epoch);
    this.revision = reply.revision;
    this.look = reply.look;
    this.supervisor = reply.supervisor;
    this.skew = reply.now - Date.now() / 1000;
    const turned = [];
    for (const service of reply.services) {
      const before = this.services.get(service.name);
      if (before && before.state !== service.state) turned.push(service);
      this.services.set(service.name, service);
    }
    let structure = anew || reply.services.some((s) => this.needsOf(s.name) !== String(s.depends_on));
    if (reply.order) {
      structure = true;
      this.order = reply.order;
      for (const name of this.services.keys()) {
        if (!reply.order.includes(name)) this.services.delete(name);
      }
    }
    if (structure) this.needs = new Map([...this.services].map(([n, s]) => [n, String(s.depends_on)]));
    const last = this.lastEvent;
    const events = reply.events.filter((event) => event.seq > last);
    this.events.push(...events);
    this.events.splice(0, this.events.length - EVENTS);
    return { anew, structure, turned, events };
  }

  needsOf(name) {
    return this.needs?.get(name);
  }

  list() {
    return this.order.map((name) => this.services.get(name)).filter(Boolean);
  }

  neededBy(name) {
    return this.list().filter((s) => s.depends_on.includes(name)).map((s) => s.name);
  }
}
