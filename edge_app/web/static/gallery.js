// The records: filtered, newest first, a page at a time; exported as they are filtered.

import { get } from "./api.js";
import { byId, element, icon } from "./dom.js";
import { moment, said } from "./format.js";
import { openRecord } from "./record.js";
import { on, station } from "./station.js";
import { attempt } from "./toast.js";
import { kindOf } from "./verdict.js";

const PAGE = 24;
const TYPING_MS = 300;

let next = null;
let asked = 0;
let timer = 0;

export function startGallery() {
  const form = byId("filters");
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(showRecords, TYPING_MS);
  });
  form.addEventListener("reset", () => setTimeout(showRecords)); // after the fields were emptied
  form.addEventListener("submit", (event) => event.preventDefault());
  byId("more").addEventListener("click", () => attempt(() => load(next)));
  on("status", fillChoices);
}

/** Shows the first page of what the filters ask for. */
export const showRecords = () => attempt(() => load(null));

async function load(before) {
  const mine = ++asked;
  const query = filters();
  byId("export-csv").href = `/api/records.csv?${query}`;
  byId("export-zip").href = `/api/records.zip?${query}`;
  query.set("limit", PAGE);
  if (before !== null) query.set("before", before);
  const { records, next: cursor, count } = await get(`/api/records?${query}`);
  if (mine !== asked) return; // another filter was chosen meanwhile
  next = cursor;
  byId("more").hidden = cursor === null;
  byId("count").textContent = count === 1 ? "1 record" : `${count} records`;
  const cards = records.map(card);
  if (before === null) byId("gallery").replaceChildren(...cards);
  else byId("gallery").append(...cards);
}

/** Returns what the form asks for, as the API wants it. Days are those of the person at the page. */
function filters() {
  const form = new FormData(byId("filters"));
  const query = new URLSearchParams();
  for (const name of ["own_label", "slide", "text"]) if (form.get(name)) query.set(name, form.get(name));
  const verdict = form.get("verdict");
  if (verdict === "indeterminate") query.set("indeterminate", "true");
  else if (verdict?.startsWith("label:")) query.set("label", verdict.slice("label:".length));
  if (form.get("since")) query.set("since", midnight(form.get("since"), 0));
  if (form.get("until")) query.set("until", midnight(form.get("until"), 1));
  return query;
}

function midnight(day, later) {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year, month - 1, date + later).toISOString();
}

function fillChoices() {
  const { classes } = station.status.model;
  const key = classes.join("\n");
  if (byId("filters").dataset.classes === key) return;
  byId("filters").dataset.classes = key;
  const option = (value, text) => element("option", { value }, text);
  byId("filter-verdict").replaceChildren(
    option("", "Any"),
    ...classes.map((each) => option(`label:${each}`, each)),
    option("indeterminate", "Indeterminate"),
  );
  byId("filter-own").replaceChildren(option("", "Any"), ...classes.map((each) => option(each, each)));
}

function card(record) {
  const own = record.own_label && element("span", { className: "own" }, icon("edit"), record.own_label);
  const button = element(
    "button",
    { type: "button", className: "record-card" },
    element("img", { src: `/api/records/${record.id}/thumbnail`, alt: "", loading: "lazy" }),
    element("span", { className: `verdict ${kindOf(record.label)}` }, icon(kindOf(record.label)), said(record)),
    own || null,
    element("span", { className: "slide-name" }, record.slide || "No slide named"),
    element("time", { dateTime: record.captured_at }, `${record.clock_sure ? "" : "about "}${moment(record.captured_at)}`),
  );
  button.addEventListener("click", () => attempt(() => openRecord(record.id, showRecords)));
  return element("li", {}, button);
}
