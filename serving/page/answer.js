// One exchange: the question, and its answer as it grows sentence by sentence.

import { el, icon, notice } from "./dom.js";
import { longDate, marked } from "./text.js";

const FENCED = /^\s*```/;

/** What a citation's source is called where the document has no title. */
export const titleOf = (source) => source.title || source.url || "Untitled document";

export const detailsOf = (source) => [longDate(source.published_at), source.platform].filter(Boolean).join(" · ");

/** Answers are shown by one of these each; it owns its nodes and never reads the document. */
export class Exchange {
  /** `onCite(citation, button)` opens the source; `onAsk(question)` asks another question. */
  constructor(question, { onCite, onAsk }) {
    this.question = question;
    this.onCite = onCite;
    this.onAsk = onAsk;
    this.sentences = new Map();
    this.citations = new Map();
    this.text = "";
    this.status = el("p", { class: "status" }, el("span", { class: "pulse", "aria-hidden": true }), el("span"));
    this.body = el("div", { class: "body" });
    this.answer = el("div", { class: "answer", "aria-busy": true }, this.body, this.status);
    this.node = el(
      "article",
      { class: "exchange" },
      el("div", { class: "question" }, el("span", { class: "hidden" }, "You asked: "), question),
      this.answer,
    );
    this.setStatus("Looking through the writing");
  }

  setStatus(text) {
    const line = this.status.lastElementChild;
    if (line.textContent !== text) line.textContent = text;
  }

  /** A sentence that passed its checks; its white space comes with it. */
  token({ text, sentence, kind }) {
    const words = text.trimStart();
    this.text += text;
    const glue = text.slice(0, text.length - words.length);
    const block = this.blockFor(kind, glue, words);
    const cites = el("span", { class: "cites" });
    const node = el("span", { class: "sentence", "data-kind": kind }, ...withMarkers(marked(words), cites));
    if (block.childElementCount) block.append(glue || " ");
    block.append(node);
    this.sentences.set(sentence, { node, cites });
  }

  /** The author's own words and the words around them never share a block; blank lines part blocks. */
  blockFor(kind, glue, words) {
    const group = kind === "quote" ? "quote" : "prose";
    const last = this.body.lastElementChild;
    const fits = last?.dataset.group === group && !/\n\s*\n/.test(glue) && !FENCED.test(words);
    if (fits) return last;
    const tag = group === "quote" ? "blockquote" : "div";
    const block = el(tag, { class: `said ${group}`, "data-group": group });
    if (kind === "frame") block.classList.add("frame");
    this.body.append(block);
    return block;
  }

  citation(citation) {
    const sentence = this.sentences.get(citation.sentence);
    if (!sentence) return;
    this.citations.set(citation.marker, this.citations.get(citation.marker) ?? citation);
    const label = `Source ${citation.marker}: ${titleOf(citation)}`;
    sentence.cites.append(
      el(
        "button",
        {
          type: "button",
          class: "cite",
          "aria-label": label,
          "aria-haspopup": "dialog",
          title: titleOf(citation),
          onclick: (event) => this.onCite(citation, event.currentTarget),
        },
        `[${citation.marker}]`,
      ),
    );
  }

  /** The whole verified answer: what was streamed, unless something was missed on the way. */
  complete(answer) {
    const text = answer.sentences.map((sentence) => sentence.glue + sentence.text).join("");
    if (text !== this.text) this.rebuild(answer);
    this.record = answer;
    if (answer.abstained) this.abstain(answer.nearest_topics ?? []);
  }

  rebuild(answer) {
    this.body.replaceChildren();
    this.sentences.clear();
    this.citations.clear();
    this.text = "";
    answer.sentences.forEach((sentence, index) => {
      this.token({ text: sentence.glue + sentence.text, sentence: index, kind: sentence.kind });
      sentence.citations.forEach((citation) => this.citation({ ...citation, sentence: index }));
    });
  }

  abstain(topics) {
    this.answer.classList.add("abstained");
    if (!topics.length) return;
    const ask = (topic) => () => this.onAsk(`What did you write in “${topic}”?`);
    this.answer.append(
      el(
        "div",
        { class: "topics" },
        el("p", { class: "label" }, "Ask about one of these instead"),
        el("ul", {}, ...topics.map((topic) => el("li", {}, topicButton(topic, ask(topic))))),
      ),
    );
  }

  /** No more will come. `outcome` is the run's status, or "stopped" when this page gave up waiting. */
  finish(outcome = "answered") {
    this.status.remove();
    this.answer.removeAttribute("aria-busy");
    if (this.citations.size) this.answer.append(this.sources());
    if (outcome === "cancelled") this.note(this.text ? "Stopped here." : "Stopped before the first sentence.");
    if (this.citations.size && navigator.clipboard) this.answer.append(el("div", { class: "actions" }, this.copyButton()));
  }

  note(text) {
    this.answer.append(el("p", { class: "note" }, text));
  }

  /** What went wrong, under whatever has been shown; `onRetry` only where trying again can help. */
  fail(problem, onRetry) {
    this.finish("failed");
    this.answer.append(notice(problem, problem.retryable ? { label: "Try again", act: onRetry } : null));
  }

  /** Sources by document, in order of their first marker. */
  sources() {
    const documents = new Map();
    for (const citation of [...this.citations.values()].sort((a, b) => a.marker - b.marker)) {
      const key = `${citation.document_id} ${citation.document_version}`;
      documents.set(key, [...(documents.get(key) ?? []), citation]);
    }
    const item = ([first, ...others]) =>
      el(
        "li",
        {},
        el(
          "button",
          { type: "button", class: "source", onclick: (event) => this.onCite(first, event.currentTarget) },
          el("span", { class: "source-marks" }, [first, ...others].map((c) => `[${c.marker}]`).join(" ")),
          el(
            "span",
            { class: "source-text" },
            el("span", { class: "source-title" }, titleOf(first)),
            el("span", { class: "source-details" }, detailsOf(first)),
          ),
        ),
      );
    return el(
      "section",
      { class: "sources", "aria-label": "Sources" },
      el("p", { class: "label" }, "Sources"),
      el("ul", {}, ...[...documents.values()].map(item)),
    );
  }

  copyButton() {
    const label = el("span", {}, "Copy");
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(this.plainText());
        label.textContent = "Copied";
      } catch {
        label.textContent = "Could not copy";
      }
    };
    return el("button", { type: "button", class: "action", onclick: copy }, icon("copy"), label);
  }

  /** The answer with its markers and the list of sources, as it would be pasted into a message. */
  plainText() {
    const listed = [...this.citations.values()].map((c) =>
      [`[${c.marker}] ${titleOf(c)}`, detailsOf(c), c.url].filter(Boolean).join(", "),
    );
    const said = [...this.body.children].map((block) => block.textContent.trim()).join("\n\n");
    return [said, listed.join("\n")].filter(Boolean).join("\n\n");
  }
}

/** `nodes` and then `cites`, which stays on the line of the last word unless that word is a long one. */
function withMarkers(nodes, cites) {
  const last = nodes.at(-1);
  const word = typeof last === "string" ? /\S{1,24}$/.exec(last) : null;
  if (!word || /\S/.test(last.charAt(word.index - 1))) return [...nodes, cites];
  const before = last.slice(0, word.index);
  return [...nodes.slice(0, -1), before, el("span", { class: "tail" }, word[0], cites)];
}

const topicButton = (topic, onclick) => el("button", { type: "button", class: "chip", onclick }, topic);
