// The camera's controls, as the camera offers them: a switch, a list, or a slider with its number.

import { get, send } from "./api.js";
import { byId, element } from "./dom.js";
import { title } from "./format.js";
import { attempt, toast } from "./toast.js";

const STEPS = 1000; // of a slider whose range spans powers of ten
const WIDE = 100;

/** Fetches and shows the controls. */
export async function showControls() {
  const controls = await get("/api/controls");
  byId("camera-hint").textContent = controls.length
    ? "An automatic that is switched off is locked: the camera keeps the values it had."
    : "This camera has no controls here; set it at the camera itself.";
  const names = new Set(controls.map(({ name }) => name));
  byId("white-balance").hidden = !(names.has("red_gain") && names.has("blue_gain"));
  byId("measure-white").onclick = () => change(() => send("POST", "/api/white-balance"), "White balance measured and locked");
  byId("controls").replaceChildren(...controls.map(row));
}

async function change(action, done = null) {
  if ((await attempt(action)) && done) toast(done);
  await attempt(showControls); // others follow, such as those that an automatic governs
}

const set = (control, value) => change(() => send("PUT", `/api/controls/${control.name}`, { value }));

function row(control) {
  if (control.kind === "bool") return boolean(control);
  const hint = control.governed_by && element("small", {}, `set by ${control.governed_by.replaceAll("_", " ")}`);
  const unit = control.unit ? ` (${control.unit}) ` : " ";
  const name = element("span", {}, titleOf(control), unit, hint || null);
  const inputs = control.kind === "menu" ? [menu(control)] : numbers(control);
  for (const input of inputs) {
    input.disabled = Boolean(control.governed_by);
    input.ariaLabel = titleOf(control);
  }
  return element("div", { className: "control" }, name, ...inputs);
}

function boolean(control) {
  const input = element("input", { type: "checkbox", role: "switch", checked: Boolean(control.value) });
  input.addEventListener("change", () => set(control, input.checked));
  const locked = control.name.startsWith("auto_") && !control.value ? " (locked)" : "";
  return element("label", { className: "switch control" }, input, element("span", {}, titleOf(control) + locked));
}

function menu(control) {
  const options = control.choices.map((each) => element("option", { value: each, selected: each === control.value }, each));
  const select = element("select", {}, ...options);
  select.addEventListener("change", () => set(control, select.value));
  return select;
}

function numbers(control) {
  const { minimum, maximum, value } = control;
  const step = control.step || "any";
  const number = element("input", { type: "number", min: minimum, max: maximum, step: "any", value: rounded(value) });
  // Exposure goes over powers of ten: a linear slider would have its useful part in a few pixels.
  const wide = minimum > 0 && maximum / minimum > WIDE;
  const ratio = Math.log(maximum / minimum);
  const slider = wide
    ? element("input", { type: "range", min: 0, max: STEPS, step: 1, value: (STEPS * Math.log(value / minimum)) / ratio })
    : element("input", { type: "range", min: minimum, max: maximum, step, value });
  const meant = () => (wide ? snapped(control, minimum * Math.exp((ratio * slider.value) / STEPS)) : Number(slider.value));
  slider.addEventListener("input", () => {
    number.value = rounded(meant());
  });
  slider.addEventListener("change", () => set(control, meant()));
  // An emptied field, or one without a number in it, is no 0: the value in force comes back.
  number.addEventListener("change", () => (number.value === "" ? attempt(showControls) : set(control, Number(number.value))));
  return [slider, number];
}

function snapped({ kind, step, minimum, maximum }, value) {
  const stepped = step > 0 ? minimum + Math.round((value - minimum) / step) * step : value;
  const held = Math.min(Math.max(stepped, minimum), maximum);
  return kind === "int" ? Math.round(held) : held;
}

/** The name in words; the unit at its end stands beside it. */
const titleOf = ({ name, unit }) => title(unit ? name.replace(/_(us|k)$/, "") : name);

const rounded = (value) => Number(value.toPrecision(6));
