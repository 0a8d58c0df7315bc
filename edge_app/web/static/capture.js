// Keeping what is seen: by button, by the space key, or automatically; and the session that goes with it.

import { get, send } from "./api.js";
import { byId, openSheet } from "./dom.js";
import { said } from "./format.js";
import { on, refresh, station } from "./station.js";
import { attempt, toast } from "./toast.js";

const TYPING = "input, textarea, select, button, a, summary, dialog";

export function startCapture() {
  byId("capture").addEventListener("click", capture);
  addEventListener("keydown", (event) => {
    if (event.key !== " " || event.repeat || byId("live").hidden) return;
    if (event.target.closest(TYPING) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    capture();
  });
  // A button that was tapped lets the focus go, so that the space key captures instead of pressing it again.
  byId("live").addEventListener("click", (event) => {
    if (event.detail > 0) document.activeElement.blur();
  });
  byId("auto-capture").addEventListener("change", (event) =>
    attempt(async () => {
      await send("PUT", "/api/auto-capture", { on: event.target.checked });
    }).finally(refresh),
  );
  byId("edit-session").addEventListener("click", () => attempt(editSession));
  byId("session-form").addEventListener("submit", saveSession);
  on("status health", render);
}

function render() {
  if (station.status === null) return;
  const { session, auto_capture: auto } = station.status;
  const { recording } = station.health;
  byId("auto-capture").checked = auto;
  byId("capture").disabled = recording === "off";
  byId("session-text").textContent = session.slide ? [session.slide, session.operator].filter(Boolean).join(" · ") : "Name the slide";
}

async function capture() {
  if (byId("capture").disabled) return;
  await attempt(async () => {
    const record = await send("POST", "/api/records");
    byId("stage").classList.remove("flash");
    void byId("stage").offsetWidth; // so that the flash starts anew
    byId("stage").classList.add("flash");
    const undo = () => attempt(() => send("DELETE", `/api/records/${record.id}`));
    toast(`Kept: ${said(record)}${record.slide ? `, slide ${record.slide}` : ""}`, undo);
  });
}

async function editSession() {
  const session = await get("/api/session");
  const { elements } = byId("session-form");
  for (const [name, value] of Object.entries(session)) elements[name].value = value;
  byId("session-form").querySelector(".error").textContent = "";
  openSheet(byId("session-sheet"));
}

async function saveSession(event) {
  event.preventDefault();
  const form = event.target;
  try {
    await send("PUT", "/api/session", Object.fromEntries(new FormData(form)));
    byId("session-sheet").close();
    await refresh();
  } catch (problem) {
    form.querySelector(".error").textContent = problem.message;
  }
}
