// The live picture: parts of a multipart stream, of which the newest is drawn, and the age of what is shown.
// Read by fetch() and not by an <img>, so that frame ids are known and a stream that stalls is noticed.

import { byId } from "./dom.js";
import { station } from "./station.js";

const AGAIN_MS = 1_000;
const END_OF_HEAD = [13, 10, 13, 10];

/** The frame that is shown: its id, its size in pixels of the camera, and when it was taken (performance.now()). */
export const shown = { id: null, width: 0, height: 0, at: null };

let newest = null;
let stream = null;

/** Streams and draws while the page can be seen and shows the live view; calls `onShown` after each picture. */
export function startPicture(onShown) {
  const follow = () => {
    const wanted = document.visibilityState === "visible" && !byId("live").hidden;
    if (wanted && stream === null) read();
    if (!wanted) stop();
  };
  const draw = async () => {
    const part = newest;
    newest = null;
    if (part !== null) await show(part, onShown);
    requestAnimationFrame(draw);
  };
  document.addEventListener("visibilitychange", follow);
  addEventListener("hashchange", follow);
  follow();
  draw();
}

/** For how many seconds the shown picture has not been renewed, if that is longer than the camera's pace explains. */
export function staleSeconds() {
  if (shown.at === null) return null;
  const seconds = (performance.now() - shown.at) / 1000;
  const pace = station.health?.captured_fps > 0 ? 3 / station.health.captured_fps : 0;
  return seconds > Math.max(2, pace) ? seconds : null;
}

function stop() {
  stream?.abort();
  stream = null;
}

async function read() {
  const mine = new AbortController();
  stream = mine;
  while (stream === mine) {
    try {
      const response = await fetch("/api/view.mjpeg", { signal: mine.signal });
      if (response.ok) for await (const part of parts(response.body.getReader())) newest = part;
    } catch {
      // The connection was lost: the picture is marked as stale by its age, and the next round connects again.
    }
    await new Promise((resume) => setTimeout(resume, AGAIN_MS));
  }
}

/** Yields {head, body}: the headers of each part as a Map with lower-case names, and its bytes. */
async function* parts(reader) {
  let held = new Uint8Array(0);
  const more = async () => {
    const { done, value } = await reader.read();
    if (done) return false;
    const joined = new Uint8Array(held.length + value.length);
    joined.set(held);
    joined.set(value, held.length);
    held = joined;
    return true;
  };
  for (;;) {
    let end = endOfHead(held);
    while (end < 0) {
      if (!(await more())) return;
      end = endOfHead(held);
    }
    const head = new Map(
      new TextDecoder()
        .decode(held.subarray(0, end))
        .split("\r\n")
        .filter((line) => line.includes(":"))
        .map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
    );
    held = held.subarray(end);
    const length = Number(head.get("content-length"));
    while (held.length < length) if (!(await more())) return;
    yield { head, body: held.slice(0, length), at: performance.now() - Number(head.get("x-age-ms")) };
    held = held.subarray(length);
  }
}

function endOfHead(bytes) {
  // A part begins with the line break that ends the one before; its head ends with an empty line.
  const at = bytes.findIndex((_, start) => END_OF_HEAD.every((byte, offset) => bytes[start + offset] === byte));
  return at < 0 ? -1 : at + END_OF_HEAD.length;
}

async function show({ head, body, at }, onShown) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([body], { type: "image/jpeg" }));
  } catch {
    return; // a damaged picture: the next one comes
  }
  const canvas = byId("picture");
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  Object.assign(shown, {
    id: Number(head.get("x-frame-id")),
    width: Number(head.get("x-frame-width")),
    height: Number(head.get("x-frame-height")),
    at,
  });
  onShown();
}
