// The stage: the picture, what is drawn over it, and the mark on a picture that is no longer live.

import { byId } from "./dom.js";
import { said } from "./format.js";
import { shown, staleSeconds, startPicture } from "./picture.js";
import { on, station } from "./station.js";
import { kindOf } from "./verdict.js";

const SVG = "http://www.w3.org/2000/svg";
const CHOICES = { "show-outlines": "outlines", "show-boxes": "boxes", "show-fields": "fields" };

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
  drawFields(verdict);
}

/** Each field's border and answer, the worst one's drawn strongest; nothing where the frame is one field. */
function drawFields({ fields, worst_field: worst, frame }) {
  const cut = fields.length > 1;
  byId("show-fields").hidden = !cut;
  byId("field-count").textContent = fields.length;
  const unit = frame.width / 100;
  const drawn = fields.map((field, index) => {
    const [left, top, width, height] = field.box;
    const group = svg("g", { class: `${kindOf(field.label)}${index === worst ? " worst" : ""}` });
    // bottom right: the buttons lie at the top, the scale bar at the left
    const text = svg("text", { x: left + width - unit, y: top + height - unit, "font-size": 2.2 * unit, "text-anchor": "end" });
    text.textContent = said(field);
    group.append(svg("rect", { x: left + unit / 3, y: top + unit / 3, width: width - unit / 1.5, height: height - unit / 1.5 }), text);
    return group;
  });
  byId("fields").replaceChildren(...(cut ? drawn : []));
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
