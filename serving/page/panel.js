// The document panel: beside the conversation where there is room, over it on a phone.

import { readDocument } from "./api.js";
import { detailsOf, titleOf } from "./answer.js";
import { el, icon, notice, outLink, safeUrl } from "./dom.js";
import { pieces, splitAt } from "./text.js";

const KEPT_DOCUMENTS = 20;
const get = (id) => document.getElementById(id);

/**
 * A dialog that is modal only on narrow screens. Modal ones get focus trap and Esc from the browser;
 * beside the conversation Esc is handled here. Closing returns the focus to where it came from.
 * `narrowOnly`: on wide screens it is part of the page and never opened.
 */
export class SideDialog {
  constructor(node, narrow, { narrowOnly = false } = {}) {
    this.node = node;
    this.narrow = narrow;
    this.opener = null;
    node.addEventListener("close", () => this.closed());
    node.addEventListener("click", (event) => {
      if (event.target === node && node.matches(":modal")) this.close();
    });
    narrow.addEventListener("change", () => {
      if (!this.isOpen) return;
      if (narrowOnly) this.close();
      else this.show();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.isOpen && !node.matches(":modal") && !event.defaultPrevented) this.close();
    });
  }

  get isOpen() {
    return this.node.open;
  }

  open(opener) {
    this.opener?.removeAttribute("aria-expanded");
    this.opener = opener;
    opener?.setAttribute("aria-expanded", "true");
    if (!this.isOpen) this.show();
  }

  show() {
    if (this.isOpen) this.node.close();
    if (this.narrow.matches) this.node.showModal();
    else this.node.setAttribute("open", "");
    document.body.classList.toggle(`${this.node.id}-open`, true);
  }

  close() {
    if (this.isOpen) this.node.close();
  }

  closed() {
    if (this.isOpen) return;
    document.body.classList.toggle(`${this.node.id}-open`, false);
    this.opener?.removeAttribute("aria-expanded");
    const back = this.opener?.isConnected ? this.opener : get("question");
    this.opener = null;
    back.focus({ preventScroll: true });
  }
}

export class DocumentPanel {
  constructor(narrow) {
    this.dialog = new SideDialog(get("panel"), narrow);
    this.kept = new Map();
    this.wanted = 0;
    get("panel-close").addEventListener("click", () => this.dialog.close());
  }

  close() {
    this.dialog.close();
  }

  /** Shows the citation's document at its quote; what the citation itself says is there at once. */
  async show(citation, opener) {
    this.wanted += 1;
    const ticket = this.wanted;
    this.heading(citation, citation.marker);
    get("panel-body").replaceChildren(el("p", { class: "quiet" }, "Opening the document"));
    this.dialog.open(opener);
    get("panel-title").focus({ preventScroll: true });
    let found;
    try {
      found = await this.fetch(citation);
    } catch (problem) {
      if (ticket === this.wanted) this.missing(citation, problem, opener);
      return;
    }
    if (ticket !== this.wanted) return;
    this.heading({ ...citation, ...found }, citation.marker);
    this.text(found.text, citation);
  }

  async fetch({ document_id: id, document_version: version }) {
    const key = `${id} ${version}`;
    const found = this.kept.get(key) ?? (await readDocument(id, version));
    this.kept.set(key, found);
    if (this.kept.size > KEPT_DOCUMENTS) this.kept.delete(this.kept.keys().next().value);
    return found;
  }

  heading(source, marker) {
    get("panel-kicker").textContent = `Source [${marker}]`;
    get("panel-title").textContent = titleOf(source);
    get("panel-meta").textContent = [source.author, detailsOf(source)].filter(Boolean).join(" · ");
    const link = get("panel-link");
    const url = safeUrl(source.url);
    link.hidden = !url;
    link.replaceChildren(...(url ? [outLink(url, "Open the original", icon("out"))] : []));
  }

  text(text, citation) {
    const [before, quote] = splitAt(text, citation.start, citation.end);
    if (quote !== citation.quote) {
      this.missing(citation, { title: "This version of the document does not hold the quote", detail: "" });
      get("panel-body").append(el("div", { class: "document" }, text));
      return;
    }
    const mark = el("mark", { id: "quote" });
    const shown = el("div", { class: "document" });
    get("panel-body").replaceChildren(shown);
    let position = 0;
    for (const { kind, text: part } of pieces(text)) {
      const cut = (from, to) => part.slice(Math.max(from - position, 0), Math.max(to - position, 0));
      const place = (where, words) => words && where.append(kind === "plain" ? words : el("span", { class: kind }, words));
      place(shown, cut(0, before.length));
      if (position + part.length > before.length && !mark.isConnected) shown.append(mark);
      place(mark, cut(before.length, before.length + quote.length));
      place(shown, cut(before.length + quote.length, text.length));
      position += part.length;
    }
    mark.scrollIntoView({ block: "center" });
  }

  /** The quote is in the citation: it can be read even where its document is not to be had. */
  missing(citation, problem, opener = null) {
    const again = { label: "Try again", act: () => this.show(citation, opener) };
    get("panel-body").replaceChildren(
      notice(problem, problem.retryable ? again : null),
      el("p", { class: "label" }, "The quoted passage"),
      el("blockquote", { class: "said quote" }, citation.quote),
    );
  }
}
