// The answer: what the last frames agree on, and the verdict on the newest single frame beside it.

import { byId, element } from "./dom.js";
import { percent, probability, sentence } from "./format.js";
import { on, station } from "./station.js";

const EVERY_MS = 200; // figures that change faster can't be read
const MOVED_MS = 1_500;

let movedAt = -Infinity;
let said = "";

export function startVerdict() {
  on("verdict", ({ verdict }) => {
    if (verdict.consensus.moved) movedAt = performance.now();
  });
  setInterval(render, EVERY_MS);
}

function render() {
  const answer = currentAnswer();
  byId("answer").dataset.kind = answer.kind;
  byId("answer-icon").setAttribute("href", `/static/icons.svg#${answer.kind}`);
  byId("answer-label").textContent = answer.label;
  byId("answer-why").textContent = answer.why;
  byId("moved").hidden = performance.now() - movedAt > MOVED_MS;
  renderPips(answer.live);
  renderFrame(answer.live);
  announce(answer);
}

/** Returns the headline: its kind (the icon and colour), label, a sentence, and whether verdicts are coming. */
function currentAnswer() {
  const { connected, health, verdict, status } = station;
  if (!connected) return { kind: "wait", label: "Connecting", why: "Waiting for the device to answer.", live: false };
  if (health?.failure) return { kind: "lost", label: "Stopped", why: sentence(health.failure), live: false };
  if (health?.camera === "lost")
    return { kind: "lost", label: "Camera lost", why: "Check its plug. The picture comes back by itself.", live: false };
  if (health?.camera === "ended")
    return { kind: "lost", label: "Source ended", why: "The last picture is shown. Start again for another source.", live: false };
  if (health && !health.inferring)
    return { kind: "lost", label: "Model stuck", why: "It does not answer and is being started again.", live: false };
  if (verdict === null || !status) return { kind: "wait", label: "Waiting", why: "The camera is being opened.", live: false };
  const { consensus } = verdict;
  if (!consensus.agreed) return { kind: "wait", label: "Looking", why: "The last frames do not agree yet.", live: true };
  if (consensus.label === null)
    return { kind: "unsure", label: "Indeterminate", why: reason(verdict.indeterminate), live: true };
  return { kind: kindOf(consensus.label), label: consensus.label, why: "", live: true };
}

const reason = (name) => (name ? sentence(station.status.reasons[name]) : "Most of the last frames had no label.");

/** With a positive class, it and the others look different; without one, every class looks the same. */
export function kindOf(label) {
  const positive = station.status?.model.positive;
  if (label === null) return "unsure";
  if (!positive) return "named";
  return label === positive ? "positive" : "negative";
}

function renderPips(live) {
  const { frames: most, needed } = station.status?.consensus ?? { frames: 0, needed: 0 };
  const votes = live ? station.verdict.consensus.votes : 0;
  const pips = byId("pips");
  if (pips.childElementCount !== most) pips.replaceChildren(...Array.from({ length: most }, () => element("i")));
  [...pips.children].forEach((pip, index) => {
    pip.className = `${index < votes ? "on" : ""} ${index === needed - 1 ? "needed" : ""}`;
  });
  pips.ariaLabel = live ? `${votes} of ${most} frames agree; ${needed} are needed` : "";
  pips.dataset.text = live ? `${votes} of ${most}` : "";
}

function renderFrame(live) {
  const { verdict, status } = station;
  byId("likely").hidden = byId("threshold-text").hidden = !live || !status.model.positive;
  byId("frame-fields").hidden = !live || verdict.fields.length < 2;
  if (!live) {
    byId("frame-label").textContent = "–";
    byId("frame-probability").textContent = "";
    return;
  }
  const { label, indeterminate, probabilities } = verdict;
  byId("frame-label").textContent = label ?? "Indeterminate";
  byId("frame-probability").textContent = label === null ? indeterminate.replaceAll("_", " ") : probability(probabilities[label]);
  byId("frame-fields").textContent = fieldsOf(verdict, status.model.positive);
  if (byId("likely").hidden) return;
  const share = probabilities[status.model.positive];
  byId("threshold-text").textContent = `threshold ${percent(verdict.threshold, 0)}`;
  byId("likely").style.setProperty("--value", share);
  byId("likely").style.setProperty("--mark", verdict.threshold);
  byId("likely").ariaValueNow = (100 * share).toFixed(1);
  byId("likely").ariaLabel = `Probability of ${status.model.positive}; the threshold is ${verdict.threshold}`;
  byId("likely").title = `${status.model.positive} ${probability(share)}, threshold ${percent(verdict.threshold, 0)}`;
}

/** What the frame's fields were called, and how likely the worst one is positive. */
function fieldsOf({ fields, worst_field: worst }, positive) {
  const named = fields.filter(({ label }) => label !== null);
  if (!positive || worst === null) return `${named.length} of ${fields.length} fields have a label`;
  const called = named.filter(({ label }) => label === positive).length;
  return `${called} of ${named.length} fields ${positive}; worst ${probability(fields[worst].probabilities[positive])}`;
}

/** Tells screen readers of a new answer; not of each frame. */
function announce({ kind, label, why }) {
  const now = kind === "wait" ? "" : `${label}. ${why}`;
  if (now !== said) byId("announce").textContent = now;
  said = now;
}
