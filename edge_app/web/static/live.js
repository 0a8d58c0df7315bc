// The stage: the picture, what is drawn over it, and the mark on a picture that is no longer live.

import { byId } from "./dom.js";
import { shown, staleSeconds, startPicture } from "./picture.js";
import { on, station } from "./station.js";

const SVG = "http://www.w3.org/2000/svg";
const CHOICES = { "show-outlines": "outlines", "show-boxes": "boxes" };

export function startLive() {
  for (const [button, drawn] of Object.entries(CHOICES)) {
    choose(button, drawn, localStorage.getItem(button) !== "off");
    byId(button).addEventListener("click", () => choose(button, drawn, byId(button).ariaPressed !== "true"));
  }
  on("verdict", drawVerdict);
  on("status", drawScale);
  startPicture(drawScale);
  setInterval(markStale, 250);
}

function choose(button, drawn, is) {
  byId(button).ariaPressed = String(is);
  byId(drawn).style.display = is ? "" : "none";
  localStorage.setItem(button, is ? "on" : "off");
}

function drawVerdict({ verdict }) {
  fit(verdict.frame.width, verdict.frame.height);
  const lines = verdict.outlines.map((points) => `M${points.map((point) => point.join(" ")).join("L")}Z`);
  const boxes = verdict.boxes.map(([left, top, width, height]) => `M${left} ${top}h${width}v${height}h${-width}Z`);
  byId("outlines").setAttribute("d", lines.join(""));
  byId("boxes").setAttribute("d", boxes.join(""));
  byId("cells").textContent = verdict.cells;
}

/** The overlay's coordinates are the frame's pixels; CSS lays it over the canvas, which may have fewer. */
function fit(width, height) {
  byId("overlay").setAttribute("viewBox", `0 0 ${width} ${height}`);
  byId("stage").style.setProperty("--ratio", width / height);
}

function drawScale() {
  const bar = station.status?.scale_bar;
  const { width, height } = shown;
  const key = bar ? `${width}×${height} ${bar.pixels}` : "";
  if (width === 0 || byId("scale").dataset.drawn === key) return;
  byId("scale").dataset.drawn = key;
  fit(width, height);
  byId("scale").replaceChildren();
  if (!bar) return;
  const unit = width / 100;
  const shade = svg("rect", { x: 2 * unit, y: height - 8 * unit, width: bar.pixels + 3 * unit, height: 6 * unit, rx: unit, class: "shade" });
  const line = svg("rect", { x: 3.5 * unit, y: height - 3.8 * unit, width: bar.pixels, height: 0.7 * unit });
  const text = svg("text", { x: 3.5 * unit + bar.pixels / 2, y: height - 4.6 * unit, "font-size": 2.4 * unit, "text-anchor": "middle" });
  text.textContent = `${bar.micrometres} µm`;
  byId("scale").append(shade, line, text);
}

function svg(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function markStale() {
  const seconds = staleSeconds();
  byId("stage").classList.toggle("is-stale", seconds !== null);
  byId("stale").hidden = seconds === null;
  if (seconds !== null) byId("stale").textContent = `No picture for ${Math.floor(seconds)} s`;
}
