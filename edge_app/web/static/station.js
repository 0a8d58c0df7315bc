// What is known of the device: its status, the newest verdict and health, kept up to date by server-sent events.
// Listeners hear "status", "verdict", "health" and "connection", and read `station`.

import { get } from "./api.js";

const SILENCE_MS = 20_000; // health comes each second: longer silence is a dead connection
const AGAIN_MS = 2_000;

export const station = { status: null, verdict: null, verdictAt: 0, health: null, connected: false };

const hub = new EventTarget();
let source = null;
let heardAt = 0;
let asked = 0; // times that the status was

export function on(kinds, listener) {
  for (const kind of kinds.split(" ")) hub.addEventListener(kind, () => listener(station));
}

/** Fetches the status anew, after something was changed; raises when the device does not answer. */
export async function refresh() {
  const number = ++asked;
  const status = await get("/api/status");
  if (number !== asked) return; // a newer answer is on its way
  station.status = status;
  station.health = station.status.health;
  if (station.verdict === null && station.status.verdict !== null) heard("verdict", station.status.verdict);
  tell("status");
  tell("health");
}

/** Connects, and connects again whenever the connection is lost. */
export function connect() {
  listen();
  setInterval(() => {
    // A refused EventSource (a restarted device, a login that ran out) does not try again by itself.
    if (source.readyState === EventSource.CLOSED || performance.now() - heardAt > SILENCE_MS) {
      refresh().then(listen, lost);
    }
  }, AGAIN_MS);
}

function listen() {
  source?.close();
  heardAt = performance.now();
  source = new EventSource("/api/verdicts");
  source.onopen = () => {
    connected(true);
    refresh().catch(lost);
  };
  source.onerror = lost;
  source.addEventListener("verdict", (event) => heard("verdict", JSON.parse(event.data)));
  source.addEventListener("health", (event) => heard("health", JSON.parse(event.data)));
  source.addEventListener("event", () => refresh().catch(lost));
}

function heard(kind, value) {
  heardAt = performance.now();
  station[kind] = value;
  if (kind === "verdict") station.verdictAt = heardAt;
  connected(true);
  tell(kind);
}

function lost() {
  connected(false);
}

function connected(is) {
  if (station.connected === is) return;
  station.connected = is;
  tell("connection");
}

function tell(kind) {
  hub.dispatchEvent(new Event(kind));
}
