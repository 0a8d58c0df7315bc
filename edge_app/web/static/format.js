// Figures and times as text.

export const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}\u00a0%`;

/** A probability; never 0 or 100 %, which no model can say. */
export function probability(share) {
  if (share > 0.999) return ">\u00a099.9\u00a0%";
  return share < 0.001 ? "<\u00a00.1\u00a0%" : percent(share);
}

export const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;

export const clock = (iso) => new Date(iso).toLocaleTimeString(undefined, { timeStyle: "medium" });

export const moment = (iso) => new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** "white_balance_k" → "White balance k" */
export const title = (name) => (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " ");

/** A message as a sentence: the device's begin with a small letter, as they may follow a name. */
export const sentence = (text) => text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

/** What a verdict or a record says, in one line. */
export function said({ label, probabilities, indeterminate }) {
  return label === null ? `Indeterminate (${indeterminate.replaceAll("_", " ")})` : `${label} ${probability(probabilities[label])}`;
}
