// A short message over the page, with an undo where one is offered.

import { byId } from "./dom.js";

const SHOWN_MS = 8_000;

let timer = 0;

export function toast(text, undo = null) {
  const box = byId("toast");
  const button = box.querySelector("button");
  clearTimeout(timer);
  // Closed and opened again, so that it lies over a dialog that was opened meanwhile.
  box.hidePopover();
  box.firstElementChild.textContent = text;
  button.hidden = undo === null;
  button.onclick = () => {
    box.hidePopover();
    undo();
  };
  box.showPopover();
  timer = setTimeout(() => box.hidePopover(), SHOWN_MS);
}

/** Runs what may fail; a failure is told as its sentence. Returns whether it went well. */
export async function attempt(action) {
  try {
    await action();
    return true;
  } catch (problem) {
    toast(problem.message);
    return false;
  }
}
