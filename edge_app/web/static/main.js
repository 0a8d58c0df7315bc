// Starts the page: each part once, then the connection; and shows the view that the address names.

import { startCapture } from "./capture.js";
import { byId } from "./dom.js";
import { startEvents } from "./events.js";
import { showRecords, startGallery } from "./gallery.js";
import { startLive } from "./live.js";
import { startNotices } from "./notices.js";
import { startReadings } from "./readings.js";
import { startRecord } from "./record.js";
import { showSettings, startSettings } from "./settings.js";
import { connect } from "./station.js";
import { startTheme } from "./theme.js";
import { startVerdict } from "./verdict.js";

const OPENED = { live: () => {}, records: showRecords, settings: showSettings, events: () => {} };

function showView() {
  const name = location.hash.slice(1) in OPENED ? location.hash.slice(1) : "live";
  for (const view of Object.keys(OPENED)) byId(view).hidden = view !== name;
  for (const tab of document.querySelectorAll(".tabs a")) {
    tab.ariaCurrent = tab.hash === `#${name}` ? "page" : null;
  }
  OPENED[name]();
}

startTheme();
showView();
addEventListener("hashchange", showView);
startNotices();
startVerdict();
startReadings();
startCapture();
startGallery();
startRecord();
startSettings();
startEvents();
startLive();
connect();
