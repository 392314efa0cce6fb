// Server-sent events over fetch (EventSource cannot POST), with replay after a dropped connection.

import { Problem, resumeRun } from "./api.js";

const ATTEMPTS = 6;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 4000;
// Servers send a comment every 15 s; three missed ones mean that the line is dead.
const SILENCE_MS = 50000;

/** Turns decoded text, in pieces of any size, into {id, type, data} as the HTML standard defines them. */
export class EventParser {
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.rest = "";
    this.id = "";
    this.type = "";
    this.data = [];
  }

  push(piece) {
    const lines = (this.rest + piece).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    lines.forEach((line) => this.line(line));
  }

  line(line) {
    if (line === "") {
      if (this.data.length) this.onEvent({ id: this.id, type: this.type || "message", data: this.data.join("\n") });
      this.type = "";
      this.data = [];
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.data.push(value);
    else if (field === "event") this.type = value;
    else if (field === "id") this.id = value;
  }
}

async function readEvents(response, onEvent, controller) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser(onEvent);
  for (;;) {
    const silence = setTimeout(() => controller.abort(), SILENCE_MS);
    try {
      const { value, done } = await reader.read();
      if (done) return;
      parser.push(value);
    } finally {
      clearTimeout(silence);
    }
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    const now = () => {
      clearTimeout(timer);
      resolve();
    };
    signal.addEventListener("abort", now, { once: true });
    window.addEventListener("online", now, { once: true });
  });
}

/**
 * Follows a run to its end, through dropped connections, each event once and in order.
 *
 * `start(signal)` opens the first stream, or null to follow `runId` from its beginning. Throws a
 * Problem when the run cannot be followed further; returns quietly when `signal` is aborted.
 */
export async function followRun({ start = null, runId = "", onEvent, onReconnect, signal }) {
  const run = { id: runId, lastId: 0, ended: false, failures: 0, fault: null };
  const take = (event) => {
    const id = Number(event.id);
    if (run.ended || (id && id <= run.lastId)) return;
    const data = JSON.parse(event.data);
    run.lastId = id || run.lastId;
    run.failures = 0;
    if (event.type === "run") run.id = data.run_id;
    if (event.type === "done") run.ended = true;
    try {
      onEvent(event.type, data);
    } catch (error) {
      run.fault = error;
      throw error;
    }
  };
  let open = start ?? ((inner) => resumeRun(run.id, 0, inner));
  while (!run.ended && !signal.aborted) {
    const controller = new AbortController();
    const abort = () => controller.abort();
    signal.addEventListener("abort", abort, { once: true });
    try {
      const response = await open(controller.signal);
      run.id ||= response.headers.get("X-Run-Id") ?? "";
      await readEvents(response, take, controller);
    } catch (error) {
      if (signal.aborted) return;
      if (run.fault) throw run.fault;
      const refused = error instanceof Problem && error.status > 0 && error.status < 500;
      if (refused || error instanceof SyntaxError || !run.id) throw asProblem(error, run.id);
    } finally {
      signal.removeEventListener("abort", abort);
    }
    if (run.ended || signal.aborted) return;
    run.failures += 1;
    if (!run.id || run.failures > ATTEMPTS) throw lost();
    onReconnect();
    await pause(Math.min(FIRST_PAUSE_MS * 2 ** (run.failures - 1), LONGEST_PAUSE_MS), signal);
    open = (inner) => resumeRun(run.id, run.lastId, inner);
  }
}

const lost = () =>
  new Problem({ title: "The connection was lost", detail: "What arrived is shown above.", retryable: true });

function asProblem(error, runId) {
  if (error instanceof SyntaxError) {
    return new Problem({ title: "The server sent something unreadable", detail: "", retryable: true });
  }
  if (error instanceof Problem && error.status === 404 && runId) {
    const detail = "The server no longer knows this run; it was probably restarted.";
    return new Problem({ title: "The answer was interrupted", detail, retryable: true, status: 404 });
  }
  return error instanceof Problem ? error : lost();
}
