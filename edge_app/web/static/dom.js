// Small helpers to build and find elements. Data only ever becomes text, never markup.

export const byId = (id) => document.getElementById(id);

/** Makes an element: properties it knows are set, others become attributes; null ones are left out. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

export function icon(name) {
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  drawn.setAttribute("class", "icon");
  drawn.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  drawn.append(use);
  return drawn;
}

/** Fills a <dl> with [term, value] rows; a value is a text or an element. Rows without a value are left out. */
export function describe(list, rows) {
  list.replaceChildren(
    ...rows
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([term, value]) => element("div", {}, element("dt", {}, term), element("dd", {}, value))),
  );
}

/** Opens a sheet (a <dialog>); its [data-close] buttons, Escape and a tap beside it close it. */
export function openSheet(sheet) {
  sheet.onclick = (event) => {
    if (event.target === sheet || event.target.closest("[data-close]")) sheet.close();
  };
  sheet.showModal();
}
