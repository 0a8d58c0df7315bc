// The state in the header, and what a person should know before trusting the picture or the records.

import { byId, element, icon } from "./dom.js";
import { percent, sentence, title } from "./format.js";
import { on, station } from "./station.js";

const STATES = {
  opening: ["wait", "Opening the camera"],
  live: ["good", "Live"],
  lost: ["bad", "Camera lost"],
  ended: ["wait", "Source ended"],
};

export function startNotices() {
  on("connection health status", render);
}

function render() {
  const [level, text] = currentState();
  byId("state").dataset.level = level;
  byId("state-text").textContent = text;
  const notices = station.connected ? current() : [];
  const list = byId("notices");
  const key = notices.join("\n");
  if (list.dataset.shown === key) return;
  list.dataset.shown = key;
  list.replaceChildren(...notices.map((each) => element("li", {}, icon("warn"), each)));
}

function currentState() {
  if (!station.connected) return ["bad", station.status === null ? "Connecting" : "No connection"];
  if (station.health === null) return ["wait", "Connecting"];
  if (station.health.failure) return ["bad", "Stopped"];
  if (!station.health.inferring) return ["bad", "Model stuck"];
  return STATES[station.health.camera];
}

function current() {
  const { health, status } = station;
  if (status === null) return [];
  const throttled = status.board.throttling?.now ?? [];
  return [
    health.failure && sentence(health.failure),
    health.recording === "stopped" && sentence(`recording stopped: ${health.recording_problem}`),
    !status.model.certified && `The model ${status.model.name} is not certified: it differs from its source model by more than allowed.`,
    status.model.threshold !== status.model.bundle_threshold &&
      `The threshold is ${percent(status.model.threshold, 0)}. The model was measured at ${percent(status.model.bundle_threshold, 0)}: its figures do not hold.`,
    throttled.length > 0 && `The board is slowed down: ${throttled.map(title).join(", ")}.`,
    !status.clock_sure && "The clock is not set: the times of records are unsure until it is.",
  ].filter(Boolean);
}
