// What happened, newest first: a camera lost or back, a model switched, recording stopped.

import { byId, element } from "./dom.js";
import { moment } from "./format.js";
import { on, station } from "./station.js";

export function startEvents() {
  on("status", render);
}

function render() {
  const { events } = station.status;
  const rows = events.map(({ at, text }) => element("li", {}, element("time", { dateTime: at }, moment(at)), element("span", {}, text)));
  byId("event-list").replaceChildren(...(rows.length ? rows : [element("li", {}, "Nothing has happened yet.")]));
}
