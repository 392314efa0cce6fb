// The chat page: which conversation is shown, what is running in it, and the question field.

import * as api from "./api.js";
import { Exchange } from "./answer.js";
import { el, notice } from "./dom.js";
import { DocumentPanel } from "./panel.js";
import { followRun } from "./stream.js";
import { ThreadList, threadHref } from "./threads.js";

const EXAMPLES = [
  "What have you changed your mind about?",
  "What advice would you give to somebody starting out?",
  "Which mistake taught you the most?",
];
const NEAR_END_PX = 140;
const STOP_PATIENCE_MS = 12000;
const LONGEST_FIELD_PX = 200;

const get = (id) => document.getElementById(id);
const field = get("question");
const scroller = get("scroll");
const panel = new DocumentPanel(matchMedia("(max-width: 1023px)"));
const threads = new ThreadList(matchMedia("(max-width: 1023px)"));

/** What is on screen. `run` is the run being followed; `visit` counts conversations shown, so that
 * what arrives late for one that was left is dropped. */
const view = { threadId: "", run: null, visit: 0 };

// Questions whose answers this tab has not seen the end of: after a reload in the middle the server
// knows the run that goes on, and this knows what was asked.
const unfinished = {
  read: () => JSON.parse(sessionStorage.getItem("unfinished") ?? "{}"),
  add(threadId, question) {
    sessionStorage.setItem("unfinished", JSON.stringify({ ...this.read(), [threadId]: question }));
  },
  remove(threadId) {
    const { [threadId]: _, ...others } = this.read();
    sessionStorage.setItem("unfinished", JSON.stringify(others));
  },
};

function threadInAddress() {
  const match = /^#c=(.+)$/.exec(location.hash);
  try {
    return match ? decodeURIComponent(match[1]) : "";
  } catch {
    return "";
  }
}

function setTitle(text) {
  const short = text.length > 80 ? `${text.slice(0, 79)}…` : text;
  get("title").textContent = short || "New conversation";
  document.title = short ? `${short} – LLM Twin` : "LLM Twin";
}

function showThread(threadId, title) {
  view.threadId = threadId;
  threads.select(threadId);
  setTitle(title);
}

const atEnd = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_END_PX;
const toEnd = () => scroller.scrollTo({ top: scroller.scrollHeight });

function addExchange(question) {
  get("empty").hidden = true;
  const exchange = new Exchange(question, {
    onCite: (citation, button) => panel.show(citation, button),
    onAsk: (other) => ask(other),
  });
  get("log").append(exchange.node);
  return exchange;
}

// --- asking ---------------------------------------------------------------------------------------

function setRunning(run) {
  view.run = run;
  get("stop").hidden = !run;
  get("stop").disabled = false;
  get("send").hidden = Boolean(run);
  refreshField();
}

/** Asks in the conversation on screen; does nothing while an answer is running or without a question. */
function ask(text) {
  const question = text.trim();
  if (!question || view.run) return;
  const exchange = addExchange(question);
  toEnd();
  const threadId = view.threadId;
  follow(exchange, { threadId, start: (signal) => api.startRun(question, threadId, signal) });
}

/** Follows a run into `exchange` until it ends, is stopped, or another conversation is shown. */
async function follow(exchange, { threadId, start = null, runId = "" }) {
  const run = { id: runId, threadId, stopping: false, outcome: "", problem: null, away: new AbortController() };
  const visit = view.visit;
  setRunning(run);
  try {
    await followRun({
      start,
      runId,
      signal: run.away.signal,
      onEvent: (type, data) => receive(exchange, run, type, data),
      onReconnect: () => exchange.setStatus("The connection dropped; reconnecting"),
    });
  } catch (error) {
    if (!(error instanceof api.Problem)) console.error(error);
    run.problem ??= error instanceof api.Problem ? error : new api.Problem({ title: "The page met an error" });
  }
  if (visit !== view.visit) return;
  const keep = atEnd();
  setRunning(null);
  if (run.threadId) unfinished.remove(run.threadId);
  if (run.stopping) exchange.finish("cancelled");
  else if (run.problem) failed(exchange, run);
  else exchange.finish(run.outcome);
  if (keep) toEnd();
  threads.refresh();
}

function receive(exchange, run, type, data) {
  const keep = atEnd();
  if (type === "run") {
    run.id = data.run_id;
    began(exchange, run, data);
  } else if (type === "status") exchange.setStatus(data.text);
  else if (type === "token") exchange.token(data);
  else if (type === "citation") exchange.citation(data);
  else if (type === "answer") exchange.complete(data.answer);
  else if (type === "error") run.problem = new api.Problem(data);
  else if (type === "done") {
    run.outcome = data.status;
    if (data.status !== "cancelled") run.stopping = false;
    else run.stopping = true;
  }
  if (keep) toEnd();
}

function began(exchange, run, { thread_id: threadId }) {
  run.threadId = threadId;
  unfinished.add(threadId, exchange.question);
  if (view.threadId !== threadId) {
    history.pushState(null, "", threadHref(threadId));
    showThread(threadId, exchange.question);
  }
  if (run.stopping) cancel(run);
}

/** A question that cannot be asked goes back to the field: it may only need a change. */
function failed(exchange, run) {
  const question = exchange.question;
  exchange.fail(run.problem, () => {
    exchange.node.remove();
    ask(question);
  });
  if (!run.problem.retryable && !exchange.text && !field.value) {
    field.value = question;
    refreshField();
  }
}

function stop() {
  const run = view.run;
  if (!run || run.stopping) return;
  run.stopping = true;
  get("stop").disabled = true;
  field.focus();
  if (run.id) cancel(run);
  // The run's own `done` ends it; should that never come, the page must not stay stuck.
  setTimeout(() => run.away.abort(), STOP_PATIENCE_MS);
}

async function cancel(run) {
  try {
    await api.cancelRun(run.id);
  } catch (problem) {
    run.problem = problem;
    run.stopping = false;
    run.away.abort();
  }
}

// --- showing a conversation -----------------------------------------------------------------------

function leave() {
  view.visit += 1;
  view.run?.away.abort();
  setRunning(null);
  panel.close();
  get("log").replaceChildren();
}

function startNew() {
  if (location.hash) history.pushState(null, "", location.pathname);
  showEmpty();
  threads.dismiss();
  field.focus();
}

function showEmpty() {
  leave();
  showThread("", "");
  get("empty").hidden = false;
}

/** Shows what the server has of the conversation, then whatever is still running in it. */
async function openThread(threadId) {
  leave();
  const visit = view.visit;
  get("empty").hidden = true;
  showThread(threadId, "Conversation");
  let thread;
  try {
    thread = await api.readThread(threadId);
  } catch (problem) {
    if (visit === view.visit) showThreadProblem(threadId, problem);
    return;
  }
  if (visit !== view.visit) return;
  const { runs, running } = thread;
  const question = running ? unfinished.read()[threadId] ?? "A question asked elsewhere" : "";
  restore(runs);
  showThread(threadId, runs[0]?.question ?? question);
  if (running) follow(addExchange(question), { threadId, runId: running });
  else unfinished.remove(threadId);
  toEnd();
}

/** Earlier exchanges, each question once however often it was tried, and none read aloud again. */
function restore(runs) {
  const log = get("log");
  log.setAttribute("aria-live", "off");
  const asked = runs.filter((run, index) => run.answer || runs[index + 1]?.question !== run.question);
  for (const run of asked) {
    const exchange = addExchange(run.question);
    if (run.answer) exchange.complete(run.answer);
    if (run.status === "failed") exchange.fail({ title: "This question was not answered", detail: run.error });
    else exchange.finish(run.status);
  }
  requestAnimationFrame(() => log.setAttribute("aria-live", "polite"));
}

function showThreadProblem(threadId, problem) {
  const gone = problem.status === 404;
  get("log").replaceChildren(
    gone
      ? notice({ title: "This conversation is not here" }, { label: "Start a new one", act: startNew })
      : notice(problem, { label: "Try again", act: () => openThread(threadId) }),
  );
}

function showAddress() {
  const threadId = threadInAddress();
  if (threadId && threadId === view.threadId) return;
  if (threadId) openThread(threadId);
  else showEmpty();
}

// --- the field, and the start ---------------------------------------------------------------------

function refreshField() {
  get("send").disabled = Boolean(view.run) || !field.value.trim();
  field.style.height = "auto";
  field.style.height = `${Math.min(field.scrollHeight, LONGEST_FIELD_PX)}px`;
}

function send() {
  if (view.run || !field.value.trim()) return;
  const question = field.value;
  field.value = "";
  refreshField();
  ask(question);
}

function listen() {
  get("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  field.addEventListener("input", refreshField);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send();
  });
  get("stop").addEventListener("click", stop);
  get("skip").addEventListener("click", (event) => {
    event.preventDefault();
    field.focus();
  });
  document.querySelectorAll("[data-new]").forEach((button) => button.addEventListener("click", startNew));
  window.addEventListener("hashchange", showAddress);
}

const counted = (count, noun) => `${count.toLocaleString("en-GB")} ${noun}${count === 1 ? "" : "s"}`;

async function describeCorpus() {
  let about;
  try {
    about = await api.health();
  } catch (problem) {
    get("corpus").textContent = `${problem.title}.`;
    return;
  }
  const { documents, passages, writer, persona, examples } = about;
  const counts = [
    Number.isFinite(documents) && counted(documents, "document"),
    Number.isFinite(passages) && counted(passages, "passage"),
  ];
  get("corpus").textContent = [...counts, writer && `writer: ${writer}`].filter(Boolean).join(" · ");
  if (persona) get("empty-title").textContent = `Ask what ${persona} wrote`;
  if (Array.isArray(examples) && examples.length) showExamples(examples.slice(0, 3));
  if (documents === 0) {
    get("empty-title").textContent = "Nothing has been read yet";
    get("empty-text").textContent = "Give the twin something to read first: twin ingest FOLDER";
    showExamples([]);
  }
}

function showExamples(questions) {
  const button = (question) => el("button", { type: "button", class: "example", onclick: () => ask(question) }, question);
  get("examples").replaceChildren(...questions.map((question) => el("li", {}, button(question))));
}

listen();
showExamples(EXAMPLES);
refreshField();
showAddress();
threads.refresh();
describeCorpus();
if (matchMedia("(pointer: fine)").matches) field.focus();
