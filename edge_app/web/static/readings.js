// Figures to work by: focus with its recent peak, exposure and colour of the frame, rates, times, board, model.

import { byId, describe, element, icon } from "./dom.js";
import { percent, signed, title } from "./format.js";
import { on, station } from "./station.js";

const EVERY_MS = 250;
const PEAK_MS = 20_000;
const STAGES = ["grab", "prepare", "infer", "judge"];

let focuses = [];

export function startReadings() {
  on("verdict", ({ verdict }) => {
    const now = performance.now();
    focuses = [...focuses.filter(({ at }) => now - at < PEAK_MS), { at: now, focus: verdict.focus }].slice(-1000);
  });
  setInterval(render, EVERY_MS);
}

function render() {
  if (station.status === null || station.verdict === null || byId("live").hidden) return;
  renderFocus();
  describe(byId("readings"), [...exposure(), ...pace(), ...device()]);
}

function renderFocus() {
  const { focus } = station.verdict;
  const peak = Math.max(focus, ...focuses.map((each) => each.focus));
  const least = station.status.model.limits.min_focus;
  const full = Math.max(1.15 * peak, 1.5 * least) || 1;
  const bar = byId("focus");
  bar.style.setProperty("--value", focus / full);
  bar.style.setProperty("--mark", peak / full);
  bar.style.setProperty("--least", least / full);
  bar.classList.toggle("low", focus < least);
  bar.ariaValueMax = full.toFixed(3);
  bar.ariaValueNow = focus.toFixed(3);
  const state = focus < least ? "too low" : `${Math.round((100 * focus) / (peak || 1))} % of peak`;
  byId("focus-text").textContent = `${focus.toFixed(3)} · ${state}`;
}

function exposure() {
  const { quality } = station.verdict;
  const { limits } = station.status.model;
  const within = (value, range) => value >= range.low && value <= range.high;
  const [a, b] = [quality.tint_a - 128, quality.tint_b - 128];
  return [
    ["Brightness", judged(`${quality.brightness.toFixed(0)} of 255`, quality.brightness >= limits.min_brightness, "too dark")],
    ["Burnt out", judged(percent(quality.clipped), quality.clipped <= limits.max_clipped, "too much")],
    [
      "White balance",
      judged(
        `a* ${signed(a)}, b* ${signed(b)}`,
        within(quality.tint_a, limits.tint_a) && within(quality.tint_b, limits.tint_b),
        "unlike training",
      ),
    ],
    ["Stained", percent(quality.mask_fraction)],
    ["Scale", scale()],
  ];
}

/** What a pixel shows, and whence that is known. */
function scale() {
  const { scale: known, model } = station.status;
  if (known.um_per_pixel === null) return model.scale ? "not known yet" : null;
  return `${known.um_per_pixel.toFixed(3)} µm a pixel, ${known.given ? "as set" : "measured"}`;
}

/** A figure with a mark and a word, so that neither depends on colour. */
function judged(text, good, fault) {
  const mark = element("span", { className: good ? "good" : "bad" }, icon(good ? "ok" : "warn"), good ? "" : ` ${fault}`);
  return element("span", {}, `${text} `, mark);
}

function pace() {
  const { captured_fps: captured, judged_fps: judgedFps } = station.health;
  const { times_ms: times } = station.verdict;
  const bar = element("span", { className: "stages", role: "img", "aria-label": STAGES.map((each) => `${each} ${times[each].toFixed(1)} ms`).join(", ") });
  for (const stage of STAGES) {
    const part = element("i", { className: stage, title: `${stage} ${times[stage].toFixed(1)} ms` });
    part.style.flexGrow = times[stage];
    bar.append(part);
  }
  const each = STAGES.map((stage) => `${stage} ${times[stage].toFixed(0)}`).join(" · ");
  return [
    ["Frames", `${captured.toFixed(1)} /s, ${judgedFps.toFixed(1)} /s judged`],
    ["Time", element("span", {}, `${times.total.toFixed(0)} ms`, bar, element("small", {}, each))],
  ];
}

function device() {
  const { board, model } = station.status;
  const heat = board.temperature_c != null ? `${board.temperature_c.toFixed(0)} °C` : null;
  const slowed = board.throttling?.now ?? [];
  const throttled = slowed.length ? slowed.map(title).join(", ") : null;
  return [
    ["Board", heat === null && throttled === null ? null : judged(heat ?? "", throttled === null, throttled ?? "")],
    ["Model", judged(model.name, model.certified, "not certified")],
    ["Runs as", model.executed],
  ];
}
