// A live channel in two panes, each a connection of its own. First the connection as a plain state machine: time and
// events come in, effects come out; it knows no socket, timer or page. Then the page around it.

const SECOND = 1_000;
const LIFE_UNTIL_CALM = 10 * SECOND;
const PONG_WITHIN = 10 * SECOND;
const CONNECT_WITHIN = 15 * SECOND;
const REWIND = { messages: 20 };
const TRANSIENT = ["unavailable", "internal", "rate_limited"];

/** Full jitter: anything from nothing to min(20 s, 0.5 s · 2^tries). */
export function backoff(tries, random = Math.random) {
  return random() * Math.min(20 * SECOND, 0.5 * SECOND * 2 ** tries);
}

/** `fk_…` connects to public channels; `fk_….fs_…` also publishes. Anything else is nothing. */
export function credentials(text) {
  const found = /^(fk_[0-9A-Za-z]+)(\.fs_[0-9A-Za-z]+)?$/.exec(text.trim());
  return found && { key: found[1], bearer: found[2] ? found[0] : null };
}

/**
 * One subscription over one connection that comes back.
 *
 * States: `stopped`, `connecting`, `connected`, `disconnected` (comes back at `retryAt`), `closed` (does not come back).
 * Effects: `{ do: "open" }`, `{ do: "send", frame }`, `{ do: "close" }`, `{ do: "list", entry }`.
 */
export class Connection {
  state = "stopped";
  connection = null;
  /** The last serial that is accounted for, and its epoch; what a resume begins after. */
  position = null;
  /** The first serial of the list; null while it is empty. */
  first = null;
  /** Ranges `[from, to]` that the server said will not come; `to` is null where it could not say. */
  lost = [];
  /** Ranges that did not come although nobody said so: never, if the server keeps its promise. */
  holes = [];
  duplicates = 0;
  trouble = null;
  subscribed = false;

  #key;
  #channel;
  #random;
  #now = 0;
  #effects = [];
  #due = new Map();
  #asked = new Map();
  #lastId = 0;
  #tries = 0;
  #pingMs = 30 * SECOND;
  #historyOff = false;

  constructor(key, channel, random = Math.random) {
    this.#key = key;
    this.#channel = channel;
    this.#random = random;
  }

  /** When `tick` is due next; null if nothing is. */
  get wakeAt() {
    return this.#due.size === 0 ? null : Math.min(...this.#due.values());
  }

  /** When the next try begins; null unless `disconnected`. */
  get retryAt() {
    return this.#due.get("retry") ?? null;
  }

  apply(event, now) {
    this.#now = now;
    this.#effects = [];
    const isOpen = this.state === "connecting" || this.state === "connected";
    switch (event.type) {
      case "start":
        this.#tries = 0;
        if (this.state === "stopped" || this.state === "closed") this.#open();
        break;
      case "stop":
        this.#leave("stopped");
        break;
      case "drop":
        if (isOpen) this.#lose({ message: "The connection was dropped here." });
        break;
      case "online":
        if (this.state === "disconnected") this.#open();
        break;
      case "opened":
        this.#ask("connect", { key: this.#key, client: "fanfare-demo/1" });
        break;
      case "frame":
        if (isOpen) this.#read(event.text);
        break;
      case "closed":
        if (isOpen) this.#ended(event.code, event.reason);
        break;
      case "tick":
        this.#tick();
        break;
    }
    return this.#effects;
  }

  #open() {
    this.#leave("connecting");
    this.trouble = null;
    this.#due.set("silence", this.#now + CONNECT_WITHIN);
    this.#effects.push({ do: "open" });
  }

  #leave(state) {
    if (this.state === "connecting" || this.state === "connected") this.#effects.push({ do: "close" });
    this.state = state;
    this.connection = null;
    this.subscribed = false;
    this.#due.clear();
    this.#asked.clear();
  }

  /** Comes back after the jitter and no earlier than told; at once only the first time, lest two sides spin. */
  #comeBack(atOnce = false) {
    const told = this.trouble?.retry_after_ms ?? 0;
    const wait = atOnce && this.#tries === 0 ? 0 : backoff(this.#tries, this.#random);
    this.#tries += 1;
    this.#leave("disconnected");
    this.#due.set("retry", this.#now + Math.max(wait, told));
  }

  #lose(trouble) {
    this.trouble = trouble;
    this.#comeBack();
  }

  #ended(code, reason) {
    this.trouble ??= { message: `The connection was lost (${code}${reason ? `, ${reason}` : ""}).` };
    if (code >= 4000 && code <= 4099) this.#leave("closed");
    else this.#comeBack(code >= 4200 && code <= 4299);
  }

  #tick() {
    for (const [name, at] of [...this.#due]) {
      if (at > this.#now || !this.#due.delete(name)) continue;
      if (name === "retry") this.#open();
      if (name === "calm") this.#tries = 0;
      if (name === "move") this.#comeBack(true);
      if (name === "subscribe") this.#subscribe();
      if (name === "silence") this.#lose({ message: "The server went silent." });
    }
  }

  #ask(op, fields) {
    this.#lastId += 1;
    this.#asked.set(this.#lastId, op);
    this.#effects.push({ do: "send", frame: { id: this.#lastId, op, ...fields } });
  }

  #read(text) {
    const frame = JSON.parse(text);
    if (this.state === "connected") this.#due.set("silence", this.#now + this.#pingMs + PONG_WITHIN);
    if (frame.op === undefined) return this.#answered(frame);
    if (frame.channel !== undefined && !this.subscribed) return;
    switch (frame.op) {
      case "ping":
        this.#effects.push({ do: "send", frame: { op: "pong" } });
        break;
      case "message":
        this.#message(frame);
        break;
      case "skip":
        if (this.#take(frame.serial)) this.#list({ kind: "skip", text: `Serial ${frame.serial} was not for this connection.` });
        break;
      case "gap":
        this.#gap(frame.from, frame.to);
        break;
      case "unsubscribed":
        this.subscribed = false;
        if (frame.error.code === "epoch_changed") this.#due.set("subscribe", this.#now + backoff(0, this.#random));
        else this.trouble = frame.error;
        break;
      case "reconnect":
        this.#due.set("move", this.#now + frame.after_ms);
        this.#list({ kind: "note", text: `The server asks to reconnect: ${frame.reason}.` });
        break;
      case "error":
        this.trouble = frame.error;
        break;
    }
  }

  #answered({ id, ok, error }) {
    const op = this.#asked.get(id);
    this.#asked.delete(id);
    if (op === "connect" && ok) this.#connected(ok);
    if (op === "connect" && error) this.trouble = error;
    if (op === "subscribe" && ok) this.#subscribed(ok);
    if (op === "subscribe" && error) this.#notSubscribed(error);
  }

  #connected(ok) {
    this.state = "connected";
    this.connection = ok.connection;
    this.trouble = null;
    this.#pingMs = ok.ping_ms;
    this.#due.set("silence", this.#now + ok.ping_ms + PONG_WITHIN);
    this.#due.set("calm", this.#now + LIFE_UNTIL_CALM);
    this.#subscribe();
  }

  #subscribe() {
    const start = this.#historyOff ? {} : this.position ? { since: { ...this.position } } : { rewind: REWIND };
    this.#ask("subscribe", { channel: this.#channel, ...start });
  }

  #subscribed(ok) {
    this.subscribed = true;
    this.trouble = null;
    const before = this.position;
    if (before?.epoch === ok.epoch && ok.resumed) return;
    if (before?.epoch === ok.epoch && ok.lost?.to) return this.#gap(ok.lost.from, ok.lost.to);
    if (before && !this.#historyOff) {
      this.lost.push([ok.lost?.from ?? before.serial + 1, null]);
      this.#list({ kind: "lost", text: "The history was replaced: what came meanwhile is unknown. A new list begins." });
    }
    this.first = null;
    this.position = { epoch: ok.epoch, serial: ok.serial - ok.backlog };
  }

  #notSubscribed(error) {
    if (error.code === "history_off" && !this.#historyOff) {
      this.#historyOff = true;
      return this.#subscribe();
    }
    this.trouble = error;
    if (!TRANSIENT.includes(error.code)) return;
    const wait = Math.max(error.retry_after_ms ?? 0, backoff(this.#tries, this.#random));
    this.#tries += 1;
    this.#due.set("subscribe", this.#now + wait);
  }

  #message(message) {
    if (message.serial === undefined || this.#take(message.serial)) this.#list({ kind: "message", message });
  }

  #gap(from, to) {
    if (to <= this.position.serial) return;
    this.#expect(from);
    this.lost.push([from, to]);
    this.#list({ kind: "lost", text: `Serials ${span(from, to)} are past retention and will not come.` });
    this.position.serial = to;
  }

  /** Accounts for a serial; whether it is new. */
  #take(serial) {
    if (serial <= this.position.serial) {
      this.duplicates += 1;
      return false;
    }
    this.#expect(serial);
    this.first ??= serial;
    this.position.serial = serial;
    return true;
  }

  #expect(serial) {
    const next = this.position.serial + 1;
    if (serial <= next) return;
    this.holes.push([next, serial - 1]);
    this.#list({ kind: "hole", text: `Serials ${span(next, serial - 1)} are missing.` });
  }

  #list(entry) {
    this.#effects.push({ do: "list", entry });
  }
}

function span(from, to) {
  return from === to ? `${from}` : `${from}–${to ?? "?"}`;
}

/** What a list holds, in words: a verdict (`yes`, `lost`, `hole`, `empty`) and a sentence. */
export function completeness({ first, position, lost, holes }) {
  const spans = (ranges) => ranges.map(([from, to]) => span(from, to)).join(", ");
  const told = lost.length > 0 ? [`lost, as told: ${spans(lost)}`] : [];
  if (holes.length > 0) return ["hole", [`missing ${spans(holes)}`, ...told].join("; ")];
  if (lost.length > 0) return ["lost", told[0]];
  if (first === null) return ["empty", "no serial yet"];
  return ["yes", `complete, ${span(first, position.serial)}`];
}

const MOST_ENTRIES = 500;
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const byId = (id) => document.getElementById(id);

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** One pane: a machine, the socket and timer it asks for, and what of it is shown. */
class Pane {
  #root;
  #machine = null;
  #socket = null;
  #timer;

  constructor(number) {
    this.#root = byId("pane").content.firstElementChild.cloneNode(true);
    this.#root.dataset.pane = number;
    this.#root.ariaLabel = this.#root.querySelector("h2").textContent = `Subscriber ${number}`;
    const log = this.#root.querySelector("[role=log]");
    log.ariaLabel = `Messages of subscriber ${number}`;
    log.ariaLive = number === 1 ? "polite" : "off";
    this.#button("drop").onclick = () => this.dispatch({ type: "drop" });
    this.#button("toggle").onclick = () => this.dispatch({ type: this.#isStopped() ? "start" : "stop" });
    byId("panes").append(this.#root);
  }

  follow(key, channel) {
    this.dispatch({ type: "stop" });
    this.#field("messages").replaceChildren();
    this.#machine = new Connection(key, channel);
    this.dispatch({ type: "start" });
  }

  dispatch(event) {
    if (this.#machine === null) return;
    for (const effect of this.#machine.apply(event, Date.now())) this.#run(effect);
    this.#schedule();
    this.#show();
  }

  #run(effect) {
    if (effect.do === "open") this.#open();
    if (effect.do === "send") this.#socket?.send(JSON.stringify(effect.frame));
    if (effect.do === "list") this.#list(effect.entry);
    if (effect.do === "close") {
      const socket = this.#socket;
      this.#socket = null;
      socket?.close();
    }
  }

  #open() {
    const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/v1/connect`);
    const hear = (event) => socket === this.#socket && this.dispatch(event);
    socket.onopen = () => hear({ type: "opened" });
    socket.onmessage = ({ data }) => hear({ type: "frame", text: data });
    socket.onclose = ({ code, reason }) => hear({ type: "closed", code, reason });
    this.#socket = socket;
  }

  #schedule() {
    clearTimeout(this.#timer);
    const { wakeAt, state } = this.#machine;
    if (wakeAt === null) return;
    const countdownStep = state === "disconnected" ? 100 : Infinity;
    this.#timer = setTimeout(() => this.dispatch({ type: "tick" }), Math.min(Math.max(wakeAt - Date.now(), 0), countdownStep));
  }

  #show() {
    const { state, subscribed, connection, position, trouble, duplicates, retryAt } = this.#machine;
    const [verdict, sentence] = completeness(this.#machine);
    const seconds = retryAt === null ? "" : `next try in ${(Math.max(retryAt - Date.now(), 0) / SECOND).toFixed(1)} s`;
    this.#root.dataset.state = state;
    this.#root.dataset.subscribed = subscribed;
    this.#root.dataset.complete = verdict;
    this.#set("state", state);
    this.#set("countdown", seconds);
    this.#set("connection", connection ?? "–");
    this.#set("epoch", position?.epoch ?? "–");
    this.#set("serial", position?.serial ?? "–");
    this.#set("complete", sentence + (duplicates > 0 ? ` (${duplicates} doubles left out)` : ""));
    this.#set("trouble", trouble ? [trouble.code, trouble.message, trouble.remedy].filter(Boolean).join(" · ") : "");
    this.#button("drop").disabled = state !== "connecting" && state !== "connected";
    this.#button("toggle").disabled = false;
    this.#button("toggle").textContent = this.#isStopped() ? "Start" : "Stop";
  }

  #list(entry) {
    const log = this.#root.querySelector("[role=log]");
    const followsEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const list = this.#field("messages");
    list.append(entry.kind === "message" ? messageItem(entry.message) : element("li", `notice ${entry.kind}`, entry.text));
    if (list.childElementCount > MOST_ENTRIES) list.firstElementChild.remove();
    if (followsEnd) log.scrollTop = log.scrollHeight;
  }

  #isStopped() {
    return this.#machine.state === "stopped" || this.#machine.state === "closed";
  }

  #field(name) {
    return this.#root.querySelector(`[data-field="${name}"]`);
  }

  #set(name, text) {
    const field = this.#field(name);
    if (field.textContent !== String(text)) field.textContent = text;
  }

  #button(action) {
    return this.#root.querySelector(`[data-action="${action}"]`);
  }
}

function messageItem({ serial, id, time, client, name, data }) {
  const item = element("li", "message", "");
  if (serial !== undefined) item.dataset.serial = serial;
  item.title = id;
  const when = element("time", "", clock.format(time));
  when.dateTime = new Date(time).toISOString();
  const from = element("span", "from", [client, name].filter(Boolean).join(" · "));
  item.append(element("span", "serial", serial ?? "ephemeral"), when, from, element("code", "", JSON.stringify(data)));
  return item;
}

/** The body of a publish: JSON stays as it was typed, other text becomes `{"text": …}`. */
export function publishBody(text) {
  try {
    JSON.parse(text);
    return `{"data":${text}}`;
  } catch {
    return JSON.stringify({ data: { text } });
  }
}

function newIdempotencyKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Publishes, and says in words what came of it. An attempt that may have arrived is repeated under the same key. */
class PublishForm {
  #bearer = null;
  #unconfirmed = null;

  constructor(channel) {
    byId("publish").onsubmit = (event) => {
      event.preventDefault();
      this.#publish(channel(), publishBody(byId("publish-data").value));
    };
  }

  use(bearer) {
    this.#bearer = bearer;
    byId("publish-button").disabled = bearer === null;
    this.#say(bearer === null ? "Publishing needs the full key, fk_….fs_…" : "", "");
  }

  async #publish(channel, body) {
    const same = this.#unconfirmed?.channel === channel && this.#unconfirmed.body === body;
    const attempt = same ? this.#unconfirmed : { channel, body, key: newIdempotencyKey() };
    const begun = performance.now();
    byId("publish-button").disabled = true;
    this.#say("Publishing …", "");
    try {
      const answer = await fetch(`/v1/channels/${encodeURIComponent(channel)}/messages?ack=persisted`, {
        method: "POST",
        headers: { Authorization: `Bearer ${this.#bearer}`, "Content-Type": "application/json", "Idempotency-Key": attempt.key },
        body,
      });
      const said = await answer.json();
      this.#unconfirmed = answer.status >= 500 ? attempt : null;
      if (!answer.ok) return this.#say(`${answer.status} ${said.code}: ${said.detail ?? said.title} ${said.remedy ?? ""}`, "bad");
      const place = said.serial === undefined ? "accepted" : `serial ${said.serial}`;
      this.#say(`${answer.status} · ${place} · ${said.message} · ${Math.round(performance.now() - begun)} ms`, "good");
    } catch {
      this.#unconfirmed = attempt;
      this.#say("The server was not reached. Publishing the same again is safe: it keeps its idempotency key.", "bad");
    } finally {
      byId("publish-button").disabled = this.#bearer === null;
    }
  }

  #say(text, verdict) {
    byId("publish-result").textContent = text;
    byId("publish-result").dataset.verdict = verdict;
  }
}

/** Fills the page and keeps it going: credentials and channel come from the fragment or the fields. */
function run() {
  const panes = [new Pane(1), new Pane(2)];
  const publish = new PublishForm(() => byId("channel").value);
  let following = "";

  const follow = () => {
    const [given, channel] = [credentials(byId("key").value), byId("channel").value];
    byId("key").setCustomValidity(given ? "" : "A key looks like fk_… or fk_….fs_…");
    publish.use(given?.bearer ?? null);
    if (!given || !byId("follow").reportValidity() || following === `${given.key} ${channel}`) return;
    following = `${given.key} ${channel}`;
    for (const pane of panes) pane.follow(given.key, channel);
  };
  const readFragment = () => {
    const fragment = new URLSearchParams(location.hash.slice(1));
    byId("key").value = fragment.get("key") ?? byId("key").value;
    byId("channel").value = fragment.get("channel") ?? byId("channel").value;
    follow();
  };

  byId("follow").onsubmit = (event) => event.preventDefault();
  byId("follow").onchange = follow;
  addEventListener("hashchange", readFragment);
  addEventListener("online", () => panes.forEach((pane) => pane.dispatch({ type: "online" })));
  readFragment();
}

if (globalThis.document) run();
