// The list of conversations: a column on wide screens, a drawer on narrow ones.

import { listThreads } from "./api.js";
import { el } from "./dom.js";
import { SideDialog } from "./panel.js";
import { shortTime } from "./text.js";

const get = (id) => document.getElementById(id);

export const threadHref = (id) => `#c=${encodeURIComponent(id)}`;

export class ThreadList {
  constructor(narrow) {
    this.node = get("drawer");
    this.narrow = narrow;
    this.current = "";
    this.drawer = new SideDialog(this.node, narrow, { narrowOnly: true });
    get("drawer-open").addEventListener("click", (event) => {
      this.drawer.open(event.currentTarget);
      this.refresh();
    });
    get("drawer-close").addEventListener("click", () => this.drawer.close());
    this.node.addEventListener("click", (event) => {
      if (event.target.closest("a")) this.dismiss();
    });
  }

  /** Out of the way, where it covers the conversation. */
  dismiss() {
    if (this.narrow.matches) this.drawer.close();
  }

  select(id) {
    this.current = id;
    for (const link of get("threads").querySelectorAll("a")) {
      if (link.dataset.thread === id) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  async refresh() {
    const note = get("threads-note");
    try {
      const threads = await listThreads();
      get("threads").replaceChildren(...threads.map((thread) => el("li", {}, this.link(thread))));
      note.textContent = "Conversations will be listed here.";
      note.hidden = threads.length > 0;
      this.select(this.current);
    } catch (problem) {
      note.textContent = `The list cannot be loaded: ${problem.title}.`;
      note.hidden = false;
    }
  }

  link({ thread_id: id, question, updated_at: updated }) {
    const name = question || "Conversation";
    return el(
      "a",
      { href: threadHref(id), "data-thread": id, title: name },
      el("span", { class: "thread-title" }, name),
      el("span", { class: "thread-time" }, shortTime(updated)),
    );
  }
}
