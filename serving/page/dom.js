// Small helpers that build nodes. Data only ever becomes text nodes or checked attributes.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; strings become text nodes, null and false are left out. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An icon of icons.svg. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** The address if it is an absolute http or https one, else null: nothing else may become a link. */
export function safeUrl(address) {
  try {
    const url = new URL(address);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

const sentenceCase = (text) => text.replace(/^\p{Ll}/u, (letter) => letter.toUpperCase());

/** What went wrong, in the problem's words, and a button for what can be done about it. */
export function notice({ title, detail = "" }, action = null) {
  return el(
    "div",
    { class: "notice", role: "alert" },
    el("p", { class: "notice-title" }, title),
    detail ? el("p", {}, sentenceCase(detail)) : null,
    action ? el("button", { type: "button", class: "retry", onclick: action.act }, action.label) : null,
  );
}

/** A link that leaves the page, or its text alone when the address is not one to follow. */
export function outLink(address, ...children) {
  const href = safeUrl(address);
  if (!href) return el("span", {}, ...children);
  return el("a", { href, target: "_blank", rel: "noopener noreferrer", class: "out" }, ...children);
}
