// One record: its image with or without what was found, the model's verdict, and a person's own label beside it.

import { get, send } from "./api.js";
import { byId, describe, element, openSheet } from "./dom.js";
import { moment, said } from "./format.js";
import { station } from "./station.js";
import { attempt, toast } from "./toast.js";

let current = null;
let changed = () => {};

export function startRecord() {
  byId("record-form").addEventListener("submit", save);
  byId("record-delete").addEventListener("click", () => attempt(remove));
  byId("own-label").addEventListener("input", markQuickLabels);
  byId("record-overlay").addEventListener("change", showImage);
}

/** Opens the sheet of a record; `onChange` is called after it was labelled, deleted or restored. */
export async function openRecord(id, onChange) {
  current = await get(`/api/records/${id}`);
  changed = onChange;
  const { elements } = byId("record-form");
  elements.own_label.value = current.own_label ?? "";
  elements.comment.value = current.comment;
  byId("record-form").querySelector(".error").textContent = "";
  byId("record-title").textContent = said(current);
  byId("record-image").alt = `Record of ${moment(current.captured_at)}`;
  describe(byId("record-facts"), facts(current));
  byId("quick-labels").replaceChildren(...station.status.model.classes.map(quickLabel));
  markQuickLabels();
  showImage();
  openSheet(byId("record-sheet"));
}

function facts(record) {
  return [
    ["Taken", `${moment(record.captured_at)}${record.clock_sure ? "" : " (clock not set)"}`],
    ["Slide", record.slide],
    ["Operator", record.operator],
    ["Note", record.note],
    ["Cells", String(record.cells)],
    ["Focus", record.focus.toFixed(3)],
    ["Noise", record.noise === null ? "–" : record.noise.toFixed(1)],
    ["Model", `${record.model}${record.certified ? "" : " (not certified)"}`],
    ["Ran as", record.executed],
    ["Device", record.device],
    ["Captured", record.trigger === "auto" ? "automatically" : "by hand"],
    ["Bundle", element("code", { title: record.bundle }, record.bundle.slice(0, 12))],
    ["Id", element("code", {}, record.id)],
  ];
}

/** A button that writes a label, and pressed again takes it away. */
function quickLabel(label) {
  const button = element("button", { type: "button", className: "chip" }, label);
  button.addEventListener("click", () => {
    byId("own-label").value = byId("own-label").value === label ? "" : label;
    markQuickLabels();
  });
  return button;
}

function markQuickLabels() {
  for (const button of byId("quick-labels").children) {
    button.ariaPressed = String(button.textContent === byId("own-label").value.trim());
  }
}

function showImage() {
  byId("record-image").src = `/api/records/${current.id}/image?overlay=${byId("record-overlay").checked}`;
}

async function save(event) {
  event.preventDefault();
  const { own_label: label, comment } = event.target.elements;
  try {
    await send("PATCH", `/api/records/${current.id}`, { own_label: label.value.trim() || null, comment: comment.value });
  } catch (problem) {
    event.target.querySelector(".error").textContent = problem.message;
    return;
  }
  byId("record-sheet").close();
  toast("Saved");
  changed();
}

async function remove() {
  const { id } = current;
  await send("DELETE", `/api/records/${id}`);
  byId("record-sheet").close();
  changed();
  toast("Record deleted", () =>
    attempt(async () => {
      await send("POST", `/api/records/${id}/restore`);
      changed();
    }),
  );
}
