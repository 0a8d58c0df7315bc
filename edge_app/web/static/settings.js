// What may change while the device runs: the model and its threshold; and what this device is.

import { get, send } from "./api.js";
import { showControls } from "./controls.js";
import { byId, describe, element, icon } from "./dom.js";
import { percent } from "./format.js";
import { on, refresh, station } from "./station.js";
import { attempt, toast } from "./toast.js";

let waiting = 0; // for answers to thresholds that were sent
let sent = Promise.resolve();

export function startSettings() {
  const slider = byId("threshold");
  slider.addEventListener("input", () => {
    byId("threshold-value").textContent = percent(slider.value, 0);
  });
  slider.addEventListener("change", () => useThreshold(Number(slider.value)));
  byId("threshold-reset").addEventListener("click", () => useThreshold(null));
  byId("measure-scale").addEventListener("click", async () => {
    if (await attempt(() => send("POST", "/api/scale"))) toast("The red cells are measured again");
    await attempt(refresh);
  });
  byId("logout").addEventListener("click", () =>
    attempt(async () => {
      await send("POST", "/api/logout");
      location.assign("/login");
    }),
  );
  on("status", render);
}

/** Fetches what the view shows; called when it is opened. */
export const showSettings = () => attempt(() => Promise.all([showModels(), showControls()]));

/** Sends thresholds one after the other, so that the last one holds, and takes up the device's after the last. */
function useThreshold(threshold) {
  waiting += 1;
  sent = sent.then(async () => {
    await attempt(() => send("PUT", "/api/threshold", { threshold }));
    waiting -= 1;
    if (!waiting) await attempt(refresh);
  });
}

function render() {
  const { model, board, version, device, scale } = station.status;
  byId("threshold-card").hidden = !model.positive;
  if (model.positive) {
    if (!waiting && !byId("threshold").matches(":active")) {
      byId("threshold").value = model.threshold;
      byId("threshold-value").textContent = percent(model.threshold, 0);
    }
    byId("threshold-own").replaceChildren(element("option", { value: model.bundle_threshold }));
    byId("threshold-reset").disabled = model.threshold === model.bundle_threshold;
    byId("threshold-hint").textContent =
      `${model.positive} is named from this probability on. The model was measured at ${percent(model.bundle_threshold, 0)}.`;
  }
  byId("scale-card").hidden = !model.scale;
  byId("measure-scale").hidden = scale.given;
  byId("scale-hint").textContent = scaleHint(scale);
  describe(byId("about"), [
    ["Device", device],
    ["Board", board?.model],
    ["CPU governor", board?.governor],
    ["Source", station.health.source],
    ["Leukoscope", version],
    ["Bundle", element("code", {}, model.bundle)],
  ]);
  byId("logout").hidden = !station.status.login;
}

function scaleHint({ um_per_pixel: um, red_cell_px: px, given }) {
  if (um === null) return "The red cells, by which the scale is known, could not be measured yet.";
  const found = `A pixel shows ${um.toFixed(3)} µm: red cells are ${px.toFixed(0)} pixels wide`;
  return given ? `${found}, by the setting um_per_pixel.` : `${found}, as measured in the first frames. Another objective is noticed after a while.`;
}

async function showModels() {
  const models = await get("/api/models");
  byId("models").replaceChildren(...models.map(modelRow));
}

function modelRow({ name, model, format, precision, certified, current, problem }) {
  const state = problem ?? (certified ? "certified" : "not certified");
  const good = !problem && certified;
  const button = element(
    "button",
    { type: "button", disabled: Boolean(problem), "aria-pressed": String(current) },
    element("strong", {}, model ?? name),
    element("span", {}, problem ? "" : `${name} · ${format} ${precision}`),
    element("span", { className: good ? "good" : "bad" }, icon(good ? "ok" : "warn"), ` ${state}`),
  );
  button.addEventListener("click", () => useModel(name, model, button));
  return element("li", {}, button);
}

async function useModel(name, label, button) {
  button.classList.add("busy");
  const switched = await attempt(() => send("PUT", "/api/model", { name }));
  if (switched) toast(`The model is now ${label}`);
  await attempt(async () => {
    await refresh();
    await showModels();
  });
}
